//! A client connection that begins with a TLS handshake. It has the time that a request's head has: until it
//! is over nothing was asked.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use tokio::net::TcpStream;

use super::{Shutdown, Worker};
use crate::proxy::buffer::Buffer;
use crate::proxy::http1::driver;
use crate::proxy::origin::Origin;
use crate::proxy::respond::Answer;
use crate::proxy::timer::Timer;
use crate::proxy::tls::{Handshake, Refused, Terminator};
use crate::proxy::transport::{Transport, has_unread};
use crate::proxy::worker::Registered;

/// What a handshake came to.
pub(in crate::proxy) enum Shaken {
    /// What is inside may be read.
    Tls(Transport),
    /// The client speaks HTTP in clear text.
    ClearText(Transport),
    /// It failed, or the connection was left; it is only closed.
    Over,
}

/// A connection whose client is to speak TLS.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) origin: Origin,
    pub(super) port: u16,
    pub(super) terminator: Arc<Terminator>,
    /// How long the handshake may take.
    pub(super) patience: Duration,
    pub(super) worker: Rc<Worker>,
    pub(super) registered: Registered,
}

impl Connection {
    /// Shakes hands, and serves the requests inside.
    pub(super) async fn serve(self) {
        let Self {
            stream,
            origin,
            port,
            terminator,
            patience,
            worker,
            registered,
        } = self;
        // On the heap while it lasts: an idle connection is to carry nothing of it.
        let received = Buffer::new(&worker.buffers);
        let shaken = worker.shake_hands(stream, received, &terminator, patience, &registered);
        let shaken = Box::pin(shaken).await;
        match shaken {
            Shaken::Tls(stream) => {
                let http2 = stream.alpn() == Some(b"h2");
                let mut connection =
                    driver::Connection::new(stream, origin, port, worker, registered);
                if http2 || connection.serve().await {
                    connection.serve_http2().await;
                }
            }
            Shaken::ClearText(stream) => {
                let answer = Answer::new(
                    400,
                    "this port speaks HTTPS, and the request came in clear text",
                );
                let mut connection =
                    driver::Connection::new(stream, origin, port, worker, registered);
                Box::pin(connection.refuse(&answer)).await;
            }
            Shaken::Over => {}
        }
    }
}

impl Worker {
    /// Ends a client's handshake, of which `received` was read already.
    pub(in crate::proxy) async fn shake_hands(
        &self,
        socket: TcpStream,
        received: Buffer,
        terminator: &Terminator,
        patience: Duration,
        registered: &Registered,
    ) -> Shaken {
        let Ok(mut handshake) = Handshake::new(terminator, socket, received, &self.buffers) else {
            return Shaken::Over;
        };
        let deadline = Instant::now() + patience;
        let mut timer = Timer::default();
        let shaken = poll_fn(|cx| {
            registered.control.register(cx.waker());
            let shutdown = self.shutdown();
            if shutdown == Shutdown::Cut {
                return Poll::Ready(None);
            }
            if let Poll::Ready(done) = handshake.poll(cx) {
                return Poll::Ready(Some(done));
            }
            let left = shutdown == Shutdown::Idle && !handshake.has_begun();
            if left && !has_unread(handshake.socket()) {
                return Poll::Ready(None);
            }
            timer.poll_until(deadline, cx).map(|()| None)
        })
        .await;
        let stats = self.stats();
        match shaken {
            Some(Ok(HandshakeKind::Resumed)) => stats.tls_resumed.add(1),
            Some(Ok(_)) => stats.tls_full.add(1),
            Some(Err(Refused::ClearText)) => {
                stats.refused.add(1);
                return Shaken::ClearText(handshake.into_clear_text());
            }
            Some(Err(Refused::Failed(error))) => {
                stats.tls_failed.add(1);
                tracing::debug!(%error, "TLS handshake failed");
                return Shaken::Over;
            }
            None => {
                stats.tls_failed.add(1);
                return Shaken::Over;
            }
        }
        Shaken::Tls(handshake.into_tls())
    }
}
