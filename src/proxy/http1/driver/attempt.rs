//! From a request to its end: picks an endpoint, enters its gate, connects, exchanges, and tries another
//! one where that is safe (Law 7).

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::super::{Event, ForwardContext, Next, RequestHead, forward_request};
use super::attempts::Attempts;
use super::caller::Body;
use super::exchange::{Ended, Exchange, Failure, Seen, Task, Unanswered};
use super::{Connection, on};
use crate::gate::InFlight;
use crate::proxy::destination::Chosen;
use crate::proxy::filters::Filtered;
use crate::proxy::mirror::Copied;
use crate::proxy::pick::Picked;
use crate::proxy::respond::Answer;
use crate::proxy::rng::Rng;
use crate::proxy::tls::Offer;
use crate::proxy::transport::Transport;
use crate::proxy::tunnel;
use crate::proxy::worker::{Pool, Shutdown, Site, View};

/// What became of one attempt.
pub(super) enum Tried {
    /// The exchange is over; this comes next.
    Over(Next),
    /// Nothing was answered; another endpoint may be asked.
    Again(Answer),
    /// The same, and it was a kept connection that the endpoint had given up: that says little of the
    /// endpoint itself.
    Stale(Answer),
    /// Nothing was answered, and nobody else is asked.
    Failed(Answer),
}

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
        self.write_forward(site, head, chosen.filtered);
        self.client.buffer.consume(length);
        let written = &self.client.forward.front;
        let client = || self.client.addresses();
        let copied = Copied::new(chosen.filtered, view, &self.worker, head, written, client);
        let choice = &chosen.backend;
        let pool = &view.pools[choice.backend];
        let load_balancer = site.load_balancer();
        let task = Task {
            head,
            timeouts: &choice.timeouts,
            client_timeouts: &load_balancer.timeouts,
            body_limit: load_balancer.limits.body_bytes,
            deadline: choice.timeouts.request.map(|limit| Instant::now() + limit),
            upgrade: head.upgrade.is_some(),
            edits: chosen.filtered.and_then(|f| f.filters.response.as_ref()),
            copied: copied.as_ref(),
        };
        let asked = self.ask(pool, Attempts::new(choice, task));
        match asked.await {
            Ok(next) => next,
            Err(answer) => {
                self.answer_ourselves(&answer, head, task.client_timeouts)
                    .await
            }
        }
    }

    /// Asks endpoints until one has answered; what the client is told where none has.
    async fn ask(&mut self, pool: &Pool, mut attempts: Attempts<'_>) -> Result<Next, Answer> {
        let mut answer = None;
        // There once an endpoint is asked that may not speak HTTP/1.
        let mut body = None;
        loop {
            // A request that took too long is answered, and acted on by nobody after that.
            if let Some(late) = answer.take_if(|_| attempts.is_overdue(Instant::now())) {
                return Err(late);
            }
            let Some((at, in_flight)) = attempts.pick(pool, &self.worker) else {
                let none = || {
                    Answer::new(503, "no endpoint of this backend takes new requests")
                        .retry_after(1)
                };
                return Err(answer.unwrap_or_else(none));
            };
            if answer.is_some() {
                self.worker.stats().retries.add(1);
            }
            match self.attempt(&mut attempts, &mut body, in_flight).await {
                Tried::Over(next) => return Ok(next),
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

    async fn attempt(
        &mut self,
        attempts: &mut Attempts<'_>,
        body: &mut Option<Body>,
        in_flight: InFlight<Picked>,
    ) -> Tried {
        let control = Rc::clone(&self.client.registered.control);
        control.cut.set(self.worker.shutdown() == Shutdown::Cut);
        control.upstream.set(in_flight.endpoint().0.key);
        let (task, upstream) = (attempts.task, &in_flight.endpoint().0);
        if body.is_none() && upstream.speaks_http2(task.upgrade) {
            *body = Some(Body::from(task.head.body));
        }
        let connected = match body {
            Some(_) => None,
            None => match self.connect(attempts, &in_flight).await {
                // What it chose in its handshake was not known before.
                Ok((stream, false)) if upstream.chose_http2(&stream) => {
                    upstream.http2.adopt(stream);
                    None
                }
                connected => Some(connected),
            },
        };
        let tried = match connected {
            Some(Ok((stream, kept))) => self.exchange(attempts, stream, kept, in_flight).await,
            Some(Err(tried)) => tried,
            None => {
                let body = body.get_or_insert_with(|| Body::from(task.head.body));
                // On the heap: where both sides speak HTTP/1 nothing of it is to be carried.
                Box::pin(self.attempt_mixed(attempts, body, in_flight)).await
            }
        };
        control.upstream.set(0);
        control.cut.set(false);
        tried
    }

    /// A kept connection (`true`), or a new one.
    async fn connect(
        &mut self,
        attempts: &Attempts<'_>,
        in_flight: &InFlight<Picked>,
    ) -> Result<(Transport, bool), Tried> {
        let Picked(upstream, tells) = in_flight.endpoint();
        let now = Instant::now();
        // Asked of the socket only where an endpoint wants to know.
        let told = tells.map(|version| (version, self.client.addresses()));
        if attempts.may_reuse()
            && let Some(stream) = upstream.reuse(now, told.as_ref().map(|(_, client)| client))
        {
            self.worker.stats().upstream_reuses.add(1);
            return Ok((stream, true));
        }
        let left = attempts.connect_limit(now);
        let connected = {
            let offer = if attempts.task.upgrade {
                Offer::Http1
            } else {
                Offer::Any
            };
            let connecting = upstream.connect_telling(told, offer, &self.worker.buffers);
            let mut connecting = std::pin::pin!(tokio::time::timeout(left, connecting));
            let control = &self.client.registered.control;
            poll_fn(|cx| {
                if control.cut.get() {
                    return Poll::Ready(None);
                }
                connecting.as_mut().poll(cx).map(Some)
            })
            .await
        };
        match connected {
            Some(Ok(Ok(stream))) => {
                self.worker.stats().upstream_connects.add(1);
                Ok((stream, false))
            }
            None => {
                in_flight.count_cut();
                self.worker.stats().cut.add(1);
                Err(self.cut_unsent())
            }
            Some(failed) => {
                self.worker.stats().upstream_connect_failures.add(1);
                let status = if failed.is_err() { 504 } else { 502 };
                Err(Tried::Again(
                    Answer::new(status, "the endpoint cannot be reached").retry_after(1),
                ))
            }
        }
    }

    async fn exchange(
        &mut self,
        attempts: &mut Attempts<'_>,
        stream: Transport,
        kept: bool,
        in_flight: InFlight<Picked>,
    ) -> Tried {
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
                self.tunnel(link, in_flight, idle).await
            }
            Ended::Failed(failure) => {
                drop(exchange);
                let stale = kept && matches!(failure, Failure::Unanswered(Unanswered::Closed));
                if stale && sent == 0 {
                    // It was given up before it was used, and the others are older.
                    upstream.close_idle();
                }
                match self.failed(attempts, failure, sent, seen) {
                    Tried::Again(why) if stale => Tried::Stale(why),
                    tried => tried,
                }
            }
        }
    }

    /// An upgraded connection goes on until both sides have closed it; the guard goes with it.
    async fn tunnel(
        &mut self,
        link: super::exchange::Link,
        in_flight: InFlight<Picked>,
        idle: Option<Duration>,
    ) -> Tried {
        if let Some((mut endpoint, mut read)) = link.into_parts() {
            self.worker.stats().tunnels.add(1);
            let control = Rc::clone(&self.client.registered.control);
            let client = (&mut self.client.stream, &mut self.client.buffer);
            let endpoint = (&mut endpoint, &mut read);
            let ended = tunnel::run(&self.worker, client, endpoint, &control, idle).await;
            self.worker.stats().tunnels.subtract(1);
            if ended == tunnel::Ended::Cut {
                in_flight.count_cut();
                self.worker.stats().cut.add(1);
                return Tried::Over(Next::Reset);
            }
        }
        Tried::Over(Next::Close)
    }

    /// What a failed attempt means: try again, tell the client, or break off.
    pub(super) fn failed(
        &mut self,
        attempts: &mut Attempts<'_>,
        failure: Failure,
        sent: u64,
        seen: Seen,
    ) -> Tried {
        let stats = self.worker.stats();
        match failure {
            Failure::Unanswered(why) => {
                stats.upstream_broken.add(1);
                let answer = match &why {
                    Unanswered::Closed => {
                        Answer::new(502, "the endpoint closed the connection without an answer")
                    }
                    Unanswered::Broken(_) => {
                        Answer::new(502, "the endpoint's answer is no valid response")
                    }
                    Unanswered::TimedOut => Answer::new(504, "the endpoint did not answer in time"),
                };
                if let Unanswered::Broken(why) = &why {
                    tracing::debug!(%why, "broken response");
                }
                if attempts.may_go_on(&why, sent) {
                    Tried::Again(answer)
                } else {
                    Tried::Failed(answer)
                }
            }
            Failure::Truncated => {
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
            Failure::Cut if sent == 0 => self.cut_unsent(),
            Failure::Cut => Tried::Failed(
                Answer::new(
                    503,
                    "the endpoint left before it answered; it may have acted on the request",
                )
                .retry_after(1),
            ),
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

    /// The request was cut and nothing of it was sent: another endpoint may be asked whatever the method is
    /// (Law 7), but where everything is ended by force.
    pub(super) fn cut_unsent(&self) -> Tried {
        if self.worker.shutdown() == Shutdown::Cut {
            let answer = Answer::new(503, "this load balancer is stopping").retry_after(1);
            return Tried::Failed(answer);
        }
        Tried::Again(Answer::new(503, "the endpoint was disabled").retry_after(1))
    }

    /// Ends an exchange whose client has seen a part of a response, so that it cannot take it for a whole
    /// one. One that has seen all of it loses only what it was still sending.
    fn break_off(&mut self, seen: Seen) -> Tried {
        match seen {
            Seen::Whole if self.state.request_is_open() => {
                Tried::Over(on(&mut self.state, Event::RequestBodyAbandoned))
            }
            Seen::Head => Tried::Over(on(&mut self.state, Event::ResponseCut)),
            Seen::Whole | Seen::Interim | Seen::Nothing => Tried::Over(Next::Reset),
        }
    }

    fn client_fault(&mut self, seen: Seen, answer: Answer) -> Tried {
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
