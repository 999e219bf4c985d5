//! One request of a client that speaks HTTP/2, from its head to its end: picks an endpoint, enters its gate,
//! connects, exchanges, and tries another one where that is safe (Law 7).

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};

use super::request::{Bootstrap, NormalRequest, read_request};
use super::requester::Requester;
use super::response::response_for_client;
use super::server::Client;
use super::tunnel;
use crate::gate::InFlight;
use crate::model::EndpointProtocol;
use crate::proxy::destination::{Chosen, Request, count_answer, destination};
use crate::proxy::exchange::{
    self, Caller, Ended, Exchange, Link, LinkFault, Messages, Outbound, Piece, Then, grpc_status,
    grpc_trailers, is_grpc,
};
use crate::proxy::filters::Filtered;
use crate::proxy::http1::driver::{Attempts, Task, Unanswered, request_id};
use crate::proxy::http1::{ForwardContext, HeadLimits, RequestBody, forward_request};
use crate::proxy::mirror::Copied;
use crate::proxy::pick::Picked;
use crate::proxy::respond::Answer;
use crate::proxy::timer::Timer;
use crate::proxy::worker::{Exchanging, Pool, Shutdown, Site, View};

/// One request and what serves it.
pub(super) struct Stream {
    client: Rc<Client>,
    caller: Requester,
    timer: Timer,
    exchanging: Exchanging,
    grpc: bool,
    no_body: bool,
}

/// What became of one attempt.
enum Tried {
    /// The exchange is over.
    Over,
    /// Nothing was answered; another endpoint may be asked.
    Again(Answer),
    /// The same, on a kept connection that the endpoint had given up.
    Stale(Answer),
    /// Nothing was answered, and nobody else is asked.
    Failed(Answer),
}

/// What all attempts at a request have in common.
struct Asked<'a> {
    pool: &'a Pool,
    outbound: Outbound<'a>,
}

impl Stream {
    /// A request that has just come.
    pub(super) fn new(client: Rc<Client>, body: RecvStream, reply: SendResponse<Bytes>) -> Self {
        let exchanging = Exchanging::new(&client.worker);
        Self {
            client,
            caller: Requester::new(body, reply),
            timer: Timer::default(),
            exchanging,
            grpc: false,
            no_body: false,
        }
    }

    /// Has the request answered.
    pub(super) async fn serve(mut self, parts: http::request::Parts) {
        let control = Rc::clone(&self.exchanging.control);
        poll_fn(|cx| {
            control.register(cx.waker());
            Poll::Ready(())
        })
        .await;
        let content_type = parts.headers.get(http::header::CONTENT_TYPE);
        self.grpc = content_type.is_some_and(|value| is_grpc(value.as_bytes()));
        self.no_body = parts.method == http::Method::HEAD;
        if let Err(answer) = self.respond(&parts).await {
            self.answer(&answer);
        }
    }

    async fn respond(&mut self, parts: &http::request::Parts) -> Result<(), Answer> {
        let client = Rc::clone(&self.client);
        let view = client.worker.view();
        let site = client.site(&view)?;
        let limits = HeadLimits::from(&site.load_balancer().limits);
        let key = websocket_key(&client, parts)?;
        let bootstrap = key.as_deref().map_or(Bootstrap::None, Bootstrap::WebSocket);
        // The body of a WebSocket's opening is the tunnel itself.
        let ends = self.caller.is_ended() || key.is_some();
        let read = read_request(parts, ends, bootstrap, &limits);
        let request = read.map_err(|fault| Answer::new(fault.status(), fault.detail()))?;
        let chosen = self.destination(&site, &request)?;
        self.forward(&view, &site, &request, &chosen, grpc_timeout(parts))
            .await
    }

