//! Draws an endpoint at random, by shares, where not all of them may be drawn. Used by the policies that draw.

use super::slow_start::WHOLE;
use crate::proxy::rng::Rng;

/// Random draws before all endpoints are looked at.
const DRAWS: usize = 4;

/// One that is `eligible`, in proportion to weight times share. `any` draws one by weight alone, which is
/// then taken with the probability of its share; where the draws miss what is eligible, one pass over all
/// `count` sums it up, and another finds it.
pub(super) fn draw(
    count: usize,
    eligible: impl Fn(usize) -> bool,
    weight: impl Fn(usize) -> u32,
    share: impl Fn(usize) -> u32,
    any: impl Fn(&Rng) -> usize,
    rng: &Rng,
) -> Option<usize> {
    if count == 0 {
        return None;
    }
    for _ in 0..DRAWS {
        let at = any(rng);
        let taken = eligible(at) && {
            let share = share(at);
            share >= WHOLE || rng.below(WHOLE as usize) < share as usize
        };
        if taken {
            return Some(at);
        }
    }
    let worth = |at: usize| u64::from(weight(at)) * u64::from(share(at));
    let total: u64 = (0..count).filter(|at| eligible(*at)).map(worth).sum();
    let mut left = rng.below(usize::try_from(total).ok().filter(|total| *total > 0)?) as u64;
    let mut last = None;
    for at in (0..count).filter(|at| eligible(*at)) {
        last = Some(at);
        match left.checked_sub(worth(at)) {
            Some(rest) => left = rest,
            None => return last,
        }
    }
    // One has become ineligible in between.
    last
}
