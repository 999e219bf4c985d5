//! What runs, as plain values: no I/O, no clock, no Kubernetes. Time is an argument.
//!
//! [`Snapshot`] is the whole configuration of the data plane, immutable and swapped whole (Law 9).
//! [`drain`] decides what an endpoint's gate does and when it counts as drained; [`release`] decides
//! when a hold is let go, [`grace`] how long a pod may be held at all. [`report`] is what an endpoint says of itself, in the words of Classic ELB.

pub mod backend;
pub mod balance;
pub mod drain;
pub mod expression;
pub mod filter;
pub mod grace;
pub mod histogram;
pub mod identity;
pub mod release;
pub mod report;
pub mod route;
pub mod snapshot;
pub mod stream;
pub mod target;
pub mod tls;
pub mod totals;

pub use backend::{
    AdminState, Backend, DrainPolicy, EndpointProtocol, EndpointSpec, LastEndpoint, Stopping,
    UpstreamTls,
};
pub use balance::{BackendLimits, HashBy, Policy, QueueLimits, RetryBudget};
pub use expression::{Expression, ExpressionFault};
pub use filter::{
    FieldEdits, Filters, LimitPer, Mirror, PathChange, RateLimit, Redirect, Rewrite, Scheme,
};
pub use identity::{EndpointId, Member, ObjectName};
pub use route::{Match, NamedPattern, PathPattern, Route, ValuePattern};
pub use snapshot::{
    ClientTimeouts, HostPattern, Limits, Listener, LoadBalancer, Protocol, Retry, RouteTimeouts,
    Snapshot, WeightedBackend,
};
pub use stream::{ProxyVersion, StreamRoutes};
pub use target::Target;
