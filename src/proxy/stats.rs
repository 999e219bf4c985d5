//! What one worker counts: plain stores by its own thread, read by whoever asks for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

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

/// TCP connections that have ended, by how: each is one of these.
#[derive(Debug, Default)]
pub struct TcpEnds {
    /// Both sides closed.
    pub closed: Counter,
    /// One side broke off.
    pub broken: Counter,
    /// Nothing was passed on for too long.
    pub idle: Counter,
    /// By force.
    pub cut: Counter,
    /// No endpoint took it.
    pub unserved: Counter,
    /// It was turned away: no PROXY header, no first message of TLS, or no route for its host.
    pub refused: Counter,
}

/// One worker's numbers since it started.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Client connections accepted.
    pub connections: Counter,
    /// Client connections open now.
    pub open: Counter,
    /// Copies of requests under way now.
    pub mirroring: Counter,
    /// Connections turned away: over the limit, or from a source that is not allowed.
    pub turned_away: Counter,
    /// Responses sent, by the first digit of their status (index 1 to 5).
    pub responses: [Counter; 6],
    /// Connections closed because they did not begin with the PROXY header that their listener wants.
    pub no_proxy_header: Counter,
    /// Requests that were refused before they were forwarded.
    pub refused: Counter,
    /// Requests that came too soon for their route's limit.
    pub rate_limited: Counter,
    /// Further attempts on another endpoint.
    pub retries: Counter,
    /// Copies of requests that were answered.
    pub mirrors_answered: Counter,
    /// Copies of requests that were not answered, or not to the end.
    pub mirrors_failed: Counter,
    /// Copies of requests that were not sent: too many at once, no endpoint, or too long a body.
    pub mirrors_skipped: Counter,
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
    /// TLS handshakes with clients that began from nothing.
    pub tls_full: Counter,
    /// TLS handshakes with clients that resumed a session.
    pub tls_resumed: Counter,
    /// TLS handshakes with clients that failed.
    pub tls_failed: Counter,
    /// TCP connections that are passed on now.
    pub tcp_open: Counter,
    /// TCP connections that have ended, by how.
    pub tcp_ended: TcpEnds,
}

impl WorkerStats {
    /// What has still to end before the process can: connections of clients, and copies that no client waits for.
    pub fn under_way(&self) -> u64 {
        self.open.get() + self.mirroring.get()
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

    /// What has still to end before the process can, over all workers.
    pub fn under_way(&self) -> u64 {
        self.0.iter().map(|worker| worker.under_way()).sum()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.0.len()
    }
}
