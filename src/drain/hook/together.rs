//! One hold of `HTTPGet` mode: looks up whose it is, holds each of these pods, and answers when all of them were let go.
//! Begun by [`super::calls`] with the first call of its key, ends with its answer or when nobody waits any more.
//!
//! Each pod is held by its UID, as in exec mode: how it comes back (Law 6), what shortens its hold and what is told of
//! it is the same.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Parts;
use super::calls::{Answer, Call, Together};
use super::judge::{Doubt, Found, MOMENT, Named, Verdict, longest};
use crate::drain::{HoldUpdate, Released};

/// Between two looks while nobody knows whom a call is for.
const AGAIN: Duration = Duration::from_millis(500);

/// Holds until somebody answers or nobody waits. What panics is begun again: a hold goes on.
pub(super) async fn hold(parts: Parts, call: Call, together: Arc<Together>) {
    loop {
        let holding = Holding::new(&parts, &call, &together).run();
        if AssertUnwindSafe(holding).catch_unwind().await.is_ok() {
            return;
        }
        tracing::error!(
            id = call.id,
            "a panic within a hold: it is in the log; holding on"
        );
        sleep(AGAIN).await;
    }
}

/// A look at the cluster, and how many had called when it began.
type Look<'a> = BoxFuture<'a, (u64, Found)>;

struct Holding<'a> {
    parts: &'a Parts,
    call: &'a Call,
    together: &'a Together,
    asked: watch::Receiver<u64>,
    changes: watch::Receiver<u64>,
    /// How many had called when the last look began: those are answered by it.
    looked: u64,
    /// When it began, and when it ended.
    called_at: Instant,
    looked_at: Instant,
    found: Found,
    /// What was begun to be held, by UID.
    begun: BTreeSet<Arc<str>>,
    held: FuturesUnordered<BoxFuture<'a, Released>>,
    released: Vec<Released>,
    /// How long it may not be known whom the call is for, where that is so.
    limit: Option<(Doubt, Duration)>,
}

impl<'a> Holding<'a> {
    fn new(parts: &'a Parts, call: &'a Call, together: &'a Together) -> Self {
        Self {
            parts,
            call,
            together,
            asked: together.asked(),
            changes: parts.cluster.changes(),
            looked: 0,
            called_at: Instant::now(),
            looked_at: Instant::now(),
            found: Found::default(),
            begun: BTreeSet::new(),
            held: FuturesUnordered::new(),
            released: Vec::new(),
            limit: None,
        }
    }

    async fn run(mut self) {
        let mut look = Some(self.look());
        let mut changing = true;
        loop {
            if look.is_none() && self.is_answered().await {
                return;
            }
            let again = self.looked_at + AGAIN;
            let doubtful = matches!(self.found.verdict(), Verdict::Doubt(_));
            tokio::select! {
                biased;
                Some(released) = self.held.next() => self.released.push(released),
                (asked, found) = looked(&mut look) => {
                    look = None;
                    if self.looked < asked {
                        self.looked = asked;
                        self.limit = None;
                    }
                    self.looked_at = Instant::now();
                    self.found.live = found.live;
                    self.take(found.pods);
                }
                () = self.together.left() => if self.parts.calls.forget(self.call, self.together) {
                    return;
                },
                // Who calls now may be a pod that had not been told to stop when it was looked for. A look that is
                // under way is not begun again: where many share an id they call faster than one can look.
                _ = self.asked.changed(), if look.is_none() => look = Some(self.look()),
                () = sleep_until(again), if doubtful && look.is_none() => look = Some(self.look()),
                // Not before the first look: what is watched may lag behind.
                changed = self.changes.changed(), if changing && self.looked > 0 => {
                    // It ends only with the process.
                    changing = changed.is_ok();
                    let seen = self.parts.cluster.named_as_seen(&self.call.namespace, &self.call.id);
                    self.take(seen);
                }
            }
        }
    }

    fn look(&mut self) -> Look<'a> {
        let asked = *self.asked.borrow_and_update();
        if self.looked < asked {
            self.called_at = Instant::now();
        }
        let (parts, call) = (self.parts, self.call);
        Box::pin(async move {
            let named = parts.cluster.named(&call.namespace, &call.id).await;
            (asked, named)
        })
    }

    /// What is known now: whoever is to be held and is not yet, is.
    fn take(&mut self, pods: Vec<Named>) {
        self.found.add(pods);
        for pod in self.found.held() {
            if self.begun.insert(Arc::clone(&pod.pod.uid)) {
                let held = held(self.parts, pod.clone(), self.call.container.clone());
                self.held.push(Box::pin(held));
            }
        }
    }

    /// Answers where there is nothing left to wait for.
    async fn is_answered(&mut self) -> bool {
        if !self.held.is_empty() {
            return false;
        }
        let answer = match self.found.verdict() {
            Verdict::Wait => Answer::Released(self.released.clone()),
            Verdict::NoPod => Answer::NoPod,
            Verdict::Doubt(doubt) => match self.doubted(doubt).await {
                Some(answer) => answer,
                None => return false,
            },
        };
        let calls = &self.parts.calls;
        let (call, asked) = (self.call, self.looked);
        if !calls.answer(call, self.together, asked, answer.clone()) {
            return false;
        }
        let (namespace, id, container) = (&call.namespace, &call.id, &call.container);
        if let Answer::Released(_) = answer {
            tracing::debug!(namespace, id, container, %answer, "preStop call answered");
        } else {
            tracing::warn!(namespace, id, container, %answer, "preStop call answered without a drain");
        }
        true
    }

    /// What ends a doubt: its time.
    async fn doubted(&mut self, doubt: Doubt) -> Option<Answer> {
        let limit = match self.limit {
            Some((same, limit)) if same == doubt => limit,
            _ => self.limit_of(doubt).await,
        };
        self.limit = Some((doubt, limit));
        if self.called_at.elapsed() < limit {
            return None;
        }
        Some(match doubt {
            _ if !self.released.is_empty() => Answer::Released(self.released.clone()),
            Doubt::NobodyStops => Answer::NobodyStops,
            Doubt::Unseen => Answer::Unknown,
        })
    }

    async fn limit_of(&mut self, doubt: Doubt) -> Duration {
        match doubt {
            Doubt::NobodyStops => MOMENT,
            Doubt::Unseen => {
                let (cluster, container) = (&self.parts.cluster, &self.call.container);
                let pods = self.found.pods.iter();
                let lives = pods.map(|named| cluster.life(&named.pod, container));
                longest(&join_all(lives).await, self.parts.node_shutdown)
            }
        }
    }
}

async fn looked(look: &mut Option<Look<'_>>) -> (u64, Found) {
    match look {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

/// Holds one pod to its release. Where the coordinator has ended there is none: the process is going down, and to
/// answer would be to let go (Law 5).
async fn held(parts: &Parts, pod: Named, container: String) -> Released {
    let Named { pod, terminating } = pod;
    if let Ok((mut updates, _following)) = super::begin(parts, pod, container, !terminating).await {
        while let Some(update) = updates.recv().await {
            if let HoldUpdate::Released(released) = update {
                return released;
            }
        }
    }
    std::future::pending().await
}
