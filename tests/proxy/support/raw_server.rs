//! A server without a protocol: the test has its connections in hand, byte by byte.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::client::RawClient;
use super::wait::wait_until;

/// How long a connection may take to come.
const LIMIT: Duration = Duration::from_secs(20);

/// A listening socket.
#[derive(Debug)]
pub struct RawServer {
    /// Where it listens.
    pub address: SocketAddr,
    listener: TcpListener,
}

impl RawServer {
    /// Listens on a port that the kernel chooses.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            listener,
        }
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> RawClient {
        wait_until("a connection", LIMIT, || {
            self.try_accept().ok_or("nobody has connected")
        })
    }

    /// The next connection, if it has come.
    pub fn try_accept(&self) -> Option<RawClient> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(RawClient::over(stream))
    }
}
