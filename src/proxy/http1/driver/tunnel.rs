//! What follows an upgrade of a client of HTTP/1: bytes both ways until both sides have closed. It may last for days,
//! so it is begun when the request's configuration is let go, and its connection's last part.

use std::rc::Rc;
use std::time::Duration;

use super::super::{Next, RequestBody};
use super::Connection;
use super::caller::{Body, Http1Caller};
use super::exchange::Link;
use crate::gate::InFlight;
use crate::proxy::exchange;
use crate::proxy::pick::Picked;
use crate::proxy::timer::Timer;
use crate::proxy::tunnel::{self, Ended};
use crate::proxy::worker::Worker;

/// The endpoint's side of a tunnel that has not begun yet.
pub(super) struct Opened {
    to: To,
    /// How long it may be idle.
    idle: Option<Duration>,
}

enum To {
    /// An endpoint that speaks HTTP/1: a connection, and the guard that goes with it.
    Connection(Link, InFlight<Picked>),
    /// One that may speak HTTP/2.
    Link(exchange::Opened),
}

impl Opened {
    /// Over a connection of HTTP/1.
    pub(super) fn over(
        link: Link,
        in_flight: InFlight<Picked>,
        idle: Option<Duration>,
    ) -> Box<Self> {
        let to = To::Connection(link, in_flight);
        Box::new(Self { to, idle })
    }

    /// Over a link of any kind.
    pub(super) fn over_link(opened: exchange::Opened, idle: Option<Duration>) -> Box<Self> {
        let to = To::Link(opened);
        Box::new(Self { to, idle })
    }
}

impl Connection {
    /// The tunnel that was opened, until it ends.
    pub(super) async fn tunnel(&mut self) -> Next {
        let Some(opened) = self.opened.take() else {
            return Next::Reset;
        };
        let Opened { to, idle } = *opened;
        let worker = Rc::clone(&self.worker);
        let ended = match to {
            To::Connection(link, in_flight) => self.pass_on(link, in_flight, idle, &worker).await,
            To::Link(opened) => {
                let control = Rc::clone(&self.client.registered.control);
                let mut body = Body::from(RequestBody::None);
                let (client, state) = (&mut self.client, &mut self.state);
                let mut caller = Http1Caller::of_tunnel(client, state, &worker, &mut body);
                let caller = (&mut caller, &mut Timer::default());
                exchange::tunnel(caller, (&worker, &control), opened, idle).await
            }
        };
        match ended {
            Ended::Closed => Next::Close,
            Ended::Broken | Ended::Idle | Ended::Cut => Next::Reset,
        }
    }

    async fn pass_on(
        &mut self,
        link: Link,
        in_flight: InFlight<Picked>,
        idle: Option<Duration>,
        worker: &Worker,
    ) -> Ended {
        let Some((mut endpoint, mut read)) = link.into_parts() else {
            return Ended::Broken;
        };
        let control = Rc::clone(&self.client.registered.control);
        let client = (&mut self.client.stream, &mut self.client.buffer);
        let of = &control;
        let passing =
            async move { tunnel::run(worker, client, (&mut endpoint, &mut read), of, idle).await };
        tunnel::counted((worker, &control), in_flight, passing).await
    }
}
