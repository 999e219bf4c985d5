//! TLS without a protocol inside: the test has both of its ends in hand.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ConnectionCommon, ServerConfig, ServerConnection, SideData, StreamOwned};

use super::tls::Issued;
use super::wait::wait_until;

/// How long a connection may take to come, and a read.
const LIMIT: Duration = Duration::from_secs(20);

/// What a TLS connection's reader came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsEnd {
    /// `close_notify`.
    Clean,
    /// A FIN without it.
    Truncated,
    /// A reset.
    Reset,
}

/// Sends all of it.
pub fn send<C, S>(stream: &mut StreamOwned<C, TcpStream>, bytes: impl AsRef<[u8]>)
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>>,
    S: SideData,
{
    stream.write_all(bytes.as_ref()).unwrap();
    stream.flush().unwrap();
}

/// Reads exactly so many bytes.
pub fn take<C, S>(stream: &mut StreamOwned<C, TcpStream>, count: usize) -> Vec<u8>
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>>,
    S: SideData,
{
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Says `close_notify`, and goes on reading.
pub fn say_end<C, S>(stream: &mut StreamOwned<C, TcpStream>)
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>>,
    S: SideData,
{
    stream.conn.send_close_notify();
    stream.flush().unwrap();
}

/// Reads to the end: what came, and what the end was.
pub fn to_end<C, S>(stream: &mut StreamOwned<C, TcpStream>) -> (Vec<u8>, TlsEnd)
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>>,
    S: SideData,
{
    let mut got = Vec::new();
    let end = match stream.read_to_end(&mut got) {
        Ok(_) => TlsEnd::Clean,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => TlsEnd::Truncated,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ) =>
        {
            TlsEnd::Reset
        }
        Err(error) => panic!("read: {error}"),
    };
    (got, end)
}

/// A listening socket whose connections begin with a handshake.
pub struct TlsRawServer {
    pub address: SocketAddr,
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl TlsRawServer {
    /// With this certificate. `alpn`: what it chooses from, where it does.
    pub fn start(issued: &Issued, alpn: &[&[u8]]) -> Self {
        let (chain, key) = issued.parts();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            listener,
            config: Arc::new(config),
        }
    }

    /// The next connection, as it comes.
    #[track_caller]
    pub fn accept_clear(&self) -> TcpStream {
        let socket = wait_until("a connection", LIMIT, || {
            self.listener.accept().map(|(socket, _)| socket)
        });
        socket.set_nonblocking(false).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    }

    /// The next connection, after `header` in clear text and its handshake.
    #[track_caller]
    pub fn accept_behind(&self, header: &[u8]) -> StreamOwned<ServerConnection, TcpStream> {
        let mut socket = self.accept_clear();
        let mut got = vec![0; header.len()];
        socket.read_exact(&mut got).unwrap();
        assert_eq!(
            got.escape_ascii().to_string(),
            header.escape_ascii().to_string()
        );
        let mut session = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        StreamOwned::new(session, socket)
    }

    /// The next connection, after its handshake.
    #[track_caller]
    pub fn accept(&self) -> StreamOwned<ServerConnection, TcpStream> {
        self.accept_behind(b"")
    }
}
