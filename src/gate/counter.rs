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

pub(super) struct Counters(Box<[CachePadded<AtomicU64>]>);

impl Counters {
    pub(super) fn new(workers: usize) -> Self {
        Self(
            (0..workers)
                .map(|_| CachePadded::new(AtomicU64::new(0)))
                .collect(),
        )
    }

    /// A plain load and store: nobody else writes this counter.
    pub(super) fn add(&self, worker: &WorkerSlot) {
        let counter = &self.0[worker.index];
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Returns what is left in this worker's counter. `Release`, so that who reads the zero also sees
    /// everything the request did.
    pub(super) fn subtract(&self, worker: &WorkerSlot) -> u64 {
        let counter = &self.0[worker.index];
        let left = counter.load(Ordering::Relaxed) - 1;
        counter.store(left, Ordering::Release);
        left
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|c| c.load(Ordering::Acquire)).sum()
    }
}
