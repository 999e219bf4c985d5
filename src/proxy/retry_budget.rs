//! How many of the requests to a Backend may be sent again: a budget that all workers draw on, without a lock.
//!
//! As Finagle's and Gateway API's (GEP-3388): of the last `interval` so many in a hundred requests, and so many a
//! second besides. Each worker notes its own requests and retries, by tenths of the interval, on cache lines of its
//! own; only who wants to retry adds all of them up. Two workers that do so at the same moment may both take what
//! is left, so that a budget is overdrawn by one retry for each worker but the first, at most.
//!
//! Only what was sent and is sent again counts: a request of which nothing was sent can always be tried elsewhere
//! (Law 7). Kept over configurations by `backends`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::backends::Counts;
use crate::model::RetryBudget;

/// The interval is counted in so many parts: what lies further back than it falls out one part at a time.
const PARTS: u64 = 10;
/// A power of two that all of them fit into.
const RING: usize = 16;
/// The lower bits of a part count, those above name the part.
const COUNT_BITS: u32 = 40;

/// One budget, for the whole process.
#[derive(Debug)]
pub struct Budget {
    figures: RetryBudget,
    /// Parts are counted from here.
    epoch: Instant,
    /// How long a part lasts, in nanoseconds.
    part: u64,
    workers: Box<[CachePadded<Noted>]>,
}

/// What one worker has noted.
#[derive(Debug, Default)]
struct Noted {
    requests: Window,
    retries: Window,
}

/// A count for each of the last parts; written by one worker, read by all.
#[derive(Debug, Default)]
struct Window([AtomicU64; RING]);

impl Window {
    fn add(&self, part: u64) {
        let place = &self.0[place(part)];
        let known = place.load(Relaxed);
        let begun = tag(part);
        let count = if known & !COUNTS == begun {
            known & COUNTS
        } else {
            0
        };
        place.store(begun | (count + 1), Relaxed);
    }

    /// Of this part and those before it that count.
    fn sum(&self, part: u64) -> u64 {
        let of = |part: u64| {
            let known = self.0[place(part)].load(Relaxed);
            if known & !COUNTS == tag(part) {
                known & COUNTS
            } else {
                0
            }
        };
        (part.saturating_sub(PARTS - 1)..=part).map(of).sum()
    }
}

const COUNTS: u64 = (1 << COUNT_BITS) - 1;

fn tag(part: u64) -> u64 {
    part << COUNT_BITS
}

fn place(part: u64) -> usize {
    usize::try_from(part % RING as u64).unwrap_or(0)
}

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(figures: RetryBudget, workers: usize, now: Instant) -> Self {
        let interval = u64::try_from(figures.interval.as_nanos()).unwrap_or(u64::MAX);
        Self {
            figures,
            epoch: now,
            part: (interval / PARTS).max(1),
            workers: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// How much of the requests it is for.
    pub fn figures(&self) -> &RetryBudget {
        &self.figures
    }

    /// Notes a request of this worker, whatever becomes of it.
    pub fn note(&self, worker: usize, now: Instant) {
        self.workers[worker].requests.add(self.part_at(now));
    }

    /// Takes a retry out, for this worker; false where none is left.
    pub fn take(&self, worker: usize, now: Instant) -> bool {
        let part = self.part_at(now);
        let sum = |of: fn(&Noted) -> &Window| -> u64 {
            self.workers.iter().map(|noted| of(noted).sum(part)).sum()
        };
        let left = sum(|noted| &noted.retries) < self.allows(sum(|noted| &noted.requests));
        if left {
            self.workers[worker].retries.add(part);
        }
        left
    }

    /// How many retries so many requests allow.
    fn allows(&self, requests: u64) -> u64 {
        let RetryBudget {
            percent,
            min_per_second,
            interval,
        } = self.figures;
        let always = u128::from(min_per_second) * interval.as_millis() / 1000;
        let share = requests.saturating_mul(percent.into()) / 100;
        share.saturating_add(u64::try_from(always).unwrap_or(u64::MAX))
    }

    fn part_at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX) / self.part
    }
}

/// A budget as one worker draws on it.
#[derive(Debug)]
pub struct Drawn {
    budget: Arc<Budget>,
    counts: Arc<Counts>,
    worker: usize,
}

