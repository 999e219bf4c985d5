//! How many requests a route takes, as a whole or of each client, over all workers of the process.
//!
//! The generic cell rate algorithm (ITU-T I.371): one number for each that is limited, the time until which
//! all that it was given is paid for. It is as exact as a token bucket and is changed by one
//! compare-and-swap, so that workers share it without a lock.
//!
//! Asked where a destination is looked for; kept over configurations by [`keep`].

mod address;
mod clients;
#[cfg(test)]
mod tests;

pub use address::client_address;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::model::{HostPattern, LimitPer, Match, ObjectName, RateLimit, Route, Snapshot};
use clients::Clients;

/// What one route's limit has come to.
#[derive(Debug)]
pub struct Limiter {
    of: Limited,
    pace: Pace,
    /// Times are counted from here.
    epoch: Instant,
    paid: Paid,
}

/// The limiters of each LoadBalancer that has any, by the route's place in it.
pub type Limiters = HashMap<ObjectName, Vec<(usize, Arc<Limiter>)>>;

/// What is limited: as long as none of it changes, what was counted counts on.
#[derive(Debug, PartialEq)]
struct Limited {
    hostnames: Vec<HostPattern>,
    matches: Vec<Match>,
    limit: RateLimit,
}

/// Until when what was given is paid for, in nanoseconds.
#[derive(Debug)]
enum Paid {
    Route(AtomicU64),
    Clients(Clients),
}

/// How fast requests may come, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    /// What one request costs.
    each: u64,
    /// How much may be owed: a burst's worth.
    most: u64,
}

impl Pace {
    /// Rounded so that never more comes through than the limit says. Fits: an hour for each of a million
    /// requests, which is the most that the schema allows, is a fifth of what 64 bits hold.
    fn of(limit: &RateLimit) -> Self {
        let interval = u64::try_from(limit.interval.as_nanos()).unwrap_or(u64::MAX);
        let each = interval.div_ceil(u64::from(limit.requests.max(1))).max(1);
        let most = each.saturating_mul(u64::from(limit.burst.max(1)));
        Self { each, most }
    }

    /// Takes one request; where it comes too soon, after how many nanoseconds it would not.
    fn take(self, paid: &AtomicU64, now: u64) -> Result<(), u64> {
        let mut seen = paid.load(Relaxed);
        loop {
            let after = seen.max(now).saturating_add(self.each);
            let most = now.saturating_add(self.most);
            if after > most {
                return Err(after - most);
            }
            match paid.compare_exchange_weak(seen, after, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => seen = changed,
            }
        }
    }
}

impl Limiter {
    /// The limiter of `route`, which has this limit. `seed` decides which clients share a place in the table:
    /// a number that nobody outside knows.
    fn new(route: &Route, limit: &RateLimit, epoch: Instant, seed: u64) -> Self {
        Self {
            pace: Pace::of(limit),
            epoch,
            paid: match limit.per {
                LimitPer::Route => Paid::Route(AtomicU64::new(0)),
                LimitPer::Client => Paid::Clients(Clients::new(seed)),
            },
            of: Limited {
                hostnames: route.hostnames.clone(),
                matches: route.matches.clone(),
                limit: limit.clone(),
            },
        }
    }

    /// Whether it is this route's, and its limit is the same.
    fn is_for(&self, route: &Route, limit: &RateLimit) -> bool {
        self.of.limit == *limit
            && self.of.hostnames == route.hostnames
            && self.of.matches == route.matches
    }

    /// Whether each client is counted apart.
    pub fn is_per_client(&self) -> bool {
        matches!(self.paid, Paid::Clients(_))
    }

    /// Takes one request of `client`; where it comes too soon, after how long it would not.
    pub fn take(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.epoch).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let taken = match &self.paid {
            Paid::Route(paid) => self.pace.take(paid, now),
            Paid::Clients(clients) => self.pace.take(clients.paid_by(client, now), now),
        };
        taken.map_err(Duration::from_nanos)
    }
}

/// The limiters of a configuration: those of routes and limits that were there before go on.
pub fn keep(known: &Limiters, snapshot: &Snapshot, now: Instant, seed: u64) -> Limiters {
    let mut kept = Limiters::new();
    for load_balancer in &snapshot.load_balancers {
        let mut before: Vec<&Arc<Limiter>> = known
            .get(&load_balancer.name)
            .map(|all| all.iter().map(|(_, limiter)| limiter).collect())
            .unwrap_or_default();
        let mut after = Vec::new();
        for (at, route) in load_balancer.routes.iter().enumerate() {
            let filters = route.filters.as_deref();
            let Some(limit) = filters.and_then(|filters| filters.rate_limit.as_ref()) else {
                continue;
            };
            let same = before.iter().position(|one| one.is_for(route, limit));
            let limiter = match same {
                Some(at) => Arc::clone(before.remove(at)),
                None => Arc::new(Limiter::new(route, limit, now, seed)),
            };
            after.push((at, limiter));
        }
        if !after.is_empty() {
            kept.insert(load_balancer.name.clone(), after);
        }
    }
    kept
}
