//! Follows a pod's life while it is held: a grace that is shortened in the middle, and evidence of why a
//! container is stopped that comes after its hook (Events are written behind the kubelet's back).

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{Caller, HoldKey, Parts};
use crate::model::grace::Allowance;

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

/// Shortens the hold whenever its pod is found to allow less.
pub(super) fn follow(parts: Parts, caller: Caller, key: HoldKey, given: Allowance) -> Following {
    Following(tokio::spawn(async move {
        let begin = Instant::now();
        let mut given = given;
        let mut changes = parts.cluster.changes();
        loop {
            let early = begin.elapsed() < LOOK_FOR;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(LOOK), if early => {}
            }
            let life = parts.cluster.life(&caller, &key.container).await;
            let allowance = life.allowance(parts.node_shutdown);
            if allowance.grace < given.grace || (allowance.restart && !given.restart) {
                given = allowance;
                parts.draining.shorten(key.clone(), allowance);
            }
        }
    }))
}
