//! What has happened since the process started, as plain values: the proxy and the drain's coordinator
//! produce them, the metrics show them.

use std::time::Duration;

use super::histogram::{DRAIN_SECONDS, Histogram, RELEASE_SECONDS};
use super::identity::ObjectName;

/// What the workers have done, summed over them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataPlaneTotals {
    /// Worker threads.
    pub workers: u64,
    /// By listener.
    pub listeners: Vec<ListenerTotals>,
    /// By Backend, of those that have limits, a retry budget, keys or a slow start.
    pub backends: Vec<BackendTotals>,
    /// Responses sent to clients by status class: 1xx is the first, 5xx the last.
    pub responses: [u64; 5],
    /// Attempts beyond the first of a request.
    pub retries: u64,
    /// Exchanges that were ended by force: a drain's deadline, Disabled, draining disabled.
    pub cuts: u64,
    /// Bytes received from clients.
    pub received_bytes: u64,
    /// Bytes sent to clients.
    pub sent_bytes: u64,
    /// Requests and connections answered or closed by lastcall itself, by fault. The reasons are a fixed
    /// set of short words.
    pub refused: Vec<(&'static str, u64)>,
    /// Copies of requests, by what became of them. The results are a fixed set of short words.
    pub mirrored: Vec<(&'static str, u64)>,
    /// Exchanges whose client went away first.
    pub client_gone: u64,
    /// Exchanges that the endpoint broke: no answer, a broken one, or half of one.
    pub upstream_broken: u64,
    /// Upgraded connections that are open.
    pub tunnels: u64,
    /// TCP connections that are passed on to an endpoint.
    pub tcp_open: u64,
    /// TCP connections that have ended, by how. The words are a fixed set of short ones.
    pub tcp_ended: Vec<(&'static str, u64)>,
    /// Connections opened to endpoints.
    pub upstream_connects: u64,
    /// Requests sent over a connection that was kept.
    pub upstream_reuses: u64,
    /// Connections to endpoints that could not be opened.
    pub upstream_connect_failures: u64,
    /// TLS handshakes with clients, by what came of them. The results are a fixed set of short words.
    pub tls_handshakes: Vec<(&'static str, u64)>,
}

/// What only a lastcall in a cluster has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterTotals {
    /// Pods that a Backend serves from and that are not held when they are stopped.
    pub unprotected: Vec<(ObjectName, u32)>,
    /// What the webhooks said, by what came of it. The results are a fixed set of short words.
    pub reviews: Vec<(&'static str, u64)>,
}

/// What one listener has accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerTotals {
    /// The LoadBalancer, `namespace/name`.
    pub load_balancer: String,
    /// The listener's name.
    pub listener: String,
    /// Client connections that are open.
    pub connections_open: u64,
    /// Client connections accepted.
    pub connections_total: u64,
}

/// What became of requests to one Backend that found no place at once, or were not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTotals {
    /// Which Backend.
    pub name: ObjectName,
    /// Requests that wait for an endpoint now.
    pub queued: u64,
    /// Requests that have waited.
    pub waited: u64,
    /// How long they did, together.
    pub waited_for: Duration,
    /// Requests and connections that were turned away because every endpoint was full.
    pub refused: u64,
    /// Requests that were not sent again because the retry budget was used up.
    pub retries_denied: u64,
}

/// What drains and holds have come to.
#[derive(Clone, Debug, PartialEq)]
pub struct DrainTotals {
    /// From the begin of a drain to its last byte, or to its deadline.
    pub drain_seconds: Histogram,
    /// From the moment the last request left an endpoint to the release of the hold that waited for it.
    pub release_seconds: Histogram,
    /// Holds that wait now.
    pub holds: u64,
    /// Holds released because nothing was in flight.
    pub released_drained: u64,
    /// Holds released by their deadline.
    pub released_deadline: u64,
    /// Holds released with what was in flight cut at once.
    pub released_cut: u64,
    /// Holds whose caller vanished and was given up (Law 6).
    pub abandoned: u64,
}

impl DrainTotals {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self {
            drain_seconds: Histogram::new(DRAIN_SECONDS),
            release_seconds: Histogram::new(RELEASE_SECONDS),
            holds: 0,
            released_drained: 0,
            released_deadline: 0,
            released_cut: 0,
            abandoned: 0,
        }
    }

    /// One endpoint has finished its drain.
    pub fn drained(&mut self, took: Duration) {
        self.drain_seconds.observe(took);
    }

    /// One hold was released with nothing in flight; `since_last_byte` is absent where nothing was in
    /// flight to begin with.
    pub fn released_after_last_byte(&mut self, since_last_byte: Option<Duration>) {
        self.released_drained += 1;
        if let Some(since) = since_last_byte {
            self.release_seconds.observe(since);
        }
    }
}

impl Default for DrainTotals {
    fn default() -> Self {
        Self::new()
    }
}
