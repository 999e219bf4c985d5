//! Whose a client connection is: the peer's own, or, behind a proxy that says so, somebody else's. Made as a
//! connection is accepted; every rule about clients goes by it.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::proxy_protocol::Addresses;

/// Who connected, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The client.
    pub(super) source: SocketAddr,
    /// What it connected to, where a proxy told; else it is the socket's own address.
    pub(super) destination: Option<SocketAddr>,
}

impl Origin {
    /// The peer itself.
    pub(super) fn peer(address: SocketAddr) -> Self {
        Self {
            source: address,
            destination: None,
        }
    }

    /// As the proxy that connected says, or the proxy itself where it says nothing.
    pub(super) fn told(peer: SocketAddr, told: Option<Addresses>) -> Self {
        match told {
            None => Self::peer(peer),
            Some(told) => Self {
                source: told.source,
                destination: Some(told.destination),
            },
        }
    }

    /// Both ends, as an endpoint is told of them.
    pub(super) fn addresses(&self, stream: &TcpStream) -> Addresses {
        let own = || stream.local_addr().ok();
        // A socket that is gone has no address; nobody will read what is told of it.
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        Addresses {
            source: self.source,
            destination: self.destination.or_else(own).unwrap_or(unknown),
        }
    }
}
