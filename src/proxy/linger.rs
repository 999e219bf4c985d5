//! The end of a connection whose client may still be sending: closing with unread input would reset it, and a
//! reset erases what the client has not read yet (PITFALLS 42).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::timer::Timer;
use super::transport::Transport;
use super::worker::{Shutdown, Worker};

/// How long a client may be silent, and how long it may go on sending, after our last response. Time alone
/// bounds it: many clients send an upload to its end before they read why it was refused.
pub(super) const LINGER_SILENCE: Duration = Duration::from_secs(5);
const LINGER_WHOLE: Duration = Duration::from_secs(30);

/// Closes our side, then reads and drops what still comes. In TLS the close waits for the client to take what is
/// before it.
pub(super) async fn linger(transport: &mut Transport, worker: &Worker) {
    let whole = Instant::now() + LINGER_WHOLE;
    let mut timer = Timer::default();
    let closed = poll_fn(|cx| {
        if let Poll::Ready(closed) = Pin::new(&mut *transport).poll_shutdown(cx) {
            return Poll::Ready(closed.is_ok());
        }
        if worker.shutdown() == Shutdown::Cut {
            return Poll::Ready(false);
        }
        timer.poll_until(whole, cx).map(|()| false)
    });
    if !closed.await {
        return;
    }
    let mut deadline = Instant::now() + LINGER_SILENCE;
    poll_fn(|cx| {
        let mut storage = [0; 4096];
        loop {
            if worker.shutdown() == Shutdown::Cut {
                return Poll::Ready(());
            }
            let mut read = ReadBuf::new(&mut storage);
            match Pin::new(&mut *transport).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    deadline = whole.min(Instant::now() + LINGER_SILENCE);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return timer.poll_until(deadline, cx),
            }
        }
    })
    .await;
}
