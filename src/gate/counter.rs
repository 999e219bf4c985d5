//! One in-flight counter a worker, each on its own cache line and written by its worker only.

use std::marker::PhantomData;

use crossbeam_utils::CachePadded;

use super::sync::{AtomicU64, Ordering};

/// The right to become one worker: made once for each by [`worker_tickets`], sent to its thread, and
/// turned there into the [`WorkerSlot`] that cannot leave it.
#[derive(Debug)]
pub struct WorkerTicket {
    index: usize,
}

/// Tickets for `count` workers, one for each counter of a gate with as many workers.
pub fn worker_tickets(count: usize) -> Vec<WorkerTicket> {
    (0..count).map(|index| WorkerTicket { index }).collect()
}

impl WorkerTicket {
    /// Binds the ticket to the calling thread.
    pub fn claim(self) -> WorkerSlot {
        WorkerSlot {
            index: self.index,
            not_send: PhantomData,
        }
    }

    /// Which worker this is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Which counter the current thread writes. Neither `Send` nor `Clone`: a counter has one writer.
#[derive(Debug)]
pub struct WorkerSlot {
    index: usize,
    not_send: PhantomData<*const ()>,
}

impl WorkerSlot {
    /// Which worker this is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// What one worker counts of one endpoint.
struct Cell {
    in_flight: AtomicU64,
    /// Requests let in, and requests ended by force: figures for people, which no decision reads, and
    /// so always the standard library's atomics.
    entered: std::sync::atomic::AtomicU64,
    cut: std::sync::atomic::AtomicU64,
}

pub(super) struct Counters(Box<[CachePadded<Cell>]>);

impl Counters {
    pub(super) fn new(workers: usize) -> Self {
        let cell = |_| {
            CachePadded::new(Cell {
                in_flight: AtomicU64::new(0),
                entered: std::sync::atomic::AtomicU64::new(0),
                cut: std::sync::atomic::AtomicU64::new(0),
            })
        };
        Self((0..workers).map(cell).collect())
    }

    /// A plain load and store: nobody else writes this counter.
    pub(super) fn add(&self, worker: &WorkerSlot) {
        let counter = &self.0[worker.index].in_flight;
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Returns what is left in this worker's counter. `Release`, so that who reads the zero also sees
    /// everything the request did.
    pub(super) fn subtract(&self, worker: &WorkerSlot) -> u64 {
        let counter = &self.0[worker.index].in_flight;
        let left = counter.load(Ordering::Relaxed) - 1;
        counter.store(left, Ordering::Release);
        left
    }

    pub(super) fn sum(&self) -> u64 {
        self.0
            .iter()
            .map(|c| c.in_flight.load(Ordering::Acquire))
            .sum()
    }

    pub(super) fn count_entered(&self, worker: &WorkerSlot) {
        bump(&self.0[worker.index].entered);
    }

    pub(super) fn count_cut(&self, worker: &WorkerSlot) {
        bump(&self.0[worker.index].cut);
    }

    pub(super) fn entered(&self) -> u64 {
        use std::sync::atomic::Ordering::Relaxed;
        self.0.iter().map(|c| c.entered.load(Relaxed)).sum()
    }

    pub(super) fn cut(&self) -> u64 {
        use std::sync::atomic::Ordering::Relaxed;
        self.0.iter().map(|c| c.cut.load(Relaxed)).sum()
    }
}

/// One more, by the only writer.
fn bump(counter: &std::sync::atomic::AtomicU64) {
    use std::sync::atomic::Ordering::Relaxed;
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}
