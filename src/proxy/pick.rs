//! Picks an endpoint of a Backend and enters its gate; waits for one where all are full. Called for each attempt
//! at a request, for each TCP connection, and for copies of requests.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::balance::{By, Candidate};
use super::queue::{Denied, Turn};
use super::respond::Answer;
use super::upstream::{Era, Upstream};
use super::worker::{Limited, Pool, Shutdown, Worker};
use crate::gate::{Admission, Gate, InFlight};
use crate::model::ProxyVersion;

/// An endpoint that was picked, as its gate's guard holds it, and how it is told of the client and spoken to: as the
/// configuration said at that moment. Not to be cloned: it goes when the work has left the gate.
#[derive(Debug)]
pub(in crate::proxy) struct Picked(
    pub(in crate::proxy) Rc<Upstream>,
    pub(super) Option<ProxyVersion>,
    /// Whatever is connected for it is as new as this, or newer.
    pub(super) Era,
);

impl AsRef<Gate> for Picked {
    fn as_ref(&self) -> &Gate {
        self.0.as_ref().as_ref()
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.0.room.left();
    }
}

/// What an endpoint is picked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) pool: &'a Pool,
    /// The keys of endpoints that were asked in vain.
    pub(super) tried: &'a [u64],
    /// The request's key, where the Backend goes by it.
    pub(super) key: u64,
}

/// Why there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// None takes new work.
    NoEndpoint,
    /// All are full, and nothing waits, or so many wait as may.
    Full,
    /// All were full for as long as the request may wait.
    Late,
    /// The client has left while it waited.
    ClientGone,
    /// The process ends what is open by force.
    Stopping,
}

impl NoPlace {
    /// What the client is told.
    pub(super) fn answer(self) -> Answer {
        let why = match self {
            Self::NoEndpoint => "no endpoint of this backend takes new requests",
            Self::Full => "every endpoint of this backend has as many requests as it may have",
            Self::Late | Self::ClientGone => "no endpoint of this backend had room in time",
            Self::Stopping => "this load balancer is stopping",
        };
        Answer::new(503, why).retry_after(1)
    }
}

/// An endpoint that was entered, and its key.
pub(super) type Entered = (u64, InFlight<Picked>);

/// Picks an endpoint that was not tried and enters its gate: from here on the work is in flight there. What a gate
/// refuses is passed over. Nothing where others wait for a place: they come first.
pub(super) fn pick(wanted: Wanted<'_>, worker: &Worker) -> Option<Entered> {
    match &wanted.pool.limited {
        Some(limited) if limited.line.bells().waiting() > 0 => None,
        _ => enter(wanted, worker),
    }
}

fn enter(wanted: Wanted<'_>, worker: &Worker) -> Option<Entered> {
    let Wanted { pool, tried, key } = wanted;
    let mut refused: Vec<usize> = Vec::new();
    let by = By {
        rng: &worker.rng,
        key,
        now: &Instant::now,
    };
    loop {
        let passed_over = |at: usize| {
            (!tried.is_empty() && tried.contains(&pool.endpoints[at].key)) || refused.contains(&at)
        };
        let at = pool.balancer.pick(&pool.endpoints, passed_over, by)?;
        let upstream = Rc::clone(&pool.endpoints[at]);
        let key = upstream.key;
        let (tells, era) = (upstream.send_proxy(), upstream.era());
        match InFlight::enter(Picked(upstream, tells, era), &worker.slot, Admission::New) {
            Ok(in_flight) => return Some((key, in_flight)),
            Err(_) => refused.push(at),
        }
    }
}

/// An endpoint for what [`pick`] found none for, as soon as there is one: where there is a queue, until `deadline`
/// or as long as its Backend lets it wait. `gone` is ready once the client has left.
pub(super) async fn wait(
    wanted: Wanted<'_>,
    deadline: Option<Instant>,
    worker: &Worker,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Result<Entered, NoPlace> {
    let Some(limited) = &wanted.pool.limited else {
        return Err(NoPlace::NoEndpoint);
    };
    if !wanted.pool.has_open(wanted.tried) {
        return Err(NoPlace::NoEndpoint);
    }
    let counts = limited.counts.of(worker.slot.index());
    let Limited {
        queue: Some(queue),
        line,
        ..
    } = limited
    else {
        counts.refused.add(1);
        return Err(NoPlace::Full);
    };
    let since = Instant::now();
    let late = since + queue.wait;
    let turn = Turn {
        // The configuration may have changed while it waited: endpoints that are new may serve it.
        place: || {
            let view = worker.view();
            let pool = view.successor(wanted.pool);
            enter(Wanted { pool, ..wanted }, worker)
        },
        room: || worker.view().successor(wanted.pool).has_room(),
        left: |cx: &mut Context<'_>| {
            if worker.shutdown() == Shutdown::Cut {
                return Poll::Ready(NoPlace::Stopping);
            }
            gone(cx).map(|()| NoPlace::ClientGone)
        },
    };
    let until = deadline.map_or(late, |deadline| late.min(deadline));
    let waited = line.wait(queue.length, until, turn).await;
    if !matches!(waited, Err(Denied::Full)) {
        counts.waited.add(1);
        counts.waited_micros.add(micros(since.elapsed()));
    }
    waited.map_err(|denied| match denied {
        Denied::Left(why) => why,
        Denied::Full | Denied::Late => {
            counts.refused.add(1);
            match denied {
                Denied::Full => NoPlace::Full,
                _ => NoPlace::Late,
            }
        }
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Pool {
    /// Whether an endpoint that was not tried takes new work, full or not.
    fn has_open(&self, tried: &[u64]) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|one| one.weight() > 0 && one.is_open() && !tried.contains(&one.key))
    }

    /// Whether any endpoint takes one more.
    fn has_room(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|one| one.weight() > 0 && one.available())
    }
}
