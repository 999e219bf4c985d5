//! A tunnel: bytes both ways until both sides have closed, or one has broken off. In flight all the while.
//! Upgraded HTTP connections (`http1::driver`) and TCP connections (`tcp`) end up here.

mod way;

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::buffer::Buffer;
use super::pick::Picked;
use super::timer::Timer;
use super::worker::{Control, Worker};
use crate::gate::InFlight;
use way::Way;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Both sides closed.
    Closed,
    /// One side broke off; the other is closed with a reset, so that it can tell.
    Broken,
    /// Nothing was passed on for too long; both sides are closed with a reset.
    Idle,
    /// It was ended by force; both sides are closed with a reset.
    Cut,
}

/// One side of a tunnel.
pub(super) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The socket beneath.
    fn socket(&self) -> &TcpStream;

    /// The socket, where what is read and written is just what goes over it: such bytes may be spliced.
    fn plain(&self) -> Option<&TcpStream>;

    /// Makes the close that follows a reset.
    fn reset(&mut self) {
        reset_on_close(self.socket());
    }
}

impl Side for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// Moves bytes between a client and an endpoint. Both may have sent some already: those go first. Ends when
/// nothing was passed on for `idle`, either way.
///
/// Whatever does not end by both sides' own closing ends in a reset, and in nothing but a reset: on Linux
/// who has got a FIN reads a clean end, even where a reset follows, and would take a half for the whole.
pub(super) async fn run<C: Side, E: Side>(
    worker: &Worker,
    client: (&mut C, &mut Buffer),
    endpoint: (&mut E, &mut Buffer),
    control: &Control,
    idle: Option<Duration>,
) -> Ended {
    let (client, from_client) = client;
    let (endpoint, from_endpoint) = endpoint;
    let pipes = &worker.pipes;
    let (mut up, mut down) = (Way::new(from_client, pipes), Way::new(from_endpoint, pipes));
    let mut timer = Timer::default();
    let mut moved = Instant::now();
    let ended = poll_fn(|cx| {
        if control.cut.get() {
            return Poll::Ready(Ended::Cut);
        }
        let sent = up.poll(client, endpoint, cx);
        let received = down.poll(endpoint, client, cx);
        let (bytes_in, bytes_out) = (up.take_moved(), down.take_moved());
        if bytes_in + bytes_out > 0 {
            worker.stats().bytes_in.add(bytes_in);
            worker.stats().bytes_out.add(bytes_out);
            moved = Instant::now();
        }
        match (sent, received) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(Ended::Broken),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ended::Closed),
            _ => match idle {
                Some(idle) => timer.poll_until(moved + idle, cx).map(|()| Ended::Idle),
                None => Poll::Pending,
            },
        }
    })
    .await;
    if ended != Ended::Closed {
        client.reset();
        endpoint.reset();
    }
    ended
}

/// Has a tunnel count as one, and an order to cut reach it, while `passing` lasts. With that the endpoint's side is
/// closed, before the gate is left: who waits for the gate may stop it then.
pub(super) async fn counted(
    (worker, control): (&Worker, &Control),
    in_flight: InFlight<Picked>,
    passing: impl Future<Output = Ended>,
) -> Ended {
    // The request is over, and the order is to reach what it has become.
    control.upstream.set(in_flight.endpoint().0.key);
    worker.stats().tunnels.add(1);
    let ended = passing.await;
    worker.stats().tunnels.subtract(1);
    if ended == Ended::Cut {
        in_flight.count_cut();
        worker.stats().cut.add(1);
    }
    drop(in_flight);
    control.upstream.set(0);
    ended
}

/// Makes the close that follows a reset.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // Fails only where the socket is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