    /// Where the request goes, or what we say ourselves.
    fn destination<'s>(
        &self,
        site: &'s Site,
        request: &NormalRequest,
    ) -> Result<Chosen<'s>, Answer> {
        let asked = Request {
            head: &request.head,
            buf: &request.bytes,
            fields: &request.fields,
            client: &self.client.told.borrow(),
            peer: self.client.peer.ip(),
        };
        let found = destination(site, &asked);
        found.inspect_err(|answer| count_answer(answer, self.client.worker.stats()))
    }

    async fn forward(
        &mut self,
        view: &View,
        site: &Site,
        request: &NormalRequest,
        chosen: &Chosen<'_>,
        timeout: Option<Duration>,
    ) -> Result<(), Answer> {
        let choice = &chosen.backend;
        let mut head = Vec::with_capacity(1024);
        self.write_forward(site, request, chosen.filtered, &mut head);
        let (client, worker) = (|| self.client.addresses, &self.client.worker);
        let copied = Copied::new(chosen.filtered, view, worker, &request.head, &head, client);
        let load_balancer = site.load_balancer();
        let limits = [choice.timeouts.request, timeout.filter(|_| self.grpc)];
        let limit = limits.into_iter().flatten().min();
        let task = Task {
            head: &request.head,
            timeouts: &choice.timeouts,
            client_timeouts: &load_balancer.timeouts,
            body_limit: load_balancer.limits.body_bytes,
            deadline: limit.map(|limit| Instant::now() + limit),
            upgrade: request.head.upgrade.is_some(),
            edits: chosen.filtered.and_then(|f| f.filters.response.as_ref()),
            copied: copied.as_ref(),
        };
        let asked = Asked {
            pool: &view.pools[choice.backend],
            outbound: Outbound {
                protocol: view.pools[choice.backend].protocol,
                head: &head,
                chunked: request.head.body == RequestBody::Chunked,
                upgrade: task.upgrade,
            },
        };
        self.ask(&asked, Attempts::new(choice, task)).await
    }

    /// Writes the head for the endpoint.
    fn write_forward(
        &self,
        site: &Site,
        request: &NormalRequest,
        filtered: Option<Filtered<'_>>,
        out: &mut Vec<u8>,
    ) {
        let worker = &self.client.worker;
        let peer = self.client.peer.ip();
        let mut trusted = site.load_balancer().trusted_proxies.iter();
        let mut told = self.client.told.borrow_mut();
        told.trust(trusted.any(|net| net.contains(&peer)));
        let id = request_id(&worker.rng);
        let context = ForwardContext {
            client: &told,
            request_id: std::str::from_utf8(&id).unwrap_or_default(),
            // HTTP/2 cannot leave it out.
            default_host: "",
            pass_expect: true,
            filtered,
        };
        forward_request(
            &request.head,
            &request.bytes,
            &request.fields,
            &context,
            out,
        );
    }

    /// Asks endpoints until one has answered; what the client is told where none has.
    async fn ask(&mut self, asked: &Asked<'_>, mut attempts: Attempts<'_>) -> Result<(), Answer> {
        let worker = Rc::clone(&self.client.worker);
        let mut answer = None;
        loop {
            if let Some(late) = answer.take_if(|_| attempts.is_overdue(Instant::now())) {
                return Err(late);
            }
            let Some((at, in_flight)) = attempts.pick(asked.pool, &worker) else {
                let none = || {
                    Answer::new(503, "no endpoint of this backend takes new requests")
                        .retry_after(1)
                };
                return Err(answer.unwrap_or_else(none));
            };
            if answer.is_some() {
                worker.stats().retries.add(1);
            }
            match self.attempt(asked, &mut attempts, in_flight).await {
                Tried::Over => return Ok(()),
                Tried::Again(why) => {
                    attempts.asked(at);
                    answer = Some(why);
                }
                Tried::Stale(why) => {
                    attempts.asked_stale(at);
                    answer = Some(why);
                }
                Tried::Failed(why) => return Err(why),
            }
        }
    }

    async fn attempt(
        &mut self,
        asked: &Asked<'_>,
        attempts: &mut Attempts<'_>,
        in_flight: InFlight<Picked>,
    ) -> Tried {
        let control = Rc::clone(&self.exchanging.control);
        control
            .cut
            .set(self.client.worker.shutdown() == Shutdown::Cut);
        control.upstream.set(in_flight.endpoint().0.key);
        self.caller.rewind();
        let connected = self.connect(asked, attempts, &in_flight).await;
        let tried = match connected {
            Ok(link) => self.exchange(asked, attempts, link, in_flight).await,
            Err(tried) => tried,
        };
        control.upstream.set(0);
        control.cut.set(false);
        tried
    }

    /// A connection with the request's head on it, and whether it was kept from before.
    async fn connect(
        &mut self,
        asked: &Asked<'_>,
        attempts: &Attempts<'_>,
        in_flight: &InFlight<Picked>,
    ) -> Result<(Link, bool), Tried> {
        let worker = Rc::clone(&self.client.worker);
        let Picked(upstream, tells) = in_flight.endpoint().clone();
        let told = tells.map(|version| (version, self.client.addresses));
        let now = Instant::now();
        if attempts.may_reuse()
            && let Some(link) = exchange::reuse(&worker, &upstream, &asked.outbound, told, now)
        {
            return Ok((link, true));
        }
        let left = attempts.connect_limit(now);
        let ends = self.ends(asked, attempts);
        let connected = {
            let linking = exchange::connect(&worker, &upstream, &asked.outbound, told, ends);
            let mut linking = std::pin::pin!(tokio::time::timeout(left, linking));
            let control = &self.exchanging.control;
            let caller = &mut self.caller;
            poll_fn(|cx| {
                if control.cut.get() {
                    return Poll::Ready(Connected::Cut);
                }
                if caller.poll_gone(cx).is_ready() {
                    return Poll::Ready(Connected::Gone);
                }
                linking.as_mut().poll(cx).map(Connected::Tried)
            })
            .await
        };
        match connected {
            Connected::Tried(Ok(Some(link))) => Ok((link, false)),
            Connected::Tried(failed) => {
                worker.stats().upstream_connect_failures.add(1);
                let status = if failed.is_err() { 504 } else { 502 };
                Err(Tried::Again(
                    Answer::new(status, "the endpoint cannot be reached").retry_after(1),
                ))
            }
            Connected::Gone => {
                worker.stats().client_gone.add(1);
                self.client.count_given_up();
                Err(Tried::Over)
            }
            Connected::Cut => {
                in_flight.count_cut();
                worker.stats().cut.add(1);
                Err(self.cut_unsent())
            }
        }
    }

    async fn exchange(
        &mut self,
        asked: &Asked<'_>,
        attempts: &mut Attempts<'_>,
        (link, kept): (Link, bool),
        in_flight: InFlight<Picked>,
    ) -> Tried {
        let upstream = Rc::clone(&in_flight.endpoint().0);
        let client = Rc::clone(&self.client);
        let control = Rc::clone(&self.exchanging.control);
        let ends = self.ends(asked, attempts);
        let mut exchange = Exchange::new(
            (&mut self.caller, &mut self.timer),
            (&client.worker, &control),
            attempts.task,
            (link, ends),
            in_flight,
            Instant::now(),
        );
        exchange.messages = self.grpc.then(Messages::default);
        let ended = poll_fn(|cx| exchange.poll(cx)).await;
        let sent = exchange.sent();
        let messages = exchange.messages;
        if let Ended::Switched = ended {
            let parts = exchange.into_tunnel();
            return self.tunnel(parts, &control).await;
        }
        drop(exchange);
        let closed = matches!(ended, Ended::Unanswered(LinkFault::Closed));
        let stale = kept && closed && sent == 0;
        if stale {
            // It was given up before it was used, and the others are older.
            upstream.close_idle();
        }
        match self.failed(attempts, ended, sent, messages) {
            Tried::Again(why) if stale => Tried::Stale(why),
            tried => tried,
        }
    }

    /// Whether the head is all that the endpoint gets for now. The body of a WebSocket's opening is its tunnel,
    /// which HTTP/1 has only after a switch.
    fn ends(&self, asked: &Asked<'_>, attempts: &Attempts<'_>) -> bool {
        let switches = attempts.task.upgrade && asked.outbound.protocol != EndpointProtocol::Http2;
        self.caller.is_ended() || switches
    }

    /// What the end of an attempt means: done, try again, tell the client, or break off.
    fn failed(
        &mut self,
        attempts: &mut Attempts<'_>,
        ended: Ended,
        sent: u64,
        messages: Option<Messages>,
    ) -> Tried {
        let worker = Rc::clone(&self.client.worker);
        let stats = worker.stats();
        match ended {
            Ended::Finished | Ended::Switched => Tried::Over,
            Ended::Unanswered(fault) => {
                stats.upstream_broken.add(1);
                if let LinkFault::Broken(why) = &fault {
                    tracing::debug!(%why, "broken response");
                }
                let (answer, why, sent) = unanswered(fault, sent);
                self.again(attempts, answer, &why, sent)
            }
            Ended::TimedOut => {
                stats.upstream_broken.add(1);
                let answer = Answer::new(504, "the endpoint did not answer in time");
                self.again(attempts, answer, &Unanswered::TimedOut, sent)
            }
            Ended::Truncated => {
                stats.upstream_broken.add(1);
                self.break_off(messages, "the response broke off");
                Tried::Over
            }
            Ended::ClientGone => {
                stats.client_gone.add(1);
                if !self.caller.has_begun() {
                    self.client.count_given_up();
                }
                self.caller.reset(Reason::CANCEL);
                Tried::Over
            }
            Ended::Cut if self.caller.has_begun() => {
                self.break_off(messages, "the endpoint left");
                Tried::Over
            }
            Ended::Cut if sent == 0 && self.caller.can_rewind() => self.cut_unsent(),
            Ended::Cut => Tried::Failed(
                Answer::new(
                    503,
                    "the endpoint left before it answered; it may have acted on the request",
                )
                .retry_after(1),
            ),
            Ended::Malformed(fault) => self.fault(Answer::new(fault.status(), fault.detail())),
            Ended::TooLong => self.fault(Answer::new(413, "the body is longer than allowed")),
            Ended::BodyTimedOut => self.fault(Answer::new(408, "the body took too long")),
        }
    }

    fn again(
        &self,
        attempts: &mut Attempts<'_>,
        answer: Answer,
        why: &Unanswered,
        sent: u64,
    ) -> Tried {
        if self.caller.can_rewind() && attempts.may_go_on(why, sent) {
            Tried::Again(answer)
        } else {
            Tried::Failed(answer)
        }
    }

    /// Law 7: nothing of it was sent, so another endpoint may be asked whatever the method is, but where
    /// everything is ended by force.
    fn cut_unsent(&self) -> Tried {
        if self.client.worker.shutdown() == Shutdown::Cut {
            let answer = Answer::new(503, "this load balancer is stopping").retry_after(1);
            return Tried::Failed(answer);
        }
        Tried::Again(Answer::new(503, "the endpoint was disabled").retry_after(1))
    }

    /// Ends a response that has begun, so that nobody takes it for a whole one: gRPC between two messages by a
    /// status, all else by a reset.
    fn break_off(&mut self, messages: Option<Messages>, why: &str) {
        const UNAVAILABLE: u16 = 14;
        let between = messages.is_some_and(|messages| messages.at_boundary());
        if !between || self.caller.end(grpc_trailers(UNAVAILABLE, why)).is_err() {
            self.caller.reset(Reason::INTERNAL_ERROR);
        }
    }

    fn fault(&mut self, answer: Answer) -> Tried {
        self.client.worker.stats().refused.add(1);
        if self.caller.has_begun() {
            self.caller.reset(Reason::INTERNAL_ERROR);
            return Tried::Over;
        }
        Tried::Failed(answer)
    }

    async fn tunnel(
        &mut self,
        parts: Option<(Link, InFlight<Picked>)>,
        control: &crate::proxy::worker::Control,
    ) -> Tried {
        let Some((Link::Http1(link), in_flight)) = parts else {
            return Tried::Over;
        };
        let stats_of = Rc::clone(&self.client.worker);
        stats_of.stats().tunnels.add(1);
        let ended = tunnel::run(&mut self.caller, link.into_parts(), control).await;
        stats_of.stats().tunnels.subtract(1);
        if ended == tunnel::Ended::Cut {
            in_flight.count_cut();
            stats_of.stats().cut.add(1);
        }
        if ended != tunnel::Ended::Closed {
            self.caller.reset(Reason::CANCEL);
        }
        Tried::Over
    }

    /// Sends a response of our own in place of an endpoint's.
    fn answer(&mut self, answer: &Answer) {
        let worker = Rc::clone(&self.client.worker);
        if self.grpc {
            self.answer_call(answer);
            worker.count_response(200);
            return;
        }
        worker.count_response(answer.status);
        let mut text = Vec::with_capacity(512);
        answer.write(true, false, &mut text);
        let end = memchr::memmem::find(&text, b"\r\n\r\n").map_or(text.len(), |at| at + 4);
        let content = Bytes::from(text.split_off(end));
        let Ok(response) = response_for_client(text) else {
            return self.caller.reset(Reason::INTERNAL_ERROR);
        };
        let ends = self.no_body || content.is_empty();
        // Fails only where the client is gone.
        let begun = self.caller.respond(response, ends);
        if begun.is_ok() && !ends {
            let then = Then::End;
            let _ = self.caller.send(Piece {
                data: content,
                then,
            });
        }
    }

    /// In gRPC's own words: a response of nothing but trailers.
    fn answer_call(&mut self, answer: &Answer) {
        let mut response = http::Response::new(());
        let headers = response.headers_mut();
        *headers = grpc_trailers(grpc_status(answer.status), &answer.detail);
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/grpc"),
        );
        let _ = self.caller.respond(response, true);
    }
}

