//! What a connection's bytes go through: the socket itself, or TLS over it. Everything above (both sides of
//! HTTP, tunnels, kept connections) reads and writes a [`Transport`]; in clear text it costs one branch.
//!
//! As with every `AsyncWrite`, what `poll_write` took is out only once `poll_flush` says so: TLS may have made
//! a record that the socket does not take whole. In clear text there is nothing to flush.

use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tls::session::{Client, Server};
use super::tls::stream::TlsStream;
use super::tunnel::Side;

/// A connection's bytes, both ways.
pub enum Transport {
    /// Clear text.
    Plain(TcpStream),
    /// TLS that a client began and that ends here.
    Tls(Box<TlsStream<Server>>),
    /// TLS that was begun here and that ends at an endpoint.
    TlsClient(Box<TlsStream<Client>>),
}

impl Transport {
    /// The socket below; to look at and to set options of, not to read or write.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.socket(),
            Transport::TlsClient(tls) => tls.socket(),
        }
    }

    /// The socket itself, where nothing but it is in between: what `splice(2)` needs.
    pub fn plain(&self) -> Option<&TcpStream> {
        match self {
            Transport::Plain(socket) => Some(socket),
            Transport::Tls(_) | Transport::TlsClient(_) => None,
        }
    }

    /// Whether it is TLS.
    pub fn is_secure(&self) -> bool {
        self.plain().is_none()
    }

    /// The protocol that was agreed on in the handshake (RFC 7301); `None` in clear text, and where the peer
    /// named none.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(tls) => tls.session().alpn_protocol(),
            Transport::TlsClient(tls) => tls.session().alpn_protocol(),
        }
    }

    /// The address of our end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// Makes the close that follows a reset, so that the peer can tell that what it got is not whole: no
    /// `close_notify`, which would say the opposite, comes before it.
    pub fn reset(&mut self) {
        match self {
            Transport::Plain(_) => {}
            Transport::Tls(tls) => tls.silence(),
            Transport::TlsClient(tls) => tls.silence(),
        }
        // Fails only where the socket is gone already.
        let _ = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    /// Says that a connection that nothing is asked on ends here, before it is dropped: a server would take the
    /// end of the socket alone for an attack, and say so in its log. Waits for nobody.
    pub fn farewell(&mut self) {
        if self.is_secure() {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(self).poll_shutdown(&mut cx);
        }
    }

    /// Whether a connection that nothing is asked on has nothing to read: neither an end nor bytes that nobody
    /// asked for. Costs no system call where the runtime has heard of nothing. TLS may have something to say
    /// that is no answer (tickets): that is taken in.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        if let Transport::Plain(socket) = self {
            return match socket.poll_read_ready(&mut cx) {
                Poll::Pending => true,
                Poll::Ready(_) => {
                    let read = socket.try_read(&mut [0]);
                    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
                }
            };
        }
        let mut byte = [0];
        let read = Pin::new(self).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
        read.is_pending()
    }
}

/// Whether the kernel has bytes of the peer: what the runtime knows is as old as its last look, and closing
/// with unread input would reset a client that had sent its request before.
pub fn has_unread(socket: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    let read = socket2::SockRef::from(socket).peek(&mut byte);
    matches!(read, Ok(count) if count > 0)
}

impl Side for Transport {
    fn socket(&self) -> &TcpStream {
        self.socket()
    }

    fn plain(&self) -> Option<&TcpStream> {
        self.plain()
    }

    fn reset(&mut self) {
        self.reset();
    }
}

impl From<TcpStream> for Transport {
    fn from(socket: TcpStream) -> Self {
        Transport::Plain(socket)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Transport::Plain(_) => "Plain",
            Transport::Tls(_) => "Tls",
            Transport::TlsClient(_) => "TlsClient",
        };
        f.debug_tuple(kind).field(self.socket()).finish()
    }
}

impl AsyncRead for Transport {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
            Transport::TlsClient(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, buf),
            Transport::TlsClient(tls) => Pin::new(&mut **tls).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
            Transport::TlsClient(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            Transport::TlsClient(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            Transport::TlsClient(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}
