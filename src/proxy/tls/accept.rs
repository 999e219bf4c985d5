//! A client's handshake, and what becomes of a client that speaks no TLS. Called by the worker as it accepts.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustls::HandshakeKind;
use rustls::server::UnbufferedServerConnection;
use tokio::net::TcpStream;

use super::Terminator;
use super::session::Server;
use super::stream::TlsStream;
use crate::proxy::buffer::{Buffer, BufferPool};
use crate::proxy::transport::Transport;

/// A handshake that a client is to begin.
pub struct Handshake {
    stream: Box<TlsStream<Server>>,
    /// Something has come, and it was no HTTP in clear text.
    begun: bool,
}

/// Why there is no TLS.
#[derive(Debug)]
pub enum Refused {
    /// The client speaks HTTP in clear text.
    ClearText,
    /// The handshake failed, and the client was told as TLS does it.
    Failed(io::Error),
}

impl Handshake {
    /// On a connection just accepted; `received` is what was read of it already.
    pub fn new(
        terminator: &Terminator,
        socket: TcpStream,
        received: Buffer,
        pool: &Rc<BufferPool>,
    ) -> io::Result<Self> {
        let session =
            UnbufferedServerConnection::new(terminator.config()).map_err(io::Error::other)?;
        Ok(Self {
            stream: Box::new(TlsStream::new(socket, received, session, pool)),
            begun: false,
        })
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// Whether anything of it has come.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Goes on with it.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<HandshakeKind, Refused>> {
        if !self.begun {
            if self.stream.unread().is_empty() {
                match ready!(self.stream.poll_more(cx)) {
                    Ok(0) => {
                        let gone = io::ErrorKind::UnexpectedEof.into();
                        return Poll::Ready(Err(Refused::Failed(gone)));
                    }
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(Refused::Failed(error))),
                }
            }
            self.begun = true;
            // A record begins with its type, 22; a method with a letter.
            if self
                .stream
                .unread()
                .first()
                .is_some_and(u8::is_ascii_alphabetic)
            {
                return Poll::Ready(Err(Refused::ClearText));
            }
        }
        match ready!(self.stream.poll_handshake(cx)) {
            Ok(()) => {
                let kind = self.stream.session().handshake_kind();
                Poll::Ready(Ok(kind.unwrap_or(HandshakeKind::Full)))
            }
            Err(error) => Poll::Ready(Err(Refused::Failed(error))),
        }
    }

    /// The connection, after the handshake.
    pub fn into_tls(self) -> Transport {
        Transport::Tls(self.stream)
    }

    /// The connection of a client that speaks clear text, without what was read of it.
    pub fn into_clear_text(self) -> Transport {
        Transport::Plain(self.stream.into_socket())
    }
}
