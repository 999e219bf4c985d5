//! Any endpoint, by weight.
//!
//! Of m requests an endpoint with the share p gets m·p, give or take a few times sqrt(m·p·(1−p)), the standard
//! deviation of the binomial distribution.

use super::draw::draw;
use crate::proxy::rng::Rng;

/// The weights, summed up.
#[derive(Debug)]
pub struct Random {
    /// Of each endpoint and all before it; none where all weigh the same.
    sums: Box<[u64]>,
    weights: Box<[u32]>,
}

impl Random {
    /// Endpoints of these weights.
    pub fn over(weights: &[u32]) -> Self {
        let even = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let sums = weights.iter().scan(0, |sum, weight| {
            *sum += u64::from(*weight);
            Some(*sum)
        });
        Self {
            sums: if even { Box::default() } else { sums.collect() },
            weights: weights.into(),
        }
    }

    pub(super) fn pick(
        &self,
        count: usize,
        eligible: impl Fn(usize) -> bool,
        share: impl Fn(usize) -> u32,
        rng: &Rng,
    ) -> Option<usize> {
        let any = |rng: &Rng| match self.sums.last() {
            None => rng.below(count),
            Some(total) => {
                let at = rng.below(usize::try_from(*total).unwrap_or(usize::MAX)) as u64;
                self.sums.partition_point(|sum| *sum <= at)
            }
        };
        draw(count, eligible, |at| self.weights[at], share, any, rng)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::rng::Rng;

    /// How often each is drawn of `all`.
    fn counts(
        weights: &[u32],
        eligible: impl Fn(usize) -> bool,
        share: impl Fn(usize) -> u32,
        all: u32,
        seed: u64,
    ) -> Vec<u32> {
        let rng = Rng::new(seed);
        let random = Random::over(weights);
        let mut counts = vec![0; weights.len()];
        for _ in 0..all {
            if let Some(at) = random.pick(weights.len(), &eligible, &share, &rng) {
                counts[at] += 1;
            }
        }
        counts
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_eligible() {
        assert_eq!(counts(&[1, 2], |_| false, |_| 1000, 10, 1), [0, 0]);
        assert_eq!(counts(&[], |_| true, |_| 1000, 10, 1), [0; 0]);
        assert_eq!(
            counts(&[5, 1, 1], |at| at == 2, |_| 1000, 10, 1),
            [0, 0, 10]
        );
    }

    proptest! {
        /// Within six standard deviations, which one in 500 million counts is not.
        #[test]
        fn each_gets_its_share(
            endpoints in proptest::collection::vec((1..50_u32, prop::bool::weighted(0.6), 100..=1000_u32), 1..12),
            seed: u64,
        ) {
            const ALL: u32 = 5000;
            let weights: Vec<u32> = endpoints.iter().map(|e| e.0).collect();
            let found = counts(&weights, |at| endpoints[at].1, |at| endpoints[at].2, ALL, seed);
            let worth = |e: &(u32, bool, u32)| if e.1 { f64::from(e.0) * f64::from(e.2) } else { 0.0 };
            let total: f64 = endpoints.iter().map(worth).sum();
            for (endpoint, count) in endpoints.iter().zip(found) {
                let share = if total > 0.0 { worth(endpoint) / total } else { 0.0 };
                let mean = f64::from(ALL) * share;
                let deviation = (mean * (1.0 - share)).sqrt();
                let off = (f64::from(count) - mean).abs();
                prop_assert!(off <= 6.0 * deviation + 1e-6, "{count}, mean {mean}");
            }
        }
    }
}
