//! Follows a pod's life while it is held: a grace that is shortened in the middle, and evidence of why a
//! container is stopped that comes after its hook (Events are written behind the kubelet's back).
//!
//! A change is read off what was heard anyway: a thousand pods that are held while the cluster is busy must not ask
//! the API server at every change. It is asked only as long as evidence may still come.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Caller, HoldKey, Parts};
use crate::model::grace::PodLife;

/// How often evidence is looked for that the hook may have been ahead of, and how long.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_FOR: Duration = Duration::from_secs(15);

/// Ends what follows with the answer that it belongs to.
pub(super) struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Shortens the hold whenever its pod is found to allow less. `life`: what the hold was given by.
pub(super) fn follow(parts: Parts, caller: Caller, key: HoldKey, mut life: PodLife) -> Following {
    Following(tokio::spawn(async move {
        let begin = Instant::now();
        let mut given = life.allowance(parts.node_shutdown);
        let mut changes = parts.cluster.changes();
        // Not a sleep: changes that come more often must not put it off.
        let mut look = interval_at(begin + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let unexplained = life.deletion.is_none() && life.evidence.is_none();
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if let Some(heard) = parts.cluster.last_heard(&caller) {
                        let evidence = life.evidence;
                        life = PodLife { evidence, ..heard };
                    }
                }
                _ = look.tick(), if unexplained && begin.elapsed() < LOOK_FOR => {
                    life = parts.cluster.life(&caller, &key.container).await;
                }
            }
            let allowance = life.allowance(parts.node_shutdown);
            if allowance.grace < given.grace || (allowance.restart && !given.restart) {
                given = allowance;
                parts.draining.shorten(key.clone(), allowance);
            }
        }
    }))
}
