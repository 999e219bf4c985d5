//! How the endpoints of a Backend share its requests, and how much they take at once, as plain values.

use std::sync::Arc;
use std::time::Duration;

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Smooth weighted round robin (nginx's).
    #[default]
    RoundRobin,
    /// The less busy of two random choices, by live in-flight over weight.
    LeastRequest,
    /// Any, by weight.
    Random,
    /// The same one for the same key (Maglev), by weight.
    Hash(HashBy),
}

/// What of a request is its key. Where it has none of that, its client's address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The value of the first field of this name, in any case.
    Header(Arc<str>),
    /// The value of the first cookie of this name.
    Cookie(Arc<str>),
    /// The address of its client.
    Source,
}

/// How much each endpoint of a Backend takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendLimits {
    /// Requests in flight, or TCP connections, in this process.
    pub max_in_flight: u64,
    /// Where requests wait while every endpoint is full; they do not where absent.
    pub queue: Option<QueueLimits>,
}

/// How many requests wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Requests that wait at once, in this process.
    pub length: usize,
    /// How long each waits at most.
    pub wait: Duration,
}

/// How many of the requests to a Backend may be sent again (GEP-3388). Of all those under the same figures
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    /// Retries for each hundred requests of the interval.
    pub percent: u32,
    /// Retries besides, for each second of the interval.
    pub min_per_second: u32,
    /// What lies further back is not counted any more.
    pub interval: Duration,
}
