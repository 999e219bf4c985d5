//! Which endpoint of a Backend gets the next request. Each worker decides for itself.
//!
//! Called by the exchange for each attempt; what an endpoint's gate says at that moment is the gate's
//! business: a balancer only avoids what it can see is closed.

mod least_request;
mod round_robin;

use super::rng::Rng;
use crate::model::Policy;

pub use least_request::LeastRequest;
pub use round_robin::RoundRobin;

/// What a balancer sees of an endpoint.
pub trait Candidate {
    /// Its share of the requests.
    fn weight(&self) -> u32;
    /// Whether it takes new work now.
    fn available(&self) -> bool;
    /// Requests in flight on it, over all workers.
    fn in_flight(&self) -> u64;
}

/// A Backend's balancer in one worker.
#[derive(Debug)]
pub enum Balancer {
    /// Smooth weighted round robin.
    RoundRobin(RoundRobin),
    /// Power of two choices.
    LeastRequest(LeastRequest),
}

impl Balancer {
    /// A balancer over endpoints of these weights. `start` spreads the workers, so that they do not all
    /// begin with the same endpoint.
    pub fn new(policy: Policy, weights: &[u32], start: usize) -> Self {
        match policy {
            Policy::RoundRobin => Self::RoundRobin(RoundRobin::over(weights, start)),
            Policy::LeastRequest => Self::LeastRequest(LeastRequest),
        }
    }

    /// The index of the endpoint for the next request, among those that are available and not in
    /// `tried`.
    pub fn pick<C: Candidate>(&self, endpoints: &[C], tried: &[usize], rng: &Rng) -> Option<usize> {
        let eligible = |at: usize| {
            let endpoint = &endpoints[at];
            endpoint.weight() > 0 && !tried.contains(&at) && endpoint.available()
        };
        match self {
            Self::RoundRobin(balancer) => balancer.turn(endpoints.len(), eligible),
            Self::LeastRequest(balancer) => balancer.pick(endpoints, eligible, rng),
        }
    }
}
