//! From a request to its end: each attempt at it that `attempts` allows, from a connection to what the exchange
//! on it comes to.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::super::{
    Event, Field, ForwardContext, Method, Next, RequestHead, WebSocketAccept, forward_request,
    is_websocket,
};
use super::caller::Body;
use super::exchange::{Exchange, Seen};
use super::tunnel::Opened;
use super::{Connection, on};
use crate::gate::InFlight;
use crate::model::EndpointProtocol;
use crate::proxy::attempts::{
    Attempts, Ended, Failure, Task, Tried, Unanswered, connected, cut, unreachable,
};
use crate::proxy::destination::{Chosen, count_answer};
use crate::proxy::filters::Filtered;
use crate::proxy::mirror::Copied;
use crate::proxy::pick::{NoPlace, Picked};
use crate::proxy::respond::Answer;
use crate::proxy::rng::Rng;
use crate::proxy::tls::Offer;
use crate::proxy::transport::Transport;
use crate::proxy::worker::{Site, View};

impl Connection {
    /// Has an endpoint answer the request, whose head is the first `length` unread bytes.
    pub(super) async fn forward(
        &mut self,
        view: &View,
        site: &Site,
        head: &RequestHead,
        length: usize,
        chosen: &Chosen<'_>,
    ) -> Next {
        let choice = &chosen.backend;
        let pool = &view.pools[choice.backend];
        let load_balancer = site.load_balancer();
        let mut head = *head;
        let (mut body, mut accept) = (None, Ok(None));
        if pool.protocol == EndpointProtocol::Http2 {
            accept = self.opening(&mut head);
            body = Some(Body::from(head.body));
        }
        let head = &head;
        self.write_forward(site, head, chosen.filtered);
        self.client.buffer.consume(length);
        let accept = match accept {
            Ok(accept) => accept,
            Err(fault) => {
                count_answer(&fault, self.worker.stats());
                let timeouts = &load_balancer.timeouts;
                return self.answer_ourselves(&fault, head, timeouts).await;
            }
        };
        let written = &self.client.forward.front;
        let client = || self.client.addresses();
        let copied = Copied::new(chosen.filtered, view, &self.worker, head, written, client);
        let task = Task {
            head,
            timeouts: &choice.timeouts,
            client_timeouts: &load_balancer.timeouts,
            body_limit: load_balancer.limits.body_bytes,
            deadline: choice.timeouts.request.map(|limit| Instant::now() + limit),
            upgrade: head.upgrade.is_some(),
            accept,
            edits: chosen.filtered.and_then(|f| f.filters.response.as_ref()),
            copied: copied.as_ref(),
        };
        let attempts = Attempts::new(chosen, task, pool, &self.client.registered.control);
        match self.ask(attempts, body).await {
            Ok(next) => next,
            Err(answer) => {
                self.answer_ourselves(&answer, head, task.client_timeouts)
                    .await
            }
        }
    }

    /// What a request's upgrade comes to where its endpoint speaks HTTP/2, which knows `WebSocket`s (RFC 8441) and
    /// no others: those are not asked for (RFC 9110 section 7.8 leaves that to us). Gives what its key is
    /// answered with.
    fn opening(&self, head: &mut RequestHead) -> Result<Option<WebSocketAccept>, Answer> {
        let buf = self.client.buffer.filled();
        let asked = head.upgrade.map(|protocols| protocols.of(buf));
        if !asked.is_some_and(is_websocket) || head.method != Method::Get {
            head.upgrade = None;
            return Ok(None);
        }
        let key = |field: &&Field| {
            field
                .name
                .of(buf)
                .eq_ignore_ascii_case(b"sec-websocket-key")
        };
        let mut keys = self.client.fields.iter().filter(key);
        let accept = match (keys.next(), keys.next()) {
            (Some(key), None) => WebSocketAccept::to(key.value.of(buf)),
            _ => None,
        };
        let none = "a WebSocket's opening has one Sec-WebSocket-Key, of 16 bytes in base64";
        accept.map(Some).ok_or_else(|| Answer::new(400, none))
    }

