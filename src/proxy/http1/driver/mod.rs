//! One client connection: reads requests, has each answered by an endpoint or by ourselves, and says
//! when the connection ends. The codec decides what bytes mean and [`ClientConnection`] what comes next;
//! here they meet sockets.

mod attempt;
mod caller;
mod client;
mod deadlines;
mod download;
mod exchange;
mod mixed;
mod outgoing;
mod relay;
mod tunnel;
mod upload;

use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;

use super::{ClientConnection, Event, Next, RequestFault, RequestHead};
use crate::model::ClientTimeouts;
use crate::proxy::destination::{Chosen, Request, count_answer, destination};
use crate::proxy::http2;
use crate::proxy::origin::Origin;
use crate::proxy::respond::Answer;
use crate::proxy::transport::Transport;
use crate::proxy::worker::{Registered, Shutdown, Site, View, Worker};
use client::{Client, HeadRead};
use tunnel::Opened;

pub(in crate::proxy) use attempt::request_id;
pub(in crate::proxy) use download::CONTINUE_AFTER;
pub(in crate::proxy) use exchange::Kept;
pub(in crate::proxy) use outgoing::Outgoing;

/// One client connection and what serves it.
pub struct Connection {
    client: Client,
    state: ClientConnection,
    worker: Rc<Worker>,
    port: u16,
    /// The client has begun to speak HTTP/2.
    http2: bool,
    /// The tunnel that its last request has opened.
    opened: Option<Box<Opened>>,
}

impl Connection {
    /// A connection just accepted.
    pub(in crate::proxy) fn new(
        stream: Transport,
        origin: Origin,
        port: u16,
        worker: Rc<Worker>,
        registered: Registered,
    ) -> Self {
        Self {
            client: Client::new(stream, origin, Rc::clone(&worker), registered),
            state: ClientConnection::new(),
            worker,
            port,
            http2: false,
            opened: None,
        }
    }

    /// Turns the client away with this answer, whatever it asks.
    pub async fn refuse(&mut self, answer: &Answer) {
        self.client.register().await;
        let timeouts = ClientTimeouts::default();
        let sent = self.client.send(answer, true, true, timeouts.write).await;
        if sent.is_ok() {
            self.client.linger().await;
        }
    }

    /// Serves requests until the connection ends. True where the client has begun to speak HTTP/2: [`Connection::serve_http2`] goes on.
    pub async fn serve(&mut self) -> bool {
        self.serve_http1().await;
        self.http2
    }

    /// Goes on in HTTP/2, with what was read so far: a client that knew it before speaks it from its first byte
    /// (RFC 9113 section 3.3). On the heap: a connection of HTTP/1 is to carry nothing of it.
    pub fn serve_http2(self) -> Pin<Box<dyn Future<Output = ()>>> {
        let addresses = self.client.addresses();
        let Client {
            stream,
            told,
            buffer,
            registered,
            ..
        } = self.client;
        let control = &registered.control;
        let client = http2::Client::new(self.worker, control, addresses, self.port, told);
        let socket = http2::Socket::new(stream, buffer, registered);
        Box::pin(http2::serve(socket, Rc::new(client)))
    }

    async fn serve_http1(&mut self) {
        self.client.register().await;
        let mut next = Next::ReadHead;
        loop {
            next = match next {
                Next::ReadHead | Next::ReadWhatIsHere => match self.read_head(next).await {
                    Some(next) => next,
                    // The bytes and the socket go on.
                    None if self.http2 => return,
                    None => Next::Close,
                },
                Next::Linger => {
                    self.client.linger().await;
                    return;
                }
                Next::Reset => {
                    self.client.reset();
                    return;
                }
                // Its request's configuration is let go by now. On the heap: others are to carry nothing of it.
                Next::Tunnel => Box::pin(self.tunnel()).await,
                // The last two do not follow an exchange.
                Next::Close | Next::Continue | Next::Answer => {
                    self.client.close().await;
                    return;
                }
            };
        }
    }

    /// Reads one request and has it answered. `None`: the connection is over, and needs no farewell.
    async fn read_head(&mut self, next: Next) -> Option<Next> {
        let (limits, timeouts) = match self.worker.view().site(self.port) {
            Some(site) => (site.load_balancer().limits, site.load_balancer().timeouts),
            None => Default::default(),
        };
        let only_what_is_here = next == Next::ReadWhatIsHere;
        let read = self.client.read_head(&limits, &timeouts, only_what_is_here);
        match read.await {
            HeadRead::Head(head, length) => {
                // The configuration may have changed while the client was silent. From here on one view
                // holds for the whole request: its routes speak of its own pools.
                let view = self.worker.view();
                let ip = self.client.peer.ip();
                Some(match site_for(&self.worker, &view, self.port, ip) {
                    // On the heap while it lasts: an idle connection is to carry nothing of it.
                    Ok(site) => Box::pin(self.respond(&view, &site, &head, length)).await,
                    Err(answer) => self.dismiss(&answer, &head, length, &timeouts).await,
                })
            }
            HeadRead::Fault(RequestFault::Http2Preface) if self.state.is_fresh() => {
                self.http2 = true;
                None
            }
            HeadRead::Fault(fault) => {
                self.worker.stats().refused.add(1);
                let told = fault.is_answered();
                let answer = if told {
                    super::Answer::Told
                } else {
                    super::Answer::Silent
                };
                let next = self.on(Event::RequestFault { answer });
                let problem = Answer::new(fault.status(), fault.detail());
                self.answer_fault(next, &problem, &timeouts).await
            }
            HeadRead::TimedOut => {
                self.worker.stats().refused.add(1);
                let next = self.on(Event::RequestFault {
                    answer: super::Answer::Told,
                });
                let problem = Answer::new(408, "the request's head took too long");
                self.answer_fault(next, &problem, &timeouts).await
            }
            HeadRead::Over => None,
        }
    }

