//! The less busy of two random choices, by live in-flight over weight (Mitzenmacher: The Power of Two
//! Choices in Randomized Load Balancing, 2001).
//!
//! With requests that take equally long the busiest of n endpoints has no more than ln ln n / ln 2 + O(1) above
//! the mean, however many requests there are (Berenbrink, Czumaj, Steger, Vöcking: Balanced Allocations: The
//! Heavily Loaded Case, 2000); placed at random it would have some sqrt(2 · mean · ln n) above it.

use super::draw::draw;
use super::slow_start::WHOLE;
use super::{Candidate, whole};
use crate::proxy::rng::Rng;

/// Needs no state: what is in flight is the gate's count.
#[derive(Debug)]
pub struct LeastRequest;

impl LeastRequest {
    /// An endpoint that is new takes part in as many of the choices as its share says; being idle it wins nearly
    /// all of them, so it gets up to twice that share of the requests, and no more.
    // A method, so that the balancers are called alike.
    #[allow(clippy::unused_self)]
    pub(super) fn pick<C: Candidate>(
        &self,
        endpoints: &[C],
        eligible: impl Fn(usize) -> bool,
        share: impl Fn(usize) -> u32,
        rng: &Rng,
    ) -> Option<usize> {
        let count = endpoints.len();
        let any = |rng: &Rng| rng.below(count);
        let toss = rng.next();
        let takes_part = |at: usize| {
            eligible(at) && {
                let share = share(at);
                // The same for both draws.
                share >= WHOLE || Rng::new(toss ^ at as u64).below(WHOLE as usize) < share as usize
            }
        };
        let Some(one) = draw(count, takes_part, |_| 1, whole, any, rng) else {
            return draw(count, eligible, |_| 1, share, any, rng);
        };
        let other = |at: usize| at != one && takes_part(at);
        let Some(two) = draw(count, other, |_| 1, whole, any, rng) else {
            return Some(one);
        };
        Some(if busier(&endpoints[one], &endpoints[two]) {
            two
        } else {
            one
        })
    }
}

/// Whether `one` has more in flight for its weight than `two`; the request itself counts.
fn busier<C: Candidate>(one: &C, two: &C) -> bool {
    let load = |c: &C, other: &C| u128::from(c.in_flight() + 1) * u128::from(other.weight());
    load(one, two) > load(two, one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::rng::Rng;

    struct Fixed(u32, u64);
    impl Candidate for Fixed {
        fn weight(&self) -> u32 {
            self.0
        }
        fn available(&self) -> bool {
            true
        }
        fn in_flight(&self) -> u64 {
            self.1
        }
    }

    fn pick(endpoints: &[Fixed], eligible: impl Fn(usize) -> bool, rng: &Rng) -> Option<usize> {
        LeastRequest.pick(endpoints, eligible, whole, rng)
    }

    #[test]
    fn of_two_the_less_busy_is_chosen() {
        let rng = Rng::new(1);
        let endpoints = [Fixed(1, 10), Fixed(1, 2)];
        for _ in 0..100 {
            assert_eq!(pick(&endpoints, |_| true, &rng), Some(1));
        }
        // A weight of 10 may have ten times as much.
        let endpoints = [Fixed(10, 10), Fixed(1, 2)];
        assert_eq!(pick(&endpoints, |_| true, &rng), Some(0));
    }

    #[test]
    fn the_only_eligible_one_is_found() {
        let rng = Rng::new(1);
        let endpoints: Vec<_> = (0..50).map(|_| Fixed(1, 0)).collect();
        for _ in 0..100 {
            assert_eq!(pick(&endpoints, |at| at == 37, &rng), Some(37));
        }
        assert_eq!(pick(&endpoints, |_| false, &rng), None);
        assert_eq!(pick(&[] as &[Fixed], |_| true, &rng), None);
    }

    proptest! {
        /// The bound of the module's text with 5 for its O(1); of 100 requests for each endpoint.
        #[test]
        fn load_spreads_far_better_than_at_random(count in 2..40_u32, seed: u64) {
            let rng = Rng::new(seed);
            let mut endpoints: Vec<_> = (0..count).map(|_| Fixed(1, 0)).collect();
            for _ in 0..count * 100 {
                let at = pick(&endpoints, |_| true, &rng).unwrap();
                endpoints[at].1 += 1;
            }
            let most = endpoints.iter().map(|e| e.1).max().unwrap();
            let above = f64::from(u32::try_from(most).unwrap()) - 100.0;
            let bound = f64::from(count).ln().max(1.0).ln() / 2.0_f64.ln() + 5.0;
            prop_assert!(above <= bound, "{above} above the mean with {count}");
        }

        /// Of idle endpoints one that is new gets at most twice its share of the requests.
        #[test]
        fn one_that_is_new_gets_at_most_twice_its_share(count in 2..20_u32, share in 100..1000_u32, seed: u64) {
            let rng = Rng::new(seed);
            // The others have work.
            let endpoints: Vec<_> = (0..count).map(|at| Fixed(1, u64::from(at.min(1)))).collect();
            let shares = |at: usize| if at == 0 { share } else { 1000 };
            let all = 4000;
            let new = (0..all)
                .filter(|_| LeastRequest.pick(&endpoints, |_| true, shares, &rng) == Some(0))
                .count();
            let fair = f64::from(share) / (f64::from(count - 1) * 1000.0 + f64::from(share));
            let most = 2.0 * fair * f64::from(all);
            // Six standard deviations of a count.
            let most = most + 6.0 * most.sqrt();
            prop_assert!(f64::from(u32::try_from(new).unwrap()) <= most, "{new} of {all}, at most {most}");
        }
    }
}
