//! Smooth weighted round robin, as nginx does it: of weights 5, 1, 1 it makes a a b a c a a, never five
//! in a row.

use std::cell::{Cell, RefCell};

/// One worker's turn.
#[derive(Debug)]
pub enum RoundRobin {
    /// All weights alike: the next in the circle, without a look at the others.
    Even {
        /// Where the next search starts.
        next: Cell<usize>,
    },
    /// Each turn every endpoint earns its weight, and the richest pays the sum of what all earned.
    Weighted {
        /// Weight and earnings of each endpoint.
        accounts: RefCell<Vec<Account>>,
    },
}

/// One endpoint's weight, and what it has earned.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    weight: i64,
    earned: i64,
}

impl RoundRobin {
    /// Endpoints of these weights, with the first `start` turns taken.
    pub fn over(weights: &[u32], start: usize) -> Self {
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            let next = Cell::new(start % weights.len().max(1));
            return Self::Even { next };
        }
        let accounts: Vec<_> = weights
            .iter()
            .map(|w| Account {
                weight: i64::from(*w),
                earned: 0,
            })
            .collect();
        let balancer = Self::Weighted {
            accounts: RefCell::new(accounts),
        };
        for _ in 0..start % weights.len() {
            balancer.turn(weights.len(), |at| weights[at] > 0);
        }
        balancer
    }

    /// Whose turn it is among the first `count` that are eligible.
    pub fn turn(&self, count: usize, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        match self {
            Self::Even { next } => {
                let start = next.get();
                let chosen = (start..count).chain(0..start).find(|at| eligible(*at))?;
                next.set((chosen + 1) % count);
                Some(chosen)
            }
            Self::Weighted { accounts } => {
                let mut accounts = accounts.borrow_mut();
                let (mut total, mut richest) = (0, None);
                for at in (0..count).filter(|at| eligible(*at)) {
                    let account = &mut accounts[at];
                    account.earned += account.weight;
                    total += account.weight;
                    let earned = account.earned;
                    if richest.is_none_or(|(_, most)| earned > most) {
                        richest = Some((at, earned));
                    }
                }
                let (chosen, _) = richest?;
                accounts[chosen].earned -= total;
                Some(chosen)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turns(weights: &[u32], count: usize) -> Vec<usize> {
        let balancer = RoundRobin::over(weights, 0);
        (0..count)
            .map(|_| balancer.turn(weights.len(), |at| weights[at] > 0).unwrap())
            .collect()
    }

    #[test]
    fn weights_are_spread_smoothly() {
        assert_eq!(turns(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[1, 1, 1], 4), [0, 1, 2, 0]);
        assert_eq!(turns(&[0, 2], 2), [1, 1]);
    }

    #[test]
    fn what_is_not_eligible_is_passed_over() {
        for weights in [&[1, 1, 1][..], &[3, 1, 2]] {
            let balancer = RoundRobin::over(weights, 0);
            let picks: Vec<_> = (0..6)
                .map(|_| balancer.turn(3, |at| at != 1).unwrap())
                .collect();
            assert!(
                !picks.contains(&1) && picks.contains(&0) && picks.contains(&2),
                "{picks:?}"
            );
            assert_eq!(balancer.turn(3, |_| false), None);
        }
    }

    proptest! {
        /// Over any whole number of rounds every endpoint gets its exact share, and it is never more
        /// than one request ahead or behind it at each full round.
        #[test]
        fn every_round_gives_each_its_weight(weights in proptest::collection::vec(1..20u32, 1..8)) {
            let round = weights.iter().sum::<u32>() as usize;
            let picks = turns(&weights, round * 3);
            for chunk in picks.chunks(round) {
                for (at, weight) in weights.iter().enumerate() {
                    prop_assert_eq!(chunk.iter().filter(|p| **p == at).count(), *weight as usize);
                }
            }
        }
    }
}
