//! An attempt of a client of HTTP/1 at an endpoint that speaks HTTP/2, or may: what it speaks in TLS is known only after
//! its handshake.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::super::{Event, RequestBody};
use super::attempt::Tried;
use super::attempts::Attempts;
use super::caller::{Body, Http1Caller};
use super::exchange::{Failure, Seen, Unanswered};
use super::{Connection, on};
use crate::gate::InFlight;
use crate::proxy::exchange::{self, Ended, Exchange, LinkFault, Outbound};
use crate::proxy::pick::Picked;
use crate::proxy::respond::Answer;

impl Connection {
    /// One attempt; `body` is the request's over all of them.
    pub(super) async fn attempt_mixed(
        &mut self,
        attempts: &mut Attempts<'_>,
        body: &mut Body,
        in_flight: InFlight<Picked>,
    ) -> Tried {
        if attempts.task.upgrade {
            // Its 101 would have to be made of a 200, and its key answered, by a proxy that speaks for neither.
            return Tried::Failed(Answer::new(
                501,
                "endpoints that speak HTTP/2 are asked for WebSockets by clients of HTTP/2 only",
            ));
        }
        body.rewind();
        let Picked(upstream, tells) = in_flight.endpoint().clone();
        let told = tells.map(|version| (version, self.client.addresses()));
        let head = std::mem::take(&mut self.client.forward.front);
        let outbound = Outbound {
            protocol: upstream.protocol(),
            head: &head,
            chunked: attempts.task.head.body == RequestBody::Chunked,
            upgrade: false,
        };
        let ends = body.is_ended();
        let limit = attempts.connect_limit(Instant::now());
        let worker = Rc::clone(&self.worker);
        let connected = {
            let connecting = exchange::connect(&worker, &upstream, &outbound, told, ends);
            let mut connecting = std::pin::pin!(tokio::time::timeout(limit, connecting));
            let control = self.client.control();
            poll_fn(|cx| {
                if control.cut.get() {
                    return Poll::Ready(None);
                }
                connecting.as_mut().poll(cx).map(Some)
            })
            .await
        };
        let tried = match connected {
            Some(Ok(Some(link))) => {
                let control = Rc::clone(&self.client.registered.control);
                let version = attempts.task.head.version;
                let mut timer = std::mem::take(&mut self.client.timer);
                let (client, state) = (&mut self.client, &mut self.state);
                let mut caller = Http1Caller::new(client, state, &worker, version, body);
                let mut exchange = Exchange::new(
                    (&mut caller, &mut timer),
                    (&worker, &control),
                    attempts.task,
                    (link, ends),
                    in_flight,
                    Instant::now(),
                );
                let ended = poll_fn(|cx| exchange.poll(cx)).await;
                let seen = caller.seen();
                self.client.timer = timer;
                self.mixed_end(attempts, body.can_rewind(), ended, seen)
            }
            None => {
                in_flight.count_cut();
                worker.stats().cut.add(1);
                self.cut_unsent()
            }
            Some(failed) => {
                worker.stats().upstream_connect_failures.add(1);
                let status = if failed.is_err() { 504 } else { 502 };
                Tried::Again(Answer::new(status, "the endpoint cannot be reached").retry_after(1))
            }
        };
        self.client.forward.front = head;
        tried
    }

    /// What the end of an attempt means.
    fn mixed_end(
        &mut self,
        attempts: &mut Attempts<'_>,
        can_rewind: bool,
        ended: Ended,
        seen: Seen,
    ) -> Tried {
        let sent = match ended {
            Ended::Unanswered(LinkFault::Unprocessed) if can_rewind => 0,
            _ => 1,
        };
        let failure = match ended {
            Ended::Finished | Ended::Switched => return Tried::Over(self.state.next()),
            Ended::Unanswered(LinkFault::Broken(why)) => {
                Failure::Unanswered(Unanswered::Broken(why))
            }
            Ended::Unanswered(_) => Failure::Unanswered(Unanswered::Closed),
            Ended::TimedOut => Failure::Unanswered(Unanswered::TimedOut),
            Ended::Truncated => Failure::Truncated,
            Ended::ClientGone => Failure::ClientGone,
            Ended::Malformed(fault) => Failure::Malformed(fault),
            Ended::TooLong => Failure::TooLong,
            Ended::BodyTimedOut => Failure::BodyTimedOut,
            Ended::Cut => Failure::Cut,
        };
        if seen == Seen::Nothing && !can_rewind && self.state.request_is_open() {
            on(&mut self.state, Event::RequestBodyAbandoned);
        }
        self.failed(attempts, failure, sent, seen)
    }
}
