//! The configuration of the data plane: one immutable value, built by `plan`, swapped whole (Law 9).
//!
//! Everything is resolved: defaults are filled in, overrides merged, references turned into indices.
//! An endpoint's live state is not here; it is found by [`EndpointId`](super::EndpointId).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::backend::Backend;
use super::balance::RetryBudget;
use super::identity::ObjectName;
use super::route::Route;
use super::stream::StreamRoutes;
use super::tls::ListenerTls;

/// All that the proxy serves. Two snapshots that are equal route alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Load balancers, sorted by name.
    pub load_balancers: Vec<LoadBalancer>,
    /// Backends, sorted by name; routes refer to them by index.
    pub backends: Vec<Backend>,
}

impl Snapshot {
    /// The Backend of that name.
    pub fn backend(&self, name: &ObjectName) -> Option<&Backend> {
        self.backends
            .binary_search_by(|b| b.name.cmp(name))
            .ok()
            .map(|at| &self.backends[at])
    }
}

/// One LoadBalancer: its listeners share its routes.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    /// Which object this is.
    pub name: ObjectName,
    /// Where it listens; ports are unique over the whole snapshot.
    pub listeners: Vec<Listener>,
    /// In the order they were written; the most specific match wins, not the first.
    pub routes: Vec<Route>,
    /// Index into [`Snapshot::backends`] of the Backend for what no route matches.
    pub default_backend: Option<WeightedBackend>,
    /// Where connections go whose bytes are passed on as they are.
    pub streams: StreamRoutes,
    /// Bounds on what one client may send.
    pub limits: Limits,
    /// How long a client may take.
    pub timeouts: ClientTimeouts,
    /// Clients that may connect; empty means all.
    pub allowed_sources: Vec<IpNet>,
    /// Peers whose X-Forwarded-* and Forwarded fields are believed; from all others they are replaced.
    pub trusted_proxies: Vec<IpNet>,
}

impl LoadBalancer {
    /// One that serves nothing yet: it listens nowhere and has no routes. All that has a default has it, and every
    /// client may connect.
    pub fn new(name: ObjectName) -> Self {
        Self {
            name,
            listeners: Vec::new(),
            routes: Vec::new(),
            default_backend: None,
            streams: StreamRoutes::default(),
            limits: Limits::default(),
            timeouts: ClientTimeouts::default(),
            allowed_sources: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }

    /// Whether a client at `address` may connect.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allowed_sources.is_empty()
            || self
                .allowed_sources
                .iter()
                .any(|net| net.contains(&address))
    }
}

/// One port that a LoadBalancer listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Its name, unique in the LoadBalancer.
    pub name: Arc<str>,
    /// The port to bind.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Only requests for this host are served; all where absent.
    pub hostname: Option<HostPattern>,
    /// How TLS ends here, where it does.
    pub tls: Option<Arc<ListenerTls>>,
    /// Each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0, 1.1 and, by prior knowledge, 2, in clear text.
    Http,
    /// The same in TLS.
    Https,
    /// Bytes.
    Tcp,
    /// Bytes in TLS that ends here, sent where the host name in its first message says.
    Tls,
    /// TLS that the endpoint ends: bytes, sent where the host name in its first message says.
    TlsPassthrough,
}

/// A host name, or a wildcard for all names below one, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `shop.example.com`
    Exact(Box<str>),
    /// `*.example.com`, kept as `.example.com`: any name with at least one label more.
    Suffix(Box<str>),
}

impl HostPattern {
    /// Reads `shop.example.com` or `*.example.com`; the caller has checked the characters.
    pub fn new(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            Some(suffix) => HostPattern::Suffix(suffix.into()),
            None => HostPattern::Exact(lower.into()),
        }
    }

    /// Whether `host` (lower case, no port) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => **name == *host,
            HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }
}

/// One choice of a route, with what the route and the Backend say about timeouts and retries merged
/// (the route wins).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedBackend {
    /// Index into [`Snapshot::backends`].
    pub backend: usize,
    /// Share of the route's requests; 0 takes none.
    pub weight: u32,
    /// How long its endpoints may take.
    pub timeouts: RouteTimeouts,
    /// What is tried again.
    pub retry: Retry,
}

/// How long an endpoint may take, for one route's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// The whole exchange, retries included; unlimited where absent.
    pub request: Option<Duration>,
    /// To connect to an endpoint.
    pub connect: Duration,
    /// From the end of the request to the head of the response; unlimited where absent.
    pub response_head: Option<Duration>,
    /// How long a kept connection to an endpoint may be idle. Below what servers keep (Node: 5 s), or
    /// the race between our request and their close fails POSTs (PITFALLS 44).
    pub backend_idle: Duration,
    /// How long a TCP or an upgraded connection, or a call of gRPC whose client may still send, may pass no byte
    /// on, either way; unlimited where absent.
    pub tunnel_idle: Option<Duration>,
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            request: None,
            connect: Duration::from_secs(5),
            response_head: Some(Duration::from_mins(1)),
            backend_idle: Duration::from_secs(4),
            tunnel_idle: Some(Duration::from_hours(1)),
        }
    }
}

/// What is tried on another endpoint after a failure. A request of which nothing was sent is always
/// tried again, whatever this says (Law 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further attempts for an idempotent request that was sent and got no answer.
    pub attempts: u32,
    /// How many of the requests may be such attempts; any where absent.
    pub budget: Option<RetryBudget>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            budget: None,
        }
    }
}

/// Bounds on what clients may send; what is over gets its 4xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once to this LoadBalancer, in this process.
    pub connections: u64,
    /// Bytes of a request head: line and fields.
    pub head_bytes: usize,
    /// Fields in a head.
    pub header_count: usize,
    /// Bytes of a request target.
    pub uri_bytes: usize,
    /// Bytes of a request body; unlimited where absent.
    pub body_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            head_bytes: 32 * 1024,
            header_count: 100,
            uri_bytes: 8 * 1024,
            body_bytes: None,
        }
    }
}

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the first byte of a request head to its last; then 408.
    pub request_head: Duration,
    /// Between two reads of a request body; then 408.
    pub request_body: Duration,
    /// Between two requests on one connection; then it is closed.
    pub idle: Duration,
    /// For a client to take any of the bytes we have for it; then it is reset, so that a client that
    /// stalls cannot pin an endpoint.
    pub write: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(10),
            request_body: Duration::from_mins(1),
            idle: Duration::from_mins(1),
            write: Duration::from_mins(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_needs_a_label_of_its_own() {
        let wild = HostPattern::new("*.Example.com");
        assert!(wild.matches("a.example.com") && wild.matches("a.b.example.com"));
        assert!(!wild.matches("example.com") && !wild.matches(".example.com"));
        assert!(HostPattern::new("A.b").matches("a.b"));
    }
}
