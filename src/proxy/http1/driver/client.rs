//! The client's side of a connection: its socket, what was read from it, and what is written to it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use super::super::{
    ClientFields, Field, HeadLimits, RequestFault, RequestHead, may_complete, parse_request,
};
use super::outgoing::Outgoing;
use crate::model::{ClientTimeouts, Limits};
use crate::proxy::buffer::Buffer;
use crate::proxy::linger::{LINGER_SILENCE, linger};
use crate::proxy::origin::Origin;
use crate::proxy::proxy_protocol::Addresses;
use crate::proxy::respond::Answer;
use crate::proxy::timer::Timer;
use crate::proxy::transport::{Transport, has_unread};
use crate::proxy::worker::{Control, Registered, Shutdown, Worker};

/// A client's socket and buffers; they live as long as the connection and are used again by each of its
/// requests.
pub(super) struct Client {
    pub(super) stream: Transport,
    /// Who it is: its own address, or the one that a proxy told of it.
    pub(super) peer: SocketAddr,
    /// Where a proxy says that it connected to.
    destination: Option<Box<SocketAddr>>,
    /// What endpoints are told of it.
    pub(super) told: ClientFields,
    /// Read and not used yet: heads, bodies, the next requests.
    pub(super) buffer: Buffer,
    /// The fields of the request under way.
    pub(super) fields: Vec<Field>,
    /// To the client.
    pub(super) out: Outgoing,
    /// To the endpoint; kept here so that its storage is used again.
    pub(super) forward: Outgoing,
    /// The fields of the response under way.
    pub(super) response_fields: Vec<Field>,
    pub(super) timer: Timer,
    /// It has closed its side.
    pub(super) half_closed: bool,
    worker: Rc<Worker>,
    pub(super) registered: Registered,
}

/// Bytes that are read of a client whose request waits for an endpoint.
const MAX_READ_AHEAD: usize = 8 * 1024;

/// What came of waiting for a request.
pub(super) enum HeadRead {
    /// A head, and how many of the unread bytes it is.
    Head(RequestHead, usize),
    /// Bytes that are none.
    Fault(RequestFault),
    /// It began and did not end in time.
    TimedOut,
    /// The client has left, or is to leave: nothing was asked.
    Over,
}

impl Client {
    pub(super) fn new(
        stream: Transport,
        origin: Origin,
        worker: Rc<Worker>,
        registered: Registered,
    ) -> Self {
        let peer = origin.source;
        let scheme = if stream.is_secure() { "https" } else { "http" };
        Self {
            stream,
            peer,
            destination: origin.destination.map(Box::new),
            told: ClientFields::new(peer.ip(), scheme, false),
            buffer: Buffer::new(&worker.buffers),
            fields: Vec::new(),
            out: Outgoing::default(),
            forward: Outgoing::default(),
            response_fields: Vec::new(),
            timer: Timer::default(),
            half_closed: false,
            worker,
            registered,
        }
    }

    pub(super) fn control(&self) -> &Control {
        &self.registered.control
    }

    /// Both ends of its connection, as an endpoint is told of them.
    pub(super) fn addresses(&self) -> Addresses {
        let origin = Origin {
            source: self.peer,
            destination: self.destination.as_deref().copied(),
        };
        origin.addresses(self.stream.socket())
    }

    /// Lets the worker wake this connection's task.
    pub(super) async fn register(&self) {
        poll_fn(|cx| {
            self.control().register(cx.waker());
            Poll::Ready(())
        })
        .await;
    }