    async fn answer_fault(
        &mut self,
        next: Next,
        answer: &Answer,
        timeouts: &ClientTimeouts,
    ) -> Option<Next> {
        if next == Next::Answer {
            Some(self.answer(answer, true, timeouts).await)
        } else {
            Some(next)
        }
    }

    /// Answers one request, whose head is the first `length` unread bytes.
    async fn respond(
        &mut self,
        view: &View,
        site: &Site,
        head: &RequestHead,
        length: usize,
    ) -> Next {
        let has_body = !head.body.is_empty();
        self.on(Event::RequestHead {
            keep_alive: head.keep_alive,
            has_body,
        });
        match self.destination(site, head) {
            Ok(chosen) => self.forward(view, site, head, length, &chosen).await,
            Err(answer) => {
                count_answer(&answer, self.worker.stats());
                self.client.buffer.consume(length);
                self.answer_ourselves(&answer, head, &site.load_balancer().timeouts)
                    .await
            }
        }
    }

    /// Answers the last request of a connection that is not served any more.
    async fn dismiss(
        &mut self,
        answer: &Answer,
        head: &RequestHead,
        length: usize,
        timeouts: &ClientTimeouts,
    ) -> Next {
        self.on(Event::ShuttingDown);
        let has_body = !head.body.is_empty();
        self.on(Event::RequestHead {
            keep_alive: false,
            has_body,
        });
        self.client.buffer.consume(length);
        self.answer_ourselves(answer, head, timeouts).await
    }

    /// Where the request goes, or what we say ourselves.
    fn destination<'s>(&self, site: &'s Site, head: &RequestHead) -> Result<Chosen<'s>, Answer> {
        let request = Request {
            head,
            buf: self.client.buffer.filled(),
            fields: &self.client.fields,
            client: &self.client.told,
            peer: self.client.peer.ip(),
        };
        destination(site, &request)
    }

    /// Sends a response of our own in place of an endpoint's. Whatever is left of the request's body is
    /// given up, and with it the connection.
    async fn answer_ourselves(
        &mut self,
        answer: &Answer,
        head: &RequestHead,
        timeouts: &ClientTimeouts,
    ) -> Next {
        let body = head.method != super::Method::Head;
        if self.state.request_is_open() {
            self.on(Event::RequestBodyAbandoned);
        }
        self.answer(answer, body, timeouts).await
    }

    async fn answer(&mut self, answer: &Answer, body: bool, timeouts: &ClientTimeouts) -> Next {
        let close = self.state.must_close() || self.closing();
        self.on(Event::ResponseHead { close });
        match self.client.send(answer, body, close, timeouts.write).await {
            Ok(()) => self.on(Event::ResponseFinished),
            Err(_) => Next::Close,
        }
    }

    /// Whether the response that goes out now is to say that the connection closes.
    fn closing(&self) -> bool {
        closing(&self.worker, &self.client)
    }

    /// Tells the connection's state what has happened. An event that cannot come now is a fault of ours;
    /// the connection is closed, which is safe for everyone.
    fn on(&mut self, event: Event) -> Next {
        on(&mut self.state, event)
    }
}

/// What serves a connection's requests now, or why nothing does any more: the connection was accepted under an
/// earlier configuration, and this one may have no such listener, or not let the client in.
pub(in crate::proxy) fn site_for(
    worker: &Worker,
    view: &View,
    port: u16,
    client: IpAddr,
) -> Result<Rc<Site>, Answer> {
    let Some(site) = view.site(port) else {
        return Err(Answer::new(503, "this listener was removed").retry_after(1));
    };
    if !site.load_balancer().allows(client) {
        worker.stats().refused.add(1);
        return Err(Answer::new(403, "this client's address is not allowed"));
    }
    Ok(site)
}

/// What a client is told whose connection is one too many.
pub(in crate::proxy) fn too_many() -> Answer {
    Answer::new(429, "too many connections to this load balancer").retry_after(1)
}

/// Whether a response that goes out now is to say that the connection closes, because the process is going
/// down. Not where the next request is here already: it was sent in good faith, and behind a response
/// that says close nothing is answered (RFC 9112 section 9.6). The last one's response says it.
fn closing(worker: &Worker, client: &Client) -> bool {
    match worker.shutdown() {
        Shutdown::No => false,
        Shutdown::Announced | Shutdown::Idle => client.buffer.is_empty(),
        Shutdown::Cut => true,
    }
}

fn on(state: &mut ClientConnection, event: Event) -> Next {
    state.on(event).unwrap_or_else(|error| {
        tracing::error!(%error, "connection state");
        debug_assert!(false, "{error}");
        Next::Close
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_an_idle_connection_is_small() {
        /// Bytes of the future that is made of an `A`.
        fn size<A, F: Future>(_: fn(A) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(|mut connection: Connection| async move {
            if connection.serve().await {
                connection.serve_http2().await;
            }
        });
        assert!(bytes <= 1128, "{bytes} bytes");
    }
}
