//! An attempt of a client of HTTP/1 at an endpoint that speaks HTTP/2, or may: what it speaks in TLS is known only after
//! its handshake.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::super::{Next, RequestBody};
use super::Connection;
use super::caller::{Body, Http1Caller};
use super::exchange::Seen;
use super::tunnel::Opened;
use crate::gate::InFlight;
use crate::proxy::attempts::{Attempts, Ended, Failure, Task, Tried, connected};
use crate::proxy::exchange::{self, Exchange, Link, Linked, Outbound};
use crate::proxy::pick::Picked;

impl Connection {
    /// One attempt; `body` is the request's over all of them.
    pub(super) async fn attempt_mixed(
        &mut self,
        attempts: &mut Attempts<'_>,
        body: &mut Body,
        in_flight: InFlight<Picked>,
    ) -> Tried<Next> {
        body.rewind();
        let head = std::mem::take(&mut self.client.forward.front);
        let reached = self.reach(attempts, body, &head, &in_flight).await;
        self.client.forward.front = head;
        let (link, kept) = match reached {
            Ok(linked) => linked,
            Err(tried) => return tried,
        };
        match self
            .exchange_mixed(attempts.task, body, link, in_flight)
            .await
        {
            Ok(next) => Tried::Over(next),
            Err((failure, seen)) => {
                // Some of it may have been acted on, but where the endpoint itself says that none was.
                let what = (1, kept, body.can_rewind());
                self.failed(attempts, failure, what, seen)
            }
        }
    }

    /// The exchange; what comes next, a tunnel perhaps, or what went wrong and what the client has
    /// seen of it.
    async fn exchange_mixed(
        &mut self,
        task: Task<'_>,
        body: &mut Body,
        link: Link,
        in_flight: InFlight<Picked>,
    ) -> Result<Next, (Failure, Seen)> {
        let worker = Rc::clone(&self.worker);
        let control = Rc::clone(&self.client.registered.control);
        // The exchange borrows it beside the rest of the connection.
        let mut timer = std::mem::take(&mut self.client.timer);
        let ends = body.is_ended() || task.upgrade;
        let (client, state) = (&mut self.client, &mut self.state);
        let mut caller = Http1Caller::new(client, state, &worker, task.head.version, body);
        let mut exchange = Exchange::new(
            (&mut caller, &mut timer),
            (&worker, &control),
            task,
            (link, ends),
            in_flight,
            Instant::now(),
        );
        let ended = match poll_fn(|cx| exchange.poll(cx)).await {
            Ended::Finished => Ok(None),
            Ended::Switched => Ok(exchange.into_tunnel()),
            Ended::Failed(failure) => {
                drop(exchange);
                Err((failure, caller.seen()))
            }
        };
        self.client.timer = timer;
        if let Some(opened) = ended? {
            self.opened = Some(Opened::over_link(opened, task.timeouts.tunnel_idle));
        }
        Ok(self.state.next())
    }

    /// A connection to the endpoint, or a stream on one, with the request's head on it.
    async fn reach(
        &mut self,
        attempts: &Attempts<'_>,
        body: &Body,
        head: &[u8],
        in_flight: &InFlight<Picked>,
    ) -> Result<Linked, Tried<Next>> {
        let Picked(upstream, tells, _) = in_flight.endpoint();
        let told = tells.map(|version| (version, self.client.addresses()));
        let outbound = Outbound {
            protocol: upstream.protocol(),
            head,
            chunked: attempts.task.head.body == RequestBody::Chunked,
            upgrade: attempts.task.upgrade,
        };
        // The stream of a WebSocket goes on behind its opening.
        let ends = body.is_ended() && !attempts.task.upgrade;
        let connecting = exchange::connect(&self.worker, upstream, &outbound, told, ends);
        let by = (&*self.worker, self.client.control());
        let connected = connected(attempts, by, in_flight, connecting, |_| Poll::Pending).await;
        connected.map_err(|failed| failed.tried(&self.worker, || Next::Close))
    }
}
