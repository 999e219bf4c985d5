//! The gate: how many requests an endpoint has in flight, and whether it takes more.
//!
//! One gate stands before each endpoint. Its count is one counter a worker, on a cache line of its
//! own and written by that worker only, so that entering costs no contended instruction. Its phase
//! is one word: a state and a generation that grows at each change.
//!
//! The two properties everything else leans on, checked with loom (`tests/loom`):
//!
//! - *Closed and sum 0 implies woken*: when the last request of a gate that is not open leaves, the
//!   coordinator is woken, or has itself seen the zero.
//! - *Nothing enters after a confirmed zero*: once [`Gate::confirms_drained`] has said yes for a
//!   generation, no request enters until the gate is opened again (Law 2).
//!
//! Both follow from the same pattern, a store, a `SeqCst` fence and a load of the other side's word
//! on each side (Dekker's, as in C++ `[atomics.order]`): a worker writes its counter and reads the
//! phase, the closer writes the phase and reads the counters; at least one sees the other.
//!
//! Used by `proxy` (enter and leave) and by `drain` (open and close).

mod counter;
mod in_flight;
mod phase;
mod sync;

pub use counter::{WorkerSlot, WorkerTicket, worker_tickets};
pub use in_flight::{Admission, InFlight};
pub use phase::{Generation, Phase, State};

use counter::Counters;
use phase::PhaseWord;
use sync::{Ordering, fence};

use std::sync::Arc;

/// Who is told that a gate which is not open may have become empty.
///
/// Called on a worker's thread, on the request path: it must neither block nor call back into the gate.
pub trait Wake: Send + Sync {
    /// The count of one worker fell to zero while the gate was in `generation`.
    fn emptied(&self, generation: Generation);
}

/// The gate of one endpoint. See the module's text for what it promises.
pub struct Gate {
    phase: PhaseWord,
    counters: Counters,
    wake: Arc<dyn Wake>,
}

impl Gate {
    /// A gate for `workers` workers, in generation 1 and in the given state.
    pub fn new(workers: usize, state: State, wake: Arc<dyn Wake>) -> Self {
        Self {
            phase: PhaseWord::new(state),
            counters: Counters::new(workers),
            wake,
        }
    }

    /// The state and the generation as they are now.
    pub fn phase(&self) -> Phase {
        self.phase.load(Ordering::Acquire)
    }

    /// Requests in flight, over all workers. Exact only where [`Gate::confirms_drained`] is.
    pub fn in_flight(&self) -> u64 {
        self.counters.sum()
    }

    /// Requests let in since the gate was made.
    pub fn entered(&self) -> u64 {
        self.counters.entered()
    }

    /// Requests ended by force since the gate was made.
    pub fn cut(&self) -> u64 {
        self.counters.cut()
    }

    /// Moves the gate to `state` and returns the new phase; the generation grows even where the state
    /// stays, so that a zero seen before this call confirms nothing after it.
    ///
    /// One owner calls this (the drain coordinator, Law 9); two at once would not corrupt the gate,
    /// but neither could trust the generation it got.
    pub fn change(&self, state: State) -> Phase {
        let phase = self.phase.advance(state);
        fence(Ordering::SeqCst);
        phase
    }

    /// True if the gate is closed, still in `generation`, and nothing is in flight: final until the
    /// next [`Gate::change`]. A zero of an older generation or of `SessionsOnly` confirms nothing.
    pub fn confirms_drained(&self, generation: Generation) -> bool {
        let expected = Phase {
            state: State::Closed,
            generation,
        };
        if self.phase() != expected {
            return false;
        }
        // Orders the phase we read before the counters we sum, also for a caller that did not close
        // the gate itself.
        fence(Ordering::SeqCst);
        self.counters.sum() == 0 && self.phase() == expected
    }

    /// Counts one request in and looks at the phase; a request that is not admitted is counted out
    /// again by the same path as any other that leaves.
    pub(crate) fn enter(&self, worker: &WorkerSlot, admission: Admission) -> bool {
        self.counters.add(worker);
        fence(Ordering::SeqCst);
        if self.phase.load(Ordering::Relaxed).state.admits(admission) {
            self.counters.count_entered(worker);
            return true;
        }
        self.leave(worker);
        false
    }

    /// Counts one request out, and wakes the coordinator where that may have been the last.
    ///
    /// Without the fence the load below could be satisfied before the store of the counter is seen by
    /// others: the closer reads 1, we read Open, nobody wakes, and a hold runs to its deadline.
    pub(crate) fn leave(&self, worker: &WorkerSlot) {
        let left = self.counters.subtract(worker);
        fence(Ordering::SeqCst);
        let phase = self.phase.load(Ordering::Relaxed);
        if phase.state != State::Open && left == 0 {
            self.wake.emptied(phase.generation);
        }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("phase", &self.phase())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