    /// Asks endpoints until one has answered; what the client is told where none has.
    /// `body` is there where they speak HTTP/2, or once one is asked that may.
    async fn ask(
        &mut self,
        mut attempts: Attempts<'_>,
        mut body: Option<Body>,
    ) -> Result<Next, Answer> {
        loop {
            let client = &mut self.client;
            let next = attempts.next(&self.worker, |cx| client.poll_left(cx));
            let Some(in_flight) = next.await? else {
                // It has closed its side while it waited. It may still read what it is told, also where its
                // request was never whole.
                if self.state.request_is_open() {
                    on(&mut self.state, Event::RequestBodyAbandoned);
                }
                on(&mut self.state, Event::ClientEof);
                return Err(NoPlace::ClientGone.answer());
            };
            let tried = self.attempt(&mut attempts, &mut body, in_flight).await;
            if let Some(next) = attempts.note(tried)? {
                return Ok(next);
            }
        }
    }

    async fn attempt(
        &mut self,
        attempts: &mut Attempts<'_>,
        body: &mut Option<Body>,
        in_flight: InFlight<Picked>,
    ) -> Tried<Next> {
        let (task, upstream) = (attempts.task, &in_flight.endpoint().0);
        if body.is_none() && !task.upgrade && upstream.speaks_http2(false) {
            *body = Some(Body::from(task.head.body));
        }
        if body.is_none() {
            match self.connect(attempts, &in_flight).await {
                // What it chose in its handshake was not known before.
                Ok((stream, false)) if upstream.chose_http2(&stream) => {
                    upstream.adopt_http2(stream, in_flight.endpoint().2);
                }
                Ok((stream, kept)) => {
                    return self.exchange(attempts, stream, kept, in_flight).await;
                }
                Err(tried) => return tried,
            }
        }
        let body = body.get_or_insert_with(|| Body::from(task.head.body));
        // On the heap: where both sides speak HTTP/1 nothing of it is to be carried.
        Box::pin(self.attempt_mixed(attempts, body, in_flight)).await
    }

    /// Writes the head for the endpoint.
    fn write_forward(&mut self, site: &Site, head: &RequestHead, filtered: Option<Filtered<'_>>) {
        let peer = self.client.peer.ip();
        let mut trusted = site.load_balancer().trusted_proxies.iter();
        self.client
            .told
            .trust(trusted.any(|net| net.contains(&peer)));
        // Only HTTP/1.0 may leave its host out.
        let local = head
            .host
            .is_empty()
            .then(|| self.client.stream.local_addr());
        let local = local
            .and_then(Result::ok)
            .map(|address| address.to_string());
        let id = request_id(&self.worker.rng);
        let context = ForwardContext {
            client: &self.client.told,
            request_id: std::str::from_utf8(&id).unwrap_or_default(),
            default_host: local.as_deref().unwrap_or_default(),
            pass_expect: true,
            filtered,
        };
        self.client.forward.reset();
        let (bytes, out) = (self.client.buffer.filled(), &mut self.client.forward.front);
        forward_request(head, bytes, &self.client.fields, &context, out);
        self.client.forward.seal();
    }

    /// A kept connection (`true`), or a new one.
    async fn connect(
        &mut self,
        attempts: &Attempts<'_>,
        in_flight: &InFlight<Picked>,
    ) -> Result<(Transport, bool), Tried<Next>> {
        let Picked(upstream, tells, _) = in_flight.endpoint();
        // Asked of the socket only where an endpoint wants to know.
        let told = tells.map(|version| (version, self.client.addresses()));
        let whose = told.as_ref().map(|(_, client)| client);
        if attempts.may_reuse()
            && let Some(stream) = upstream.reuse(Instant::now(), whose)
        {
            self.worker.stats().upstream_reuses.add(1);
            return Ok((stream, true));
        }
        let offer = if attempts.task.upgrade {
            Offer::Http1
        } else {
            Offer::Any
        };
        let connecting = upstream.connect_telling(told, offer, &self.worker.buffers);
        let connecting = async { connecting.await.map_err(|_| unreachable()) };
        let by = (&*self.worker, self.client.control());
        // One that leaves meanwhile is noticed once there is a connection to pass its end on.
        let connected = connected(attempts, by, in_flight, connecting, |_| Poll::Pending).await;
        match connected {
            Ok(stream) => {
                self.worker.stats().upstream_connects.add(1);
                Ok((stream, false))
            }
            Err(failed) => Err(failed.tried(&self.worker, || Next::Close)),
        }
    }

