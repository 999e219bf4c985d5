//! When what has changed is published: a burst becomes one change, and a pod that is being deleted waits for
//! nobody. Called by the source's task, which passes the time in.

use std::time::Duration;

use tokio::time::Instant;

use super::view::Urgency;

/// Published when nothing has changed for this long, so that a rollout's several objects are one change.
const SETTLED: Duration = Duration::from_millis(10);
/// What changes without pause is published all the same after this long.
const SETTLED_AT_LAST: Duration = Duration::from_millis(100);
/// A deletion gathers only what came in the same moment. The kubelet calls a hook some milliseconds after
/// the watch sees the deletion.
const AT_ONCE: Duration = Duration::from_millis(1);

/// A change that has not been published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unpublished {
    /// When it is to be published, if nothing more changes.
    pub due: Instant,
    /// It is published by then in any case.
    latest: Instant,
}

impl Unpublished {
    /// What is to be published, after one step of a watch.
    pub fn after(before: Option<Self>, urgency: Urgency, now: Instant) -> Option<Self> {
        let latest = before.map_or(now + SETTLED_AT_LAST, |before| before.latest);
        match urgency {
            Urgency::None => before,
            Urgency::Soon => Some(Self {
                due: latest.min(now + SETTLED),
                latest,
            }),
            Urgency::Now => Some(Self {
                due: latest.min(now + AT_ONCE),
                latest: latest.min(now + AT_ONCE),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it is published, in ms, after these steps at these times.
    fn due(steps: &[(u64, Urgency)]) -> Option<u128> {
        let start = Instant::now();
        let mut unpublished = None;
        for (at, urgency) in steps {
            let now = start + Duration::from_millis(*at);
            unpublished = Unpublished::after(unpublished, *urgency, now);
        }
        unpublished.map(|known| known.due.duration_since(start).as_millis())
    }

    #[test]
    fn a_burst_is_one_change_and_a_deletion_is_told_at_once() {
        use Urgency::{None as Nothing, Now, Soon};
        for (steps, wanted) in [
            (vec![(0, Nothing)], None),
            (vec![(0, Soon)], Some(10)),
            (vec![(0, Soon), (5, Soon)], Some(15)),
            (vec![(0, Soon), (5, Nothing)], Some(10)),
            (vec![(0, Soon), (95, Soon)], Some(100)),
            (vec![(0, Now)], Some(1)),
            (vec![(0, Soon), (5, Now)], Some(6)),
            // What comes after it cannot put it off.
            (vec![(0, Now), (0, Soon)], Some(1)),
            (vec![(0, Now), (1, Now)], Some(1)),
        ] {
            assert_eq!(due(&steps), wanted, "{steps:?}");
        }
    }
}