impl Drawn {
    /// The budget, by this worker; what it refuses is counted there.
    pub fn new(budget: Arc<Budget>, counts: Arc<Counts>, worker: usize) -> Rc<Self> {
        Rc::new(Self {
            budget,
            counts,
            worker,
        })
    }

    /// How much of the requests it is for.
    pub fn figures(&self) -> &RetryBudget {
        self.budget.figures()
    }

    /// Notes a request.
    pub fn note(&self, now: Instant) {
        self.budget.note(self.worker, now);
    }

    /// Takes a retry out; false where none is left.
    pub fn take(&self, now: Instant) -> bool {
        let taken = self.budget.take(self.worker, now);
        if !taken {
            self.counts.of(self.worker).retries_denied.add(1);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn budget(percent: u32, min_per_second: u32, seconds: u64) -> (Budget, Instant) {
        let start = Instant::now();
        let figures = RetryBudget {
            percent,
            min_per_second,
            interval: Duration::from_secs(seconds),
        };
        (Budget::new(figures, 2, start), start)
    }

    /// How many retries come through at one moment.
    fn taken(budget: &Budget, now: Instant) -> usize {
        (0..100_000)
            .take_while(|nth| budget.take(nth % 2, now))
            .count()
    }

    #[test]
    fn so_many_in_a_hundred_and_so_many_a_second_besides() {
        for (percent, min, seconds, requests, expected) in [
            (20, 0, 10, 1000, 200),
            (20, 0, 10, 4, 0),
            (20, 10, 10, 0, 100),
            (20, 10, 10, 1000, 300),
            (0, 0, 10, 1000, 0),
            (100, 0, 1, 7, 7),
        ] {
            let (budget, start) = budget(percent, min, seconds);
            for nth in 0..requests {
                budget.note(nth % 2, start);
            }
            assert_eq!(
                taken(&budget, start),
                expected,
                "{percent} {min} {seconds} {requests}"
            );
        }
    }

    #[test]
    fn what_lies_further_back_than_the_interval_counts_no_more() {
        let (budget, start) = budget(50, 0, 10);
        let at = |seconds| start + Duration::from_secs(seconds);
        (0..100).for_each(|_| budget.note(0, at(100)));
        assert_eq!(taken(&budget, at(109)), 50);
        assert_eq!(taken(&budget, at(109)), 0);
        // The requests are forgotten, and so allow nothing; the retries a while later.
        assert_eq!(taken(&budget, at(110)), 0);
        (0..100).for_each(|_| budget.note(1, at(112)));
        assert_eq!(taken(&budget, at(112)), 0);
        assert_eq!(taken(&budget, at(119)), 50);
        // A pause of any length, also one after which a place in the ring is the same again.
        for pause in [16, 160, 16_000] {
            (0..10).for_each(|_| budget.note(0, at(200 + pause)));
            assert_eq!(taken(&budget, at(200 + pause)), 5, "{pause}");
        }
    }

    proptest! {
        /// Whenever it is asked, of the last interval no more was taken than it allows.
        #[test]
        fn no_interval_has_more_than_its_share(
            percent in 0..100_u32,
            min in 0..5_u32,
            steps in proptest::collection::vec((0..2000_u64, 0..30_u32, 0..10_u32, 0..2_usize), 1..60),
        ) {
            let (budget, start) = budget(percent, min, 10);
            let mut now = start;
            let mut log = Vec::new();
            for (wait, requests, retries, worker) in steps {
                now += Duration::from_millis(wait);
                (0..requests).for_each(|_| budget.note(worker, now));
                let got = (0..retries).filter(|_| budget.take(worker, now)).count();
                log.push((now, requests, u64::try_from(got).unwrap()));
                // What is counted reaches back nine to ten tenths of the interval.
                let sum = |back: u64, of: fn(&(Instant, u32, u64)) -> u64| -> u64 {
                    let recent = log.iter().filter(|entry| now - entry.0 < Duration::from_secs(back));
                    recent.map(of).sum()
                };
                if got > 0 {
                    let allowed = sum(10, |e| e.1.into()) * u64::from(percent) / 100 + u64::from(min) * 10;
                    prop_assert!(sum(9, |e| e.2) <= allowed);
                }
            }
        }
    }
}
