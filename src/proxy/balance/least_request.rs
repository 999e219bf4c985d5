//! The less busy of two random choices, by live in-flight over weight (Mitzenmacher: The Power of Two
//! Choices in Randomized Load Balancing, 2001).

use super::Candidate;
use crate::proxy::rng::Rng;

/// Needs no state: what is in flight is the gate's count.
#[derive(Debug)]
pub struct LeastRequest;

/// Random draws before all endpoints are looked at.
const DRAWS: usize = 4;

impl LeastRequest {
    // A method, so that the balancers are called alike.
    #[allow(clippy::unused_self)]
    pub(super) fn pick<C: Candidate>(
        &self,
        endpoints: &[C],
        eligible: impl Fn(usize) -> bool,
        rng: &Rng,
    ) -> Option<usize> {
        let one = draw(endpoints.len(), &eligible, rng, None)?;
        let Some(two) = draw(endpoints.len(), &eligible, rng, Some(one)) else {
            return Some(one);
        };
        Some(if busier(&endpoints[one], &endpoints[two]) {
            two
        } else {
            one
        })
    }
}

/// A random endpoint but `not`. With few eligible ones left the draws may miss them: then a random one
/// of those that are.
fn draw(
    count: usize,
    eligible: impl Fn(usize) -> bool,
    rng: &Rng,
    not: Option<usize>,
) -> Option<usize> {
    if count == 0 {
        return None;
    }
    let wanted = |at: usize| Some(at) != not && eligible(at);
    for _ in 0..DRAWS {
        let at = rng.below(count);
        if wanted(at) {
            return Some(at);
        }
    }
    let left: Vec<usize> = (0..count).filter(|at| wanted(*at)).collect();
    (!left.is_empty()).then(|| left[rng.below(left.len())])
}

/// Whether `one` has more in flight for its weight than `two`; the request itself counts.
fn busier<C: Candidate>(one: &C, two: &C) -> bool {
    let load = |c: &C, other: &C| u128::from(c.in_flight() + 1) * u128::from(other.weight());
    load(one, two) > load(two, one)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn of_two_the_less_busy_is_chosen() {
        let rng = Rng::new(1);
        let endpoints = [Fixed(1, 10), Fixed(1, 2)];
        for _ in 0..100 {
            assert_eq!(LeastRequest.pick(&endpoints, |_| true, &rng), Some(1));
        }
        // A weight of 10 may have ten times as much.
        let endpoints = [Fixed(10, 10), Fixed(1, 2)];
        assert_eq!(LeastRequest.pick(&endpoints, |_| true, &rng), Some(0));
    }

    #[test]
    fn the_only_eligible_one_is_found() {
        let rng = Rng::new(1);
        let endpoints: Vec<_> = (0..50).map(|_| Fixed(1, 0)).collect();
        for _ in 0..100 {
            assert_eq!(LeastRequest.pick(&endpoints, |at| at == 37, &rng), Some(37));
        }
        assert_eq!(LeastRequest.pick(&endpoints, |_| false, &rng), None);
        assert_eq!(LeastRequest.pick(&[] as &[Fixed], |_| true, &rng), None);
    }

    #[test]
    fn load_spreads_far_better_than_random() {
        let rng = Rng::new(7);
        let mut endpoints: Vec<_> = (0..10).map(|_| Fixed(1, 0)).collect();
        for _ in 0..10_000 {
            let at = LeastRequest.pick(&endpoints, |_| true, &rng).unwrap();
            endpoints[at].1 += 1;
        }
        let loads = || endpoints.iter().map(|e| e.1);
        // ln ln n / ln 2 + O(1) above the mean; random placing would be some 30 apart.
        assert!(loads().max().unwrap() - loads().min().unwrap() <= 6);
    }
}
