//! The wait for a connection to an endpoint: bounded, and given up where the exchange is cut or nobody waits for
//! it any more.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Attempts, Tried, cut};
use crate::gate::InFlight;
use crate::proxy::pick::Picked;
use crate::proxy::respond::Answer;
use crate::proxy::worker::{Control, Worker};

/// No connection: nothing was sent (Law 7).
#[derive(Debug)]
pub(in crate::proxy) enum NotConnected {
    /// It was refused, failed, or took too long.
    Failed(Answer),
    /// There may be one, but the request cannot be said on it: that is told of the request, whoever is asked.
    Unsayable(Answer),
    /// It was cut.
    Cut,
    /// The client has given the request up.
    Gone,
}

impl NotConnected {
    /// What that means for the request; `gone` is what comes next where its client has left.
    pub(in crate::proxy) fn tried<T>(self, worker: &Worker, gone: impl FnOnce() -> T) -> Tried<T> {
        match self {
            Self::Failed(answer) => Tried::Again(answer),
            Self::Unsayable(answer) => {
                worker.stats().refused.add(1);
                Tried::Failed(answer)
            }
            Self::Cut => cut(worker, 0, true),
            Self::Gone => Tried::Over(gone()),
        }
    }
}

impl From<Answer> for NotConnected {
    fn from(answer: Answer) -> Self {
        Self::Failed(answer)
    }
}

/// Waits for `connecting`, no longer than the attempt may take; an error of its own is what the client is told.
/// `gone` is ready once the client has given the request up.
pub(in crate::proxy) async fn connected<T, E: Into<NotConnected>>(
    attempts: &Attempts<'_>,
    (worker, control): (&Worker, &Control),
    in_flight: &InFlight<Picked>,
    connecting: impl Future<Output = Result<T, E>>,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Result<T, NotConnected> {
    let left: Duration = attempts.connect_limit(Instant::now());
    let mut connecting = std::pin::pin!(tokio::time::timeout(left, connecting));
    let connected = poll_fn(|cx| {
        if control.cut.get() {
            in_flight.count_cut();
            worker.stats().cut.add(1);
            return Poll::Ready(Err(NotConnected::Cut));
        }
        if gone(cx).is_ready() {
            worker.stats().client_gone.add(1);
            return Poll::Ready(Err(NotConnected::Gone));
        }
        connecting.as_mut().poll(cx).map(|done| {
            let late = |_| Err(NotConnected::Failed(unreachable_within(504)));
            let made = done.map_or_else(late, |made| made.map_err(Into::into));
            if let Err(NotConnected::Failed(_)) = &made {
                worker.stats().upstream_connect_failures.add(1);
            }
            made
        })
    });
    connected.await
}

/// What is told of an endpoint to which no connection could be made.
pub(in crate::proxy) fn unreachable() -> Answer {
    unreachable_within(502)
}

fn unreachable_within(status: u16) -> Answer {
    Answer::new(status, "the endpoint cannot be reached").retry_after(1)
}
