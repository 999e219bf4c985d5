//! What only connections have whose bytes are passed on as they are: where those of TCP listeners and of TLS
//! listeners that pass TLS through go, and in which words an endpoint is told of the client.

use super::route::Route;
use super::snapshot::WeightedBackend;

/// Where such connections go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamRoutes {
    /// By the host name that a TLS client asks for. They match every path and have no filters. One without
    /// Backends takes its names out of service.
    pub routes: Vec<Route>,
    /// For all of a TCP listener's connections, and for those of TLS that no route matches.
    pub default_backend: Option<WeightedBackend>,
}

impl StreamRoutes {
    /// Whether they lead nowhere at all, as those of a LoadBalancer that speaks HTTP only.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.default_backend.is_none()
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}
