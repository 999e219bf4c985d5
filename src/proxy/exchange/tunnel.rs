//! What follows a `WebSocket`'s opening, where a side of it is a stream of HTTP/2: bytes both ways until both
//! sides have closed, or one has broken off. In flight all the while. (Between two sockets it is
//! `proxy::tunnel`.)

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::{Caller, Exchange, Link};
use crate::gate::InFlight;
use crate::proxy::pick::Picked;
use crate::proxy::timer::Timer;
use crate::proxy::tunnel::{Ended, counted};
use crate::proxy::worker::{Control, Worker};

/// How far one of the two ways is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// More is awaited.
    Reading,
    /// A piece is on its way out. `last`: its side has closed.
    Sending { last: bool },
    /// It was closed, and the other side knows.
    Over,
}

/// One side broke off.
struct Broken;

/// A tunnel between a client and an endpoint.
struct Tunnel<'t, C> {
    caller: &'t mut C,
    link: &'t mut Link,
    up: Way,
    down: Way,
    bytes_in: u64,
    bytes_out: u64,
}

impl<C: Caller> Exchange<'_, C> {
    /// What a tunnel needs of the exchange that has opened it; `None` where it has not.
    pub(in crate::proxy) fn into_tunnel(self) -> Option<Opened> {
        Some((self.link?, self.in_flight?))
    }
}

/// The endpoint's side of a tunnel, and what counts it as in flight there.
pub(in crate::proxy) type Opened = (Link, InFlight<Picked>);

/// Passes bytes on, behind a switch, until the tunnel ends. Whatever does not end by both sides' own closing is for
/// the caller to end in a way that cannot be taken for an end; the endpoint's side is. Needs nothing of the
/// configuration that the request came under: it may last for days.
pub(in crate::proxy) async fn tunnel<C: Caller>(
    (caller, timer): (&mut C, &mut Timer),
    (worker, control): (&Worker, &Control),
    (mut link, in_flight): Opened,
    idle: Option<Duration>,
) -> Ended {
    let passing = async move {
        let ended = pass_on((caller, timer), (worker, control), &mut link, idle).await;
        if ended != Ended::Closed {
            link.reset();
        }
        ended
    };
    counted((worker, control), in_flight, passing).await
}

async fn pass_on<C: Caller>(
    (caller, timer): (&mut C, &mut Timer),
    (worker, control): (&Worker, &Control),
    link: &mut Link,
    idle: Option<Duration>,
) -> Ended {
    let stats = worker.stats();
    let mut tunnel = Tunnel {
        caller,
        link,
        up: Way::Reading,
        down: Way::Reading,
        bytes_in: 0,
        bytes_out: 0,
    };
    let mut moved = Instant::now();
    let ended = poll_fn(|cx| {
        if control.cut.get() {
            return Poll::Ready(Ended::Cut);
        }
        if let Poll::Ready(ended) = tunnel.poll(cx) {
            return Poll::Ready(ended);
        }
        let (bytes_in, bytes_out) = tunnel.take_moved();
        if bytes_in + bytes_out > 0 {
            stats.bytes_in.add(bytes_in);
            stats.bytes_out.add(bytes_out);
            moved = Instant::now();
        }
        match idle {
            Some(idle) => timer.poll_until(moved + idle, cx).map(|()| Ended::Idle),
            None => Poll::Pending,
        }
    })
    .await;
    let (bytes_in, bytes_out) = tunnel.take_moved();
    stats.bytes_in.add(bytes_in);
    stats.bytes_out.add(bytes_out);
    ended
}

impl<C: Caller> Tunnel<'_, C> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let (up, down) = (self.poll_up(cx), self.poll_down(cx));
        match (up, down) {
            (Poll::Ready(Err(Broken)), _) | (_, Poll::Ready(Err(Broken))) => {
                Poll::Ready(Ended::Broken)
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ended::Closed),
            _ => self.caller.poll_gone(cx).map(|()| Ended::Broken),
        }
    }

    /// The bytes that were passed on each way since the last call.
    fn take_moved(&mut self) -> (u64, u64) {
        let taken = (self.bytes_in, self.bytes_out);
        (self.bytes_in, self.bytes_out) = (0, 0);
        taken
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            match self.up {
                Way::Reading => {
                    let piece = ready!(self.caller.poll_piece(cx)).map_err(|_| Broken)?;
                    self.bytes_in += piece.data.len() as u64;
                    self.up = Way::Sending {
                        last: piece.is_last(),
                    };
                    self.link.put(piece);
                }
                Way::Sending { last } => {
                    let count = ready!(self.link.poll_flush(cx)).map_err(|_| Broken)?;
                    self.caller.passed_on(count);
                    self.up = if last { Way::Over } else { Way::Reading };
                }
                Way::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            match self.down {
                Way::Reading => {
                    ready!(self.caller.poll_room(cx)).map_err(|_| Broken)?;
                    let Poll::Ready(piece) = self.link.poll_piece(cx) else {
                        // What waits for more, such as the head, goes out without it.
                        ready!(self.caller.poll_sent(cx)).map_err(|_| Broken)?;
                        return Poll::Pending;
                    };
                    let piece = piece.map_err(|_| Broken)?;
                    self.bytes_out += piece.data.len() as u64;
                    if piece.is_last() {
                        self.down = Way::Sending { last: true };
                    }
                    self.caller.send(piece).map_err(|_| Broken)?;
                }
                Way::Sending { .. } => {
                    ready!(self.caller.poll_sent(cx)).map_err(|_| Broken)?;
                    self.down = Way::Over;
                }
                Way::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}
