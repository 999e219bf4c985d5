//! The webhooks: which pods get the hook and how ([`inject`]), and what a LoadBalancer or a Backend must
//! not say ([`validate`]).
//!
//! What decides is pure. [`review`] speaks the API server's language, [`routes`] is what it calls; `app`
//! gives both what they must know of the cluster. [`certificates`] are those by which the API server and the
//! pods know lastcall, and [`certificate_store`] shares them among replicas.

pub mod certificate_store;
pub mod certificates;
pub mod exec_hook;
pub mod grace;
pub mod inject;
pub mod patch;
pub mod pod_security;
pub mod review;
pub mod routes;
pub mod settings;
pub mod validate;

pub use certificate_store::CertificateStore;
pub use certificates::Certificates;
pub use inject::inject;
pub use review::{Cluster, LookupError, ReviewCounts, Reviewer};
pub use settings::{Delivery, HookMode, HookService, InjectRequest, PodFacts, Settings};
