//! What users write: `LoadBalancer` and `Backend`, in group `lastcall.dev`, version `v1alpha1`.
//!
//! The Rust types here are the one source of the schema: `lastcall crds` prints it, the API server
//! enforces it in a cluster, and the directory source enforces the very same schema on files
//! (Law 4), so the two doors cannot differ. A field that is not served is not here.

pub mod backend;
pub mod backend_limits;
pub mod balance;
pub mod crd;
pub mod draining;
pub mod duration;
pub mod filter;
pub mod load_balancer;
pub mod pods;
pub mod pre_stop;
pub mod protection;
pub mod retry_budget;
pub mod route_match;
pub mod service_template;
pub mod status;
pub mod tls;
pub mod upstream;

pub use backend::{Backend, BackendSpec};
pub use crd::{crds, crds_yaml};
pub use draining::{ConnectionDraining, ConnectionDrainingOverride, LastEndpoint};
pub use duration::GatewayDuration;
pub use load_balancer::{LoadBalancer, LoadBalancerSpec};
pub use upstream::{Retry, UpstreamTimeouts};

/// A port by number or by name; named here so that `plan`, which reads it, needs no client crate.
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The API group.
pub const GROUP: &str = "lastcall.dev";
/// The version.
pub const VERSION: &str = "v1alpha1";
/// Group and version, as `apiVersion` says them.
pub const API_VERSION: &str = "lastcall.dev/v1alpha1";