enum Connected {
    Tried(Result<Option<Link>, tokio::time::error::Elapsed>),
    /// The client has given the stream up.
    Gone,
    /// By force.
    Cut,
}

/// What the client is told, why nothing was answered, and how much of the request the endpoint may have.
fn unanswered(fault: LinkFault, sent: u64) -> (Answer, Unanswered, u64) {
    let closed = "the endpoint closed the connection without an answer";
    match fault {
        LinkFault::Unprocessed => {
            let answer = Answer::new(503, "the endpoint takes no more requests").retry_after(1);
            (answer, Unanswered::Closed, 0)
        }
        LinkFault::Closed | LinkFault::Truncated => {
            (Answer::new(502, closed), Unanswered::Closed, sent)
        }
        LinkFault::Broken(why) => {
            let answer = Answer::new(502, "the endpoint's answer is no valid response");
            (answer, Unanswered::Broken(why), sent)
        }
    }
}

fn grpc_timeout(parts: &http::request::Parts) -> Option<Duration> {
    exchange::grpc_timeout(parts.headers.get("grpc-timeout")?.as_bytes())
}

/// The key for a WebSocket's opening towards HTTP/1, where one is asked for (RFC 8441); other protocols are
/// not known here.
fn websocket_key(client: &Client, parts: &http::request::Parts) -> Result<Option<String>, Answer> {
    use base64::Engine;
    match parts.extensions.get::<h2::ext::Protocol>() {
        None => Ok(None),
        Some(protocol) if protocol.as_str() == "websocket" => {
            let bits = [client.worker.rng.next(), client.worker.rng.next()];
            let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_be_bytes()).collect();
            Ok(Some(
                base64::engine::general_purpose::STANDARD.encode(bytes),
            ))
        }
        Some(_) => Err(Answer::new(
            501,
            "the only protocol of CONNECT served is websocket",
        )),
    }
}