    /// Waits for a request: as long as a connection may be idle for its first byte, then as long as a head
    /// may take; with `only_what_is_here` no longer than it takes to see that nothing is here.
    pub(super) async fn read_head(
        &mut self,
        limits: &Limits,
        timeouts: &ClientTimeouts,
        only_what_is_here: bool,
    ) -> HeadRead {
        let limits = HeadLimits::from(limits);
        let waits_from = Instant::now();
        // Bytes of the next request may have come with the last one.
        let mut began = (!self.buffer.is_empty()).then_some(waits_from);
        let mut seen = 0;
        poll_fn(|cx| {
            loop {
                // The first bytes are looked at even without a line's end: what is no HTTP at all (TLS,
                // say) never sends one.
                let unread = self.buffer.filled();
                if (seen == 0 && !unread.is_empty())
                    || may_complete(unread, seen)
                    || unread.len() > limits.uri_bytes
                {
                    match parse_request(self.buffer.filled(), &limits, &mut self.fields) {
                        Ok(Some((head, length))) => {
                            return Poll::Ready(HeadRead::Head(head, length));
                        }
                        Ok(None) => {}
                        Err(fault) => return Poll::Ready(HeadRead::Fault(fault)),
                    }
                }
                seen = self.buffer.filled().len();
                match self.buffer.poll_fill(&mut self.stream, cx) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        began.get_or_insert_with(Instant::now);
                    }
                    Poll::Ready(_) => return Poll::Ready(HeadRead::Over),
                    Poll::Pending => {
                        let Some(began) = began else {
                            let closing =
                                only_what_is_here || self.worker.shutdown() >= Shutdown::Idle;
                            if !closing {
                                ready!(self.timer.poll_until(waits_from + timeouts.idle, cx));
                            }
                            if has_unread(self.stream.socket()) {
                                // The runtime has not heard of it yet; it will, and wakes us.
                                return Poll::Pending;
                            }
                            return Poll::Ready(HeadRead::Over);
                        };
                        ready!(self.timer.poll_until(began + timeouts.request_head, cx));
                        return Poll::Ready(HeadRead::TimedOut);
                    }
                }
            }
        })
        .await
    }

    /// Writes an answer of our own whole, or fails where the client takes none of it for `patience`.
    pub(super) async fn send(
        &mut self,
        answer: &Answer,
        body: bool,
        close: bool,
        patience: Duration,
    ) -> io::Result<()> {
        self.out.reset();
        answer.write(body, close, &mut self.out.front);
        self.count_response(answer.status);
        let deadline = Instant::now() + patience;
        poll_fn(|cx| {
            if let Poll::Ready(sent) = self.poll_out(&[], cx) {
                return Poll::Ready(sent);
            }
            ready!(self.timer.poll_until(deadline, cx));
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    /// Counts a final response by the first digit of its status.
    pub(super) fn count_response(&self, status: u16) {
        self.worker.count_response(status);
    }

    /// Ready once the client has closed its side while its request waits for an endpoint. What it sends meanwhile
    /// is kept, up to a bound; behind that its end is not seen.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.half_closed {
            if self.buffer.filled().len() >= MAX_READ_AHEAD {
                return Poll::Pending;
            }
            match ready!(self.buffer.poll_fill(&mut self.stream, cx)) {
                Ok(count) if count > 0 => {}
                _ => self.half_closed = true,
            }
        }
        Poll::Ready(())
    }

    /// Closes our side, then reads and drops what still comes, so that closing does not reset the
    /// connection and erase what the client has not read yet.
    pub(super) async fn linger(&mut self) {
        if !self.half_closed {
            linger(&mut self.stream, &self.worker).await;
        }
    }

    /// Makes the close that follows a reset, so that the client can tell that its response is not whole.
    pub(super) fn reset(&mut self) {
        self.stream.reset();
    }

    /// Ends a connection of which nothing is to be read any more. In clear text the close says it; TLS has to
    /// (RFC 8446 section 6.1), or its client takes what it got for cut off.
    pub(super) async fn close(&mut self) {
        if !self.stream.is_secure() {
            return;
        }
        let deadline = Instant::now() + LINGER_SILENCE;
        poll_fn(|cx| {
            if self.worker.shutdown() == Shutdown::Cut {
                return Poll::Ready(());
            }
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => self.timer.poll_until(deadline, cx),
            }
        })
        .await;
    }

    /// Writes what is in `out`, with data from `source`.
    pub(super) fn poll_out(&mut self, source: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.poll_write(source, &mut self.stream, cx)
    }
}
