//! What one worker counts: plain stores by its own thread, read by whoever asks for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::model::totals::ListenerTotals;
use crate::model::{LoadBalancer, ObjectName};

/// One number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the worker that owns the counter may.
    pub fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Takes away; only the worker that owns the counter may.
    pub fn subtract(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_sub(count), Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One worker's numbers since it started.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Client connections accepted.
    pub connections: Counter,
    /// Client connections open now.
    pub open: Counter,
    /// Connections turned away: over the limit, or from a source that is not allowed.
    pub turned_away: Counter,
    /// Responses sent, by the first digit of their status (index 1 to 5).
    pub responses: [Counter; 6],
    /// Requests that were refused before they were forwarded.
    pub refused: Counter,
    /// Further attempts on another endpoint.
    pub retries: Counter,
    /// Exchanges ended by force.
    pub cut: Counter,
    /// Exchanges whose client went away first.
    pub client_gone: Counter,
    /// Exchanges that the endpoint broke: no answer, a broken one, or half of one.
    pub upstream_broken: Counter,
    /// Connections made to endpoints.
    pub upstream_connects: Counter,
    /// Requests sent on a kept connection.
    pub upstream_reuses: Counter,
    /// Connections to endpoints that failed.
    pub upstream_connect_failures: Counter,
    /// Body bytes taken from clients.
    pub bytes_in: Counter,
    /// Bytes sent to clients.
    pub bytes_out: Counter,
    /// Upgraded connections open now.
    pub tunnels: Counter,
}

/// Connections of one LoadBalancer, over all workers: counted once a connection, not once a request.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    /// One number for as long as the LoadBalancer is configured, however often its listeners change: who
    /// was counted under the old ones is given up under them too.
    open: Arc<AtomicU64>,
    listeners: Vec<(Arc<str>, Arc<ListenerCounts>)>,
}

/// Connections of one listener.
#[derive(Debug, Default)]
struct ListenerCounts {
    open: AtomicU64,
    total: AtomicU64,
}

impl ConnectionCounts {
    /// Counts for `load_balancer`; those of the same listeners in `before` go on.
    pub fn new(load_balancer: &LoadBalancer, before: Option<&Self>) -> Self {
        let known = |name: &Arc<str>| {
            let found = before.and_then(|b| b.listeners.iter().find(|(n, _)| n == name));
            found
                .map(|(_, counts)| Arc::clone(counts))
                .unwrap_or_default()
        };
        let names = load_balancer.listeners.iter().map(|l| &l.name);
        Self {
            open: before.map(|b| Arc::clone(&b.open)).unwrap_or_default(),
            listeners: names.map(|name| (Arc::clone(name), known(name))).collect(),
        }
    }

    /// Whether these are counts of just its listeners.
    pub fn is_for(&self, load_balancer: &LoadBalancer) -> bool {
        let ours = self.listeners.iter().map(|(name, _)| name);
        ours.eq(load_balancer.listeners.iter().map(|l| &l.name))
    }

    /// One more on the listener; returns how many the LoadBalancer had before.
    pub fn opened(&self, listener: &str) -> u64 {
        if let Some((_, counts)) = self.listeners.iter().find(|(name, _)| **name == *listener) {
            counts.open.fetch_add(1, Relaxed);
            counts.total.fetch_add(1, Relaxed);
        }
        self.open.fetch_add(1, Relaxed)
    }

    /// One less.
    pub fn closed(&self, listener: &str) {
        if let Some((_, counts)) = self.listeners.iter().find(|(name, _)| **name == *listener) {
            counts.open.fetch_sub(1, Relaxed);
        }
        self.open.fetch_sub(1, Relaxed);
    }

    /// The numbers, for people.
    pub fn totals<'a>(
        &'a self,
        load_balancer: &'a ObjectName,
    ) -> impl Iterator<Item = ListenerTotals> + 'a {
        self.listeners
            .iter()
            .map(move |(name, counts)| ListenerTotals {
                load_balancer: load_balancer.to_string(),
                listener: name.to_string(),
                connections_open: counts.open.load(Relaxed),
                connections_total: counts.total.load(Relaxed),
            })
    }
}

/// Every worker's numbers.
#[derive(Clone, Debug)]
pub struct Stats(Arc<[CachePadded<WorkerStats>]>);

impl Stats {
    /// Numbers of `workers` workers, all zero.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| CachePadded::default()).collect())
    }

    /// The numbers of one worker.
    pub fn worker(&self, at: usize) -> &WorkerStats {
        &self.0[at]
    }

    /// One number over all workers.
    pub fn sum(&self, which: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.0.iter().map(|worker| which(worker).get()).sum()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientTimeouts, Limits, Listener, Protocol};

    fn load_balancer(listeners: &[&str]) -> LoadBalancer {
        let listener = |name: &&str| Listener {
            name: (*name).into(),
            port: 80,
            protocol: Protocol::Http,
            hostname: None,
        };
        LoadBalancer {
            name: ObjectName::new("default", "lb"),
            listeners: listeners.iter().map(listener).collect(),
            routes: vec![],
            default_backend: None,
            limits: Limits::default(),
            timeouts: ClientTimeouts::default(),
            allowed_sources: vec![],
            trusted_proxies: vec![],
        }
    }

    #[test]
    fn a_connection_counted_before_a_change_of_listeners_is_given_up_after_it() {
        let before = ConnectionCounts::new(&load_balancer(&["a"]), None);
        assert_eq!(before.opened("a"), 0);
        let after = ConnectionCounts::new(&load_balancer(&["a", "b"]), Some(&before));
        assert_eq!(after.opened("b"), 1);
        before.closed("a");
        after.closed("b");
        assert_eq!(after.opened("a"), 0);
    }
}
