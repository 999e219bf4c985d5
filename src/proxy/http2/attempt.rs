//! One attempt at one request of a client that speaks HTTP/2: from a connection to what the exchange on it comes
//! to.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Context;
use std::time::Instant;

use h2::Reason;

use super::stream::Stream;
use crate::gate::InFlight;
use crate::proxy::attempts::{Attempts, Ended, Failure, Tried, Unanswered, connected, cut};
use crate::proxy::exchange::{self, Caller, Exchange, Linked, Outbound};
use crate::proxy::grpc::{self, Messages};
use crate::proxy::pick::Picked;
use crate::proxy::respond::Answer;
use crate::proxy::tunnel;

/// What is known of an attempt that failed.
struct Failed {
    failure: Failure,
    /// Bytes of the request that may have reached the endpoint.
    sent: u64,
    /// It was made on a connection that was there before.
    kept: bool,
    messages: Option<Messages>,
}

impl Stream {
    /// One attempt at the request.
    pub(super) async fn attempt(
        &mut self,
        outbound: &Outbound<'_>,
        attempts: &mut Attempts<'_>,
        in_flight: InFlight<Picked>,
    ) -> Tried<()> {
        self.caller.rewind();
        match self.connect(outbound, attempts, &in_flight).await {
            Ok(link) => self.exchange(outbound, attempts, link, in_flight).await,
            Err(tried) => tried,
        }
    }

    /// A connection with the request's head on it.
    async fn connect(
        &mut self,
        outbound: &Outbound<'_>,
        attempts: &Attempts<'_>,
        in_flight: &InFlight<Picked>,
    ) -> Result<Linked, Tried<()>> {
        let worker = &*self.client.worker;
        let Picked(upstream, tells, _) = in_flight.endpoint();
        let told = tells.map(|version| (version, self.client.addresses));
        // The stream of a WebSocket goes on behind its opening.
        let ends = self.caller.is_ended() && !outbound.upgrade;
        if attempts.may_reuse()
            && let Some(reused) = exchange::reuse(worker, upstream, outbound, told, ends)
        {
            return Ok(reused);
        }
        let connecting = exchange::connect(worker, upstream, outbound, told, ends);
        let by = (worker, &*self.exchanging.control);
        let caller = &mut self.caller;
        let gone = |cx: &mut Context<'_>| caller.poll_gone(cx);
        // On the heap while it lasts: a request that finds a connection is to carry nothing of it.
        let connected = Box::pin(connected(attempts, by, in_flight, connecting, gone)).await;
        connected.map_err(|failed| failed.tried(worker, || self.client.count_given_up()))
    }

    async fn exchange(
        &mut self,
        outbound: &Outbound<'_>,
        attempts: &mut Attempts<'_>,
        (link, kept): Linked,
        in_flight: InFlight<Picked>,
    ) -> Tried<()> {
        let upstream = Rc::clone(&in_flight.endpoint().0);
        let client = Rc::clone(&self.client);
        let control = Rc::clone(&self.exchanging.control);
        let ends = self.caller.is_ended() || outbound.upgrade;
        let mut exchange = Exchange::new(
            (&mut self.caller, &mut self.timer),
            (&client.worker, &control),
            attempts.task,
            (link, ends),
            in_flight,
            Instant::now(),
        );
        exchange.messages = self.grpc.then(Messages::default);
        let failure = match poll_fn(|cx| exchange.poll(cx)).await {
            Ended::Finished => return Tried::Over(()),
            Ended::Switched => {
                let idle = attempts.task.timeouts.tunnel_idle;
                let opened = exchange.into_tunnel();
                self.opened = opened.map(|opened| Box::new((opened, idle)));
                return Tried::Over(());
            }
            Ended::Failed(failure) => failure,
        };
        let (sent, messages) = (exchange.sent(), exchange.messages);
        drop(exchange);
        let closed = matches!(failure, Failure::Unanswered(Unanswered::Closed));
        if kept && closed && sent == 0 {
            // It was given up before it was used, and the others are older.
            upstream.close_idle();
        }
        let failed = Failed {
            failure,
            sent,
            kept,
            messages,
        };
        self.failed(attempts, failed)
    }

    /// The tunnel that an attempt has opened, where one has, until it ends.
    pub(super) async fn tunnel(&mut self) {
        let Some(opened) = self.opened.take() else {
            return;
        };
        let (opened, idle) = *opened;
        let by = (&*self.client.worker, &*self.exchanging.control);
        let caller = (&mut self.caller, &mut self.timer);
        if exchange::tunnel(caller, by, opened, idle).await != tunnel::Ended::Closed {
            self.caller.reset(Reason::CANCEL);
        }
    }

    /// What a failed attempt means: try again, tell the client, or break off.
    fn failed(&mut self, attempts: &mut Attempts<'_>, failed: Failed) -> Tried<()> {
        let worker = Rc::clone(&self.client.worker);
        let stats = worker.stats();
        let replayable = self.caller.can_rewind();
        let deadline = attempts.task.deadline;
        match failed.failure {
            Failure::Unanswered(why) => {
                stats.upstream_broken.add(1);
                let why = if self.grpc {
                    why.of_call(deadline, Instant::now())
                } else {
                    why
                };
                if let Unanswered::Broken(why) = &why {
                    tracing::debug!(%why, "broken response");
                }
                attempts.unanswered(&why, failed.sent, failed.kept, replayable)
            }
            Failure::Truncated(how) => {
                stats.upstream_broken.add(1);
                let status = how.of_call(deadline, Instant::now());
                self.break_off(failed.messages, (status, "the response broke off"))
            }
            Failure::ClientGone => {
                stats.client_gone.add(1);
                if !self.caller.has_begun() {
                    self.client.count_given_up();
                }
                self.caller.reset(Reason::CANCEL);
                Tried::Over(())
            }
            Failure::Cut if self.caller.has_begun() => {
                self.break_off(failed.messages, (grpc::UNAVAILABLE, "the endpoint left"))
            }
            Failure::Cut => cut(&worker, failed.sent, replayable),
            Failure::Malformed(fault) => self.fault(Answer::new(fault.status(), fault.detail())),
            Failure::TooLong => self.fault(Answer::new(413, "the body is longer than allowed")),
            Failure::BodyTimedOut => self.fault(Answer::new(408, "the body took too long")),
        }
    }

    /// Ends a response that has begun, so that nobody takes it for a whole one: gRPC between two messages by a
    /// status, all else by a reset.
    fn break_off(&mut self, messages: Option<Messages>, (status, why): (u16, &str)) -> Tried<()> {
        let between = messages.is_some_and(|messages| messages.at_boundary());
        if !between || self.caller.end(grpc::trailers(status, why)).is_err() {
            self.caller.reset(Reason::INTERNAL_ERROR);
        }
        Tried::Over(())
    }

    fn fault(&mut self, answer: Answer) -> Tried<()> {
        self.client.worker.stats().refused.add(1);
        if self.caller.has_begun() {
            self.caller.reset(Reason::INTERNAL_ERROR);
            return Tried::Over(());
        }
        Tried::Failed(answer)
    }
}
