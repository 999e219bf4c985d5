//! A histogram of durations with fixed buckets, as a plain value. Its owner observes, the metrics read a
//! copy.

use std::time::Duration;

/// Upper bounds for how long drains take, seconds: from a request that was just ending to the longest
/// timeout that can be configured.
pub const DRAIN_SECONDS: &[f64] = &[
    0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
];

/// Upper bounds for the time from the last byte to the release, seconds.
pub const RELEASE_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];

/// Counts of durations by bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: the last is for what is over all of them.
    counts: Vec<u64>,
    sum: Duration,
}

impl Histogram {
    /// An empty histogram; `bounds` are seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: Duration::ZERO,
        }
    }

    /// Counts one duration in.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[at] += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// Each bound with the number of durations up to and including it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds
            .iter()
            .zip(&self.counts)
            .scan(0, |sum, (bound, count)| {
                *sum += count;
                Some((*bound, *sum))
            })
    }

    /// How many durations were observed.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_every_bucket_that_holds_it() {
        let mut histogram = Histogram::new(&[0.001, 0.01]);
        for millis in [1, 2, 11] {
            histogram.observe(Duration::from_millis(millis));
        }
        // 1 ms is on the bound: bounds are inclusive (Prometheus' `le`).
        let buckets: Vec<_> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(buckets, [1, 2]);
        assert_eq!(histogram.count(), 3);
        assert_eq!(histogram.sum(), Duration::from_millis(14));
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [DRAIN_SECONDS, RELEASE_SECONDS] {
            assert!(bounds.is_sorted());
        }
    }
}
