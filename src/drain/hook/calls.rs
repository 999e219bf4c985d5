//! The kubelet's calls under way. Calls of the same namespace, id and container are one hold: they come at least once
//! (PITFALLS 5), and from every pod where several share an id.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Parts, together};
use crate::drain::{ReleaseCause, Released};

/// What a call of the kubelet names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) namespace: String,
    pub(super) id: String,
    pub(super) container: String,
}

/// Why a call is answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Everything that it waited for was let go; in the order in which that was.
    Released(Vec<Released>),
    /// No pod has the id.
    NoPod,
    /// Several pods have it, and none of them is being stopped.
    NobodyStops,
    /// The API server did not say in time whom the call is for.
    Unknown,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Released(released) => {
                let worst = released
                    .iter()
                    .map(|one| one.cause)
                    .max_by_key(|cause| badness(*cause));
                let how = match worst {
                    None | Some(ReleaseCause::Drained) => "drained",
                    Some(ReleaseCause::Cut) => "cut by order",
                    Some(ReleaseCause::Deadline) => "deadline",
                };
                let cut: u64 = released.iter().map(|one| one.cut).sum();
                let held = released.iter().map(|one| one.held).max();
                let held = held.unwrap_or_default().as_secs_f64();
                write!(f, "{how} after {held:.3} s, {cut} requests cut")
            }
            Answer::NoPod => f.write_str("no pod has this id"),
            Answer::NobodyStops => f.write_str("no pod with this id is being stopped"),
            Answer::Unknown => f.write_str("no word from the API server on who has this id"),
        }
    }
}

fn badness(cause: ReleaseCause) -> u8 {
    match cause {
        ReleaseCause::Drained => 0,
        ReleaseCause::Cut => 1,
        ReleaseCause::Deadline => 2,
    }
}

/// All calls under way. Cheap to clone.
#[derive(Clone)]
pub struct Calls(Arc<Inner>);

struct Inner {
    by_call: Mutex<BTreeMap<Call, Arc<Together>>>,
    open: watch::Sender<usize>,
}

/// The calls of one namespace, id and container.
pub(super) struct Together {
    /// Grows with each call: each has to be looked up anew before it is answered.
    asked: watch::Sender<u64>,
    answer: watch::Sender<Option<Answer>>,
}

impl Together {
    /// How many have called so far.
    pub(super) fn asked(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// Nobody waits any more.
    pub(super) async fn left(&self) {
        self.answer.closed().await;
    }
}

/// A call that is not answered yet; its end is also that of its connection.
pub(super) struct Open(Calls);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.send_modify(|open| *open -= 1);
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self(Arc::new(Inner {
            by_call: Mutex::default(),
            open: watch::Sender::new(0),
        }))
    }
}

impl Calls {
    /// Counts a call until what is returned is dropped.
    pub(super) fn open(&self) -> Open {
        self.0.open.send_modify(|open| *open += 1);
        Open(self.clone())
    }

    /// Waits until no call is under way, for `limit` at most. Returns how many still are.
    pub async fn ended(&self, limit: Duration) -> usize {
        let mut open = self.0.open.subscribe();
        // The sender is here, so it is not gone.
        let _ = tokio::time::timeout(limit, open.wait_for(|open| *open == 0)).await;
        *self.0.open.borrow()
    }

    /// Waits for the end of the hold that the call asks for. Dropping this is what a kubelet that vanished looks like.
    pub(super) async fn join(&self, parts: &Parts, call: Call) -> Answer {
        let mut answer = self.one_of(parts, call);
        let answered = answer.wait_for(Option::is_some).await;
        let answered = answered.ok().and_then(|answer| answer.clone());
        match answered {
            Some(answer) => answer,
            // The process is going down: to answer would be to let go (Law 5).
            None => std::future::pending().await,
        }
    }

    fn one_of(&self, parts: &Parts, call: Call) -> watch::Receiver<Option<Answer>> {
        let mut by_call = self.lock();
        let together = by_call.entry(call.clone()).or_insert_with(|| {
            let together = Arc::new(Together {
                asked: watch::Sender::new(0),
                answer: watch::Sender::new(None),
            });
            let running = together::hold(parts.clone(), call, Arc::clone(&together));
            tokio::spawn(running);
            together
        });
        together.asked.send_modify(|asked| *asked += 1);
        together.answer.subscribe()
    }

    /// Answers all who have called, if no more than `asked` have; who calls later begins anew.
    pub(super) fn answer(
        &self,
        call: &Call,
        together: &Together,
        asked: u64,
        answer: Answer,
    ) -> bool {
        let mut by_call = self.lock();
        if *together.asked.borrow() != asked {
            return false;
        }
        by_call.remove(call);
        together.answer.send_replace(Some(answer));
        true
    }

    /// Forgets the call, if still nobody waits.
    pub(super) fn forget(&self, call: &Call, together: &Together) -> bool {
        let mut by_call = self.lock();
        let nobody = together.answer.receiver_count() == 0;
        if nobody {
            by_call.remove(call);
        }
        nobody
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Call, Arc<Together>>> {
        // Each change is whole in itself.
        self.0
            .by_call
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
