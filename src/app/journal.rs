//! What the coordinator reports, turned into log lines and numbers (Law 8).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::drain::{Entry, Journal, ReleaseCause, Released};
use crate::model::report::millis;
use crate::model::totals::DrainTotals;

/// The numbers of all drains and holds so far.
#[derive(Debug, Default)]
pub(super) struct DrainJournal(Mutex<DrainTotals>);

impl DrainJournal {
    /// The ear that the coordinator speaks to.
    pub(super) fn hears(journal: &Arc<Self>) -> Journal {
        let journal = Arc::clone(journal);
        Arc::new(move |entry| {
            write_down(entry);
            count(entry, &mut journal.lock());
        })
    }

    /// The numbers now.
    pub(super) fn totals(&self) -> DrainTotals {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, DrainTotals> {
        // Each change is whole in itself: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_down(entry: &Entry) {
    match entry {
        Entry::DrainStarted {
            id,
            reason,
            in_flight,
        } => {
            tracing::info!(endpoint = %id, reason, in_flight, "drain started");
        }
        Entry::DrainCompleted { id, took, cut } => {
            tracing::info!(endpoint = %id, took_ms = millis(*took), cut, "drain completed");
        }
        Entry::DrainTimedOut { id, in_flight } => {
            tracing::warn!(endpoint = %id, in_flight, "drain timed out: cutting what is in flight");
        }
        Entry::BackInService { id } => tracing::info!(endpoint = %id, "back in service"),
        Entry::HoldStarted {
            key,
            endpoints,
            in_flight,
        } => {
            tracing::info!(
                key = key.id,
                endpoints = endpoints.len(),
                in_flight,
                "hold started"
            );
        }
        Entry::Released { key, released } => log_release(&key.id, released),
        Entry::CameBack { key } => {
            tracing::info!(key = key.id, container = key.container, "runs anew");
        }
        Entry::HoldUnheard { key } => {
            tracing::info!(key = key.id, "asked again: its end was heard by nobody");
        }
        Entry::HoldWithdrawn { key } => {
            tracing::warn!(
                key = key.id,
                "hold withdrawn: its caller vanished and its server is not leaving"
            );
        }
    }
}

fn log_release(key: &str, released: &Released) {
    let held_ms = millis(released.held);
    // A wider number would be a text in JSON.
    let since_last_byte_us =
        u64::try_from(released.since_last_byte.as_micros()).unwrap_or(u64::MAX);
    let cut = released.cut;
    match released.cause {
        ReleaseCause::Drained => tracing::info!(key, held_ms, since_last_byte_us, cut, "released"),
        ReleaseCause::Cut => {
            tracing::warn!(key, held_ms, cut, "released: draining is off, work was cut");
        }
        ReleaseCause::Deadline => tracing::warn!(key, held_ms, cut, "released at the deadline"),
    }
}

fn count(entry: &Entry, totals: &mut DrainTotals) {
    match entry {
        Entry::DrainCompleted { took, .. } => totals.drained(*took),
        Entry::HoldStarted { .. } => totals.holds += 1,
        Entry::HoldUnheard { .. } => totals.holds = totals.holds.saturating_sub(1),
        Entry::HoldWithdrawn { .. } => {
            totals.holds = totals.holds.saturating_sub(1);
            totals.abandoned += 1;
        }
        Entry::Released { released, .. } => {
            totals.holds = totals.holds.saturating_sub(1);
            match released.cause {
                ReleaseCause::Drained => {
                    let waited = !released.since_last_byte.is_zero();
                    totals.released_after_last_byte(waited.then_some(released.since_last_byte));
                }
                ReleaseCause::Deadline => totals.released_deadline += 1,
                ReleaseCause::Cut => totals.released_cut += 1,
            }
        }
        Entry::DrainStarted { .. }
        | Entry::DrainTimedOut { .. }
        | Entry::BackInService { .. }
        | Entry::CameBack { .. } => {}
    }
}
