//! A tunnel: bytes both ways until both sides have closed, or one has broken off. In flight all the while.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::buffer::Buffer;
use super::transport::Transport;
use super::worker::Control;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Both sides closed.
    Closed,
    /// One side broke off; the other is closed with a reset, so that it can tell.
    Broken,
    /// It was ended by force.
    Cut,
}

/// One direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// The source has ended; what is left is written, then the sink's side is closed.
    Ending,
    Over,
}

/// Moves bytes between a client and an endpoint. Both may have sent more than the head of the switch:
/// that goes first.
pub(super) async fn run(
    client: (&mut Transport, &mut Buffer),
    endpoint: (Transport, Buffer),
    control: &Control,
) -> Ended {
    let (client, from_client) = client;
    let (mut endpoint, mut from_endpoint) = endpoint;
    let (mut up, mut down) = (Way::Open, Way::Open);
    let ended = poll_fn(|cx| {
        if control.cut.get() {
            return Poll::Ready(Ended::Cut);
        }
        let sent = poll_way(&mut up, client, from_client, &mut endpoint, cx);
        let received = poll_way(&mut down, &mut endpoint, &mut from_endpoint, client, cx);
        match (sent, received) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(Ended::Broken),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ended::Closed),
            _ => Poll::Pending,
        }
    })
    .await;
    if ended != Ended::Closed {
        client.reset();
        endpoint.reset();
    }
    ended
}

fn poll_way(
    way: &mut Way,
    source: &mut Transport,
    buffer: &mut Buffer,
    sink: &mut Transport,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while *way != Way::Over {
        while !buffer.is_empty() {
            let count = ready!(Pin::new(&mut *sink).poll_write(cx, buffer.filled()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.consume(count);
        }
        ready!(Pin::new(&mut *sink).poll_flush(cx))?;
        if *way == Way::Ending {
            ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
            *way = Way::Over;
        } else if ready!(buffer.poll_fill(source, cx))? == 0 {
            *way = Way::Ending;
        }
    }
    Poll::Ready(Ok(()))
}