    async fn exchange(
        &mut self,
        attempts: &mut Attempts<'_>,
        stream: Transport,
        kept: bool,
        in_flight: InFlight<Picked>,
    ) -> Tried<Next> {
        let upstream = Rc::clone(&in_flight.endpoint().0);
        self.client.forward.rewind();
        self.client.out.reset();
        let worker = Rc::clone(&self.worker);
        let mut exchange = Exchange::new(
            &mut self.client,
            &mut self.state,
            &worker,
            attempts.task,
            stream,
            in_flight,
            Instant::now(),
        );
        let ended = poll_fn(|cx| exchange.poll(cx)).await;
        let (sent, seen) = (exchange.sent(), exchange.seen());
        match ended {
            Ended::Finished => Tried::Over(self.state.next()),
            Ended::Switched => {
                let Some((link, in_flight)) = exchange.into_tunnel() else {
                    return Tried::Over(Next::Close);
                };
                let idle = attempts.task.timeouts.tunnel_idle;
                self.opened = Some(Opened::over(link, in_flight, idle));
                Tried::Over(self.state.next())
            }
            Ended::Failed(failure) => {
                drop(exchange);
                let closed = matches!(failure, Failure::Unanswered(Unanswered::Closed));
                if kept && closed && sent == 0 {
                    // It was given up before it was used, and the others are older.
                    upstream.close_idle();
                }
                self.failed(attempts, failure, (sent, kept, true), seen)
            }
        }
    }

    /// What a failed attempt means: try again, tell the client, or break off. `sent`, `kept` and `replayable` are
    /// those of [`Attempts::unanswered`].
    pub(super) fn failed(
        &mut self,
        attempts: &mut Attempts<'_>,
        failure: Failure,
        (sent, kept, replayable): (u64, bool, bool),
        seen: Seen,
    ) -> Tried<Next> {
        let stats = self.worker.stats();
        match failure {
            Failure::Unanswered(why) => {
                stats.upstream_broken.add(1);
                if let Unanswered::Broken(why) = &why {
                    tracing::debug!(%why, "broken response");
                }
                attempts.unanswered(&why, sent, kept, replayable)
            }
            Failure::Truncated(_) => {
                stats.upstream_broken.add(1);
                self.break_off(seen)
            }
            Failure::ClientGone => {
                stats.client_gone.add(1);
                Tried::Over(match seen {
                    // A reset could erase what it has not read yet.
                    Seen::Nothing | Seen::Whole => Next::Close,
                    Seen::Interim | Seen::Head => Next::Reset,
                })
            }
            Failure::Cut if seen != Seen::Nothing => self.break_off(seen),
            Failure::Cut => cut(&self.worker, sent, replayable),
            Failure::Malformed(fault) => {
                self.client_fault(seen, Answer::new(fault.status(), fault.detail()))
            }
            Failure::TooLong => {
                self.client_fault(seen, Answer::new(413, "the body is longer than allowed"))
            }
            Failure::BodyTimedOut => {
                self.client_fault(seen, Answer::new(408, "the body took too long"))
            }
        }
    }

    /// Ends an exchange whose client has seen a part of a response, so that it cannot take it for a whole
    /// one. One that has seen all of it loses only what it was still sending.
    fn break_off(&mut self, seen: Seen) -> Tried<Next> {
        match seen {
            Seen::Whole if self.state.request_is_open() => {
                Tried::Over(on(&mut self.state, Event::RequestBodyAbandoned))
            }
            Seen::Head => Tried::Over(on(&mut self.state, Event::ResponseCut)),
            Seen::Whole | Seen::Interim | Seen::Nothing => Tried::Over(Next::Reset),
        }
    }

    fn client_fault(&mut self, seen: Seen, answer: Answer) -> Tried<Next> {
        self.worker.stats().refused.add(1);
        if seen == Seen::Interim {
            return Tried::Over(Next::Reset);
        }
        if seen != Seen::Nothing {
            let told = Event::RequestFault {
                answer: super::super::Answer::Told,
            };
            return Tried::Over(on(&mut self.state, told));
        }
        Tried::Failed(answer)
    }
}

/// 128 random bits as 32 hexadecimal digits.
pub(in crate::proxy) fn request_id(rng: &Rng) -> [u8; 32] {
    let bits = u128::from(rng.next()) << 64 | u128::from(rng.next());
    std::array::from_fn(|at| b"0123456789abcdef"[(bits >> (124 - 4 * at) & 15) as usize])
}
