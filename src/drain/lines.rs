//! What a holder hears, line by line: the coordinator's updates, with a heartbeat where nothing happens.
//! Used by the hook server and by the admin API.

use std::time::Duration;

use futures_util::{Stream, stream};
use lastcall_hold::wire::{Cause, HoldLine};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Interval};

use super::ndjson::{self, Unfinished};
use super::{HoldUpdate, ReleaseCause, Released};
use crate::model::report::millis;

struct Lines {
    updates: UnboundedReceiver<HoldUpdate>,
    heartbeat: Interval,
    deadline: Instant,
    over: bool,
}

/// The updates of a hold as the lines that a holder hears, to the last one.
pub(crate) fn of(
    updates: UnboundedReceiver<HoldUpdate>,
) -> impl Stream<Item = Result<HoldLine, Unfinished>> + Send {
    let start = Lines {
        updates,
        heartbeat: ndjson::heartbeats(),
        deadline: Instant::now(),
        over: false,
    };
    stream::unfold(start, |mut lines| async move {
        if lines.over {
            return None;
        }
        let line = lines.next().await;
        lines.over = !matches!(
            line,
            Ok(HoldLine::Holding { .. } | HoldLine::Heartbeat { .. })
        );
        Some((line, lines))
    })
}

impl Lines {
    async fn next(&mut self) -> Result<HoldLine, Unfinished> {
        tokio::select! {
            biased;
            update = self.updates.recv() => {
                let latest = self.latest(update.ok_or(Unfinished)?);
                Ok(self.line(latest))
            }
            _ = self.heartbeat.tick() => Ok(HoldLine::Heartbeat {
                remaining_millis: millis(self.deadline.saturating_duration_since(Instant::now())),
            }),
        }
    }

    /// A slow reader gets the newest of the numbers that wait for it, not all of them.
    fn latest(&mut self, mut update: HoldUpdate) -> HoldUpdate {
        while let HoldUpdate::Holding { .. } = update
            && let Ok(newer) = self.updates.try_recv()
        {
            update = newer;
        }
        update
    }

    fn line(&mut self, update: HoldUpdate) -> HoldLine {
        match update {
            HoldUpdate::Holding {
                remaining,
                in_flight,
                endpoints,
            } => {
                let now = Instant::now();
                self.deadline = now.checked_add(remaining).unwrap_or(now);
                self.heartbeat.reset();
                HoldLine::Holding {
                    remaining_millis: millis(remaining),
                    in_flight,
                    endpoints: endpoints.iter().map(ToString::to_string).collect(),
                }
            }
            HoldUpdate::Released(released) => released_line(&released),
        }
    }
}

fn released_line(released: &Released) -> HoldLine {
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    HoldLine::Released {
        cause: match released.cause {
            ReleaseCause::Drained => Cause::Drained,
            ReleaseCause::Deadline => Cause::Deadline,
            ReleaseCause::Cut => Cause::Cut,
        },
        held_millis: millis(released.held),
        since_last_byte_millis: millis(released.since_last_byte),
        cut: released.cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use tokio::sync::mpsc;

    fn holding(in_flight: u64) -> HoldUpdate {
        HoldUpdate::Holding {
            remaining: Duration::from_mins(1),
            in_flight,
            endpoints: Vec::new(),
        }
    }

    fn released() -> HoldUpdate {
        HoldUpdate::Released(Released {
            cause: ReleaseCause::Drained,
            held: Duration::from_millis(1500),
            since_last_byte: Duration::from_micros(250),
            cut: 0,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_hold_says_that_it_lives_and_what_is_left() {
        let (updates, receiver) = mpsc::unbounded_channel();
        let mut lines = Box::pin(of(receiver));
        updates.send(holding(2)).unwrap();
        assert!(matches!(
            lines.next().await,
            Some(Ok(HoldLine::Holding { in_flight: 2, .. }))
        ));
        // Time is paused: it moves on only because nothing else is left to do.
        let beat = lines.next().await.unwrap().unwrap();
        assert_eq!(
            beat,
            HoldLine::Heartbeat {
                remaining_millis: 57_000
            }
        );
        updates.send(released()).unwrap();
        assert!(matches!(
            lines.next().await,
            Some(Ok(HoldLine::Released { cut: 0, .. }))
        ));
        assert!(lines.next().await.is_none());
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_number_and_the_release() {
        let (updates, receiver) = mpsc::unbounded_channel();
        for in_flight in (0..100).rev() {
            updates.send(holding(in_flight)).unwrap();
        }
        let mut lines = Box::pin(of(receiver));
        assert!(matches!(
            lines.next().await,
            Some(Ok(HoldLine::Holding { in_flight: 0, .. }))
        ));
        updates.send(holding(5)).unwrap();
        updates.send(released()).unwrap();
        assert!(matches!(
            lines.next().await,
            Some(Ok(HoldLine::Released { .. }))
        ));
    }

    #[tokio::test]
    async fn a_coordinator_that_ends_is_no_release() {
        let (updates, receiver) = mpsc::unbounded_channel();
        updates.send(holding(1)).unwrap();
        drop(updates);
        let mut lines = Box::pin(of(receiver));
        assert!(lines.next().await.unwrap().is_ok());
        assert!(
            lines.next().await.unwrap().is_err(),
            "the stream ended as if all were well"
        );
        assert!(lines.next().await.is_none());
    }
}
