//! Smooth weighted round robin, as nginx does it: of weights 5, 1, 1 it makes a a b a c a a, never five
//! in a row.
//!
//! Of any t turns from the start on an endpoint with the share p has had less than t·p + 1, and no fewer than
//! t·p − (1/2 + 1/3 + … + 1/n) of n endpoints; so in any window it is less than 1 + 1/2 + … + 1/n off its share
//! (Adler and others: A Proportionate Fair Scheduling Rule with Good Worst-Case Performance, 2003). It is never
//! 1 ahead: who is chosen is the richest, and so had more than nothing before it paid. And those that are behind
//! most: of the k richest after a turn, either one has paid, and their sum has not grown; or another one has, who
//! was as rich as any of them, and then their mean is at most 1/(k+1) above that of the k+1 richest; of all n it is
//! 0. That all keep their place is what this needs: where endpoints come and go it holds between the changes.

use std::cell::{Cell, RefCell};

use super::slow_start::WHOLE;

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

/// How many turns in a row may fall to endpoints that take nothing before only the others take part.
const LOST_TURNS: usize = 4;

impl RoundRobin {
    /// Endpoints of these weights, with the first `start` turns taken.
    pub fn over(weights: &[u32], start: usize) -> Self {
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            let next = Cell::new(start % weights.len().max(1));
            return Self::Even { next };
        }
        let balancer = Self::weighted(weights);
        for _ in 0..start % weights.len() {
            balancer.turn(weights.len(), |at| weights[at] > 0);
        }
        balancer
    }

    /// Endpoints of these weights, for who gives each its share of that.
    pub fn weighted(weights: &[u32]) -> Self {
        let account = |weight: &u32| Account {
            weight: i64::from(*weight),
            earned: 0,
        };
        Self::Weighted {
            accounts: RefCell::new(weights.iter().map(account).collect()),
        }
    }

    /// Whose turn it is among the first `count` that are eligible.
    pub fn turn(&self, count: usize, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        self.turn_by(count, eligible, |_| WHOLE)
    }

    /// The same with each endpoint's share of its weight, in thousandths; where all weights are alike and it
    /// was not made by [`RoundRobin::weighted`] shares are passed over.
    pub fn turn_by(
        &self,
        count: usize,
        eligible: impl Fn(usize) -> bool,
        share: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        match self {
            Self::Even { next } => {
                let start = next.get();
                let chosen = (start..count).chain(0..start).find(|at| eligible(*at))?;
                next.set((chosen + 1) % count);
                Some(chosen)
            }
            Self::Weighted { accounts } => {
                let mut accounts = accounts.borrow_mut();
                let accounts = &mut accounts[..count];
                // An endpoint is looked at only when it is its turn: one that takes nothing has lost it.
                for _ in 0..LOST_TURNS {
                    let chosen = pay(accounts, |_| true, &share)?;
                    if eligible(chosen) {
                        return Some(chosen);
                    }
                }
                pay(accounts, eligible, share)
            }
        }
    }
}

/// All that take part earn, and the richest of them pays.
fn pay(
    accounts: &mut [Account],
    takes_part: impl Fn(usize) -> bool,
    share: impl Fn(usize) -> u32,
) -> Option<usize> {
    let (mut total, mut richest) = (0, None);
    for (at, account) in accounts.iter_mut().enumerate() {
        if account.weight == 0 || !takes_part(at) {
            continue;
        }
        let earns = account.weight * i64::from(share(at));
        account.earned += earns;
        total += earns;
        if richest.is_none_or(|(_, most)| account.earned > most) {
            richest = Some((at, account.earned));
        }
    }
    let (chosen, _) = richest?;
    accounts[chosen].earned -= total;
    Some(chosen)
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
        // Nearly all are out.
        let weights: Vec<u32> = (1..100).collect();
        let balancer = RoundRobin::over(&weights, 0);
        for _ in 0..10 {
            assert_eq!(balancer.turn(99, |at| at == 3), Some(3));
        }
        assert_eq!(RoundRobin::over(&[], 0).turn(0, |_| true), None);
        assert_eq!(RoundRobin::over(&[0, 0], 0).turn(2, |_| false), None);
    }

    /// 1 + 1/2 + … + 1/n.
    fn harmonic(n: usize) -> f64 {
        (1..=n)
            .map(|k| 1.0 / f64::from(u32::try_from(k).unwrap()))
            .sum()
    }

    fn number(count: usize) -> f64 {
        f64::from(u32::try_from(count).unwrap())
    }

    proptest! {
        /// Over any whole number of rounds every endpoint gets its exact share.
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

        /// The bounds of the module's text: from the start, and in any window.
        #[test]
        fn no_window_is_far_from_its_shares(weights in proptest::collection::vec(1..1000u32, 1..24)) {
            const TURNS: usize = 300;
            let total = f64::from(weights.iter().sum::<u32>());
            let picks = turns(&weights, TURNS);
            let behind = harmonic(weights.len()) - 1.0;
            for (at, weight) in weights.iter().enumerate() {
                let share = f64::from(*weight) / total;
                let (mut had, mut least, mut most) = (0, 0.0_f64, 0.0_f64);
                for (turn, pick) in picks.iter().enumerate() {
                    had += usize::from(*pick == at);
                    let ahead = number(had) - number(turn + 1) * share;
                    prop_assert!(ahead < 1.0 + 1e-6 && ahead > -behind - 1e-6, "{ahead} of {weights:?}");
                    // What a window that ends here is off at most is the span of what was so far.
                    (least, most) = (least.min(ahead), most.max(ahead));
                }
                prop_assert!(most - least < 1.0 + behind);
            }
        }

        /// One that takes nothing changes nothing of what the others have of one another.
        #[test]
        fn the_others_share_what_one_does_not_take(weights in proptest::collection::vec(1..20u32, 2..8)) {
            let round = weights[1..].iter().sum::<u32>() as usize;
            let balancer = RoundRobin::weighted(&weights);
            let picks: Vec<_> = (0..round * 4)
                .map(|_| balancer.turn(weights.len(), |at| at != 0).unwrap())
                .collect();
            for (at, weight) in weights.iter().enumerate().skip(1) {
                let had = picks.iter().filter(|p| **p == at).count();
                let off = number(had) - 4.0 * f64::from(*weight);
                prop_assert!(off.abs() < 1.0 + harmonic(weights.len()) * 2.0, "{off} of {weights:?}");
            }
        }
    }
}
