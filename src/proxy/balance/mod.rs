//! Which endpoint of a Backend gets the next request. Each worker decides for itself.
//!
//! Called by `pick` for each attempt; what an endpoint's gate says at that moment is the gate's business: a
//! balancer only avoids what it can see is closed or full.

mod draw;
mod least_request;
mod maglev;
mod random;
mod round_robin;
pub mod slow_start;

use std::sync::Arc;
use std::time::Instant;

use super::rng::Rng;
use crate::model::Policy;

pub use least_request::LeastRequest;
pub use maglev::{Maglev, hash};
pub use random::Random;
pub use round_robin::RoundRobin;
pub use slow_start::Warming;

/// What a balancer sees of an endpoint.
pub trait Candidate {
    /// Its share of the requests.
    fn weight(&self) -> u32;
    /// Whether it takes new work now.
    fn available(&self) -> bool;
    /// Requests in flight on it, over all workers.
    fn in_flight(&self) -> u64;
}

/// What a choice is made by, beside the endpoints.
#[derive(Clone, Copy)]
pub struct By<'a> {
    /// The worker's random numbers.
    pub rng: &'a Rng,
    /// The request's key, with [`Policy::Hash`]: a hash, as [`hash`] makes it.
    pub key: u64,
    /// The time; asked only while an endpoint has less than its share.
    pub now: &'a dyn Fn() -> Instant,
}

/// A Backend's balancer in one worker.
#[derive(Debug)]
pub struct Balancer {
    rule: Rule,
    /// Endpoints that get less than their share yet.
    warming: Option<Warming>,
}

#[derive(Debug)]
enum Rule {
    RoundRobin {
        steady: RoundRobin,
        /// For as long as shares change.
        warming: Option<RoundRobin>,
    },
    LeastRequest(LeastRequest),
    Random(Random),
    Hash(Arc<Maglev>),
}

impl Balancer {
    /// A balancer over endpoints of these weights. `start` spreads the workers, so that they do not all begin
    /// with the same endpoint. `table` is the endpoints' own, with [`Policy::Hash`]; without one all keys lead
    /// to whichever endpoint comes first.
    pub fn new(
        policy: &Policy,
        weights: &[u32],
        start: usize,
        table: Option<Arc<Maglev>>,
        warming: Option<Warming>,
    ) -> Self {
        let rule = match policy {
            Policy::RoundRobin => Rule::RoundRobin {
                steady: RoundRobin::over(weights, start),
                warming: warming.as_ref().map(|_| RoundRobin::weighted(weights)),
            },
            Policy::LeastRequest => Rule::LeastRequest(LeastRequest),
            Policy::Random => Rule::Random(Random::over(weights)),
            Policy::Hash(_) => Rule::Hash(table.unwrap_or_default()),
        };
        Self { rule, warming }
    }

    /// The index of the endpoint for the next request, among those that are available and not `passed_over`.
    pub fn pick<C: Candidate>(
        &self,
        endpoints: &[C],
        passed_over: impl Fn(usize) -> bool,
        by: By<'_>,
    ) -> Option<usize> {
        let eligible = |at: usize| {
            let endpoint = &endpoints[at];
            endpoint.weight() > 0 && !passed_over(at) && endpoint.available()
        };
        let count = endpoints.len();
        if let Some(shares) = self.warming.as_ref().and_then(|w| w.shares(by.now)) {
            let share = |at| shares.of(at);
            return match &self.rule {
                Rule::RoundRobin { steady, warming } => {
                    let rule = warming.as_ref().unwrap_or(steady);
                    rule.turn_by(count, eligible, share)
                }
                Rule::LeastRequest(rule) => rule.pick(endpoints, eligible, share, by.rng),
                Rule::Random(rule) => rule.pick(count, eligible, share, by.rng),
                Rule::Hash(table) => table.pick(by.key, count, eligible),
            };
        }
        match &self.rule {
            Rule::RoundRobin { steady, .. } => steady.turn(count, eligible),
            Rule::LeastRequest(rule) => rule.pick(endpoints, eligible, whole, by.rng),
            Rule::Random(rule) => rule.pick(count, eligible, whole, by.rng),
            Rule::Hash(table) => table.pick(by.key, count, eligible),
        }
    }
}

/// Each has its whole share.
fn whole(_: usize) -> u32 {
    slow_start::WHOLE
}
