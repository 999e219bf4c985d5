//! A WebSocket of a client that speaks HTTP/2, to an endpoint that speaks HTTP/1 (RFC 8441): the stream's two
//! bodies are the tunnel. In flight all the while.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::requester::Requester;
use crate::proxy::buffer::Buffer;
use crate::proxy::exchange::{Caller, Piece};
use crate::proxy::transport::Transport;
use crate::proxy::worker::Control;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Both sides closed.
    Closed,
    /// One side broke off.
    Broken,
    /// It was ended by force.
    Cut,
}

/// The client's way to the endpoint.
enum Up {
    Reading,
    /// So many bytes of it are written.
    Writing(Bytes, usize),
    Ending,
    Over,
}

/// Moves bytes both ways until both sides have closed, or one has broken off.
pub(super) async fn run(
    caller: &mut Requester,
    endpoint: (Transport, Buffer),
    control: &Control,
) -> Ended {
    let (mut endpoint, mut received) = endpoint;
    let (mut up, mut down_over) = (Up::Reading, false);
    let ended = poll_fn(|cx| {
        if control.cut.get() {
            return Poll::Ready(Ended::Cut);
        }
        let sent = poll_up(&mut up, caller, &mut endpoint, cx);
        let got = poll_down(&mut down_over, caller, &mut endpoint, &mut received, cx);
        match (sent, got) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(Ended::Broken),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ended::Closed),
            _ if caller.poll_gone(cx).is_ready() => Poll::Ready(Ended::Broken),
            _ => Poll::Pending,
        }
    })
    .await;
    if ended != Ended::Closed {
        endpoint.reset();
    }
    ended
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

fn poll_up(
    up: &mut Up,
    caller: &mut Requester,
    endpoint: &mut Transport,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        match up {
            Up::Reading => {
                let piece = ready!(caller.poll_piece(cx)).map_err(|_| gone())?;
                *up = if piece.is_last() && piece.data.is_empty() {
                    Up::Ending
                } else {
                    Up::Writing(piece.data, 0)
                };
            }
            Up::Writing(bytes, written) if *written == bytes.len() => {
                ready!(Pin::new(&mut *endpoint).poll_flush(cx))?;
                caller.passed_on(bytes.len());
                *up = Up::Reading;
            }
            Up::Writing(bytes, written) => {
                let count = ready!(Pin::new(&mut *endpoint).poll_write(cx, &bytes[*written..]))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                *written += count;
            }
            Up::Ending => {
                ready!(Pin::new(&mut *endpoint).poll_shutdown(cx))?;
                *up = Up::Over;
            }
            Up::Over => return Poll::Ready(Ok(())),
        }
    }
}

fn poll_down(
    over: &mut bool,
    caller: &mut Requester,
    endpoint: &mut Transport,
    received: &mut Buffer,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !*over {
        ready!(caller.poll_room(cx)).map_err(|_| gone())?;
        if received.is_empty() && ready!(received.poll_fill(endpoint, cx))? == 0 {
            *over = true;
            caller.send(Piece::END).map_err(|_| gone())?;
            break;
        }
        let data = Bytes::copy_from_slice(received.filled());
        received.consume(data.len());
        received.release_if_empty();
        caller.send(Piece::more(data)).map_err(|_| gone())?;
    }
    caller.poll_sent(cx).map_err(|_| gone())
}
