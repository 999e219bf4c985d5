//! The same endpoint for the same key: Maglev's table (Eisenbud and others: Maglev: A Fast and Reliable Software
//! Network Load Balancer, NSDI 2016, section 3.4), with weights.
//!
//! Each endpoint has a permutation of the table's places that follows from its identity alone; they take turns,
//! as often as their weights say, and each takes the next of its places that is free. Nothing here differs from
//! one process to the next, so all replicas agree, without a word between them, for as long as they see the same
//! endpoints.
//!
//! Of M places an endpoint with the share p has M·p, give or take 2 + n·p of n endpoints: as M is more than 100·n,
//! within a hundredth of its share, and two places. Where one comes or goes, its own keys move, and of the others' a
//! small part, for their turns come at other times: of n endpoints of equal weight at most 1/n + 0.02 of all keys,
//! as the tests show. Only where the number of endpoints passes 81 or 655, either way, nearly all keys move, for the
//! table's size is another.
//!
//! A table takes 32 KiB, from 82 endpoints on 256 KiB, from 656 on 2.5 MiB; once in a process, for all its workers.
//! It is built when the endpoints change, not by a worker.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How large tables are: primes, the last two as in the paper.
const SIZES: [u32; 3] = [8_191, 65_537, 655_373];
/// Places that each endpoint has at least, but in the largest table.
const PLACES_EACH: usize = 100;
/// Places that are looked at before all endpoints are.
const PROBES: usize = 64;

/// Which endpoint each key has.
#[derive(Debug, Default)]
pub struct Maglev {
    places: Box<[u32]>,
    /// What it was built of.
    members: Box<[(u64, u32)]>,
}

/// One endpoint, while the table is built.
struct Filling {
    next: u32,
    skip: u32,
    turns: u64,
}

impl Maglev {
    /// The table of endpoints with these identities (as [`hash`] makes them) and weights. Those of weight 0 have
    /// no place.
    pub fn new(members: &[(u64, u32)]) -> Self {
        Self {
            places: fill(members, size_for(members.len())),
            members: members.into(),
        }
    }

    /// Whether it is the table of just these.
    pub fn is_of(&self, members: &[(u64, u32)]) -> bool {
        *self.members == *members
    }

    /// The endpoint of `key`, a hash, among the first `count` that are eligible. Where its own is not, the one in
    /// the next place, and so on: the keys of each endpoint are spread over all the others, and no other key
    /// moves. Where those in many places are not, the first of all that is, from one that follows from the key.
    pub(super) fn pick(
        &self,
        key: u64,
        count: usize,
        eligible: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let size = self.places.len();
        let first = scaled(key, size);
        let mut refused = None;
        for probe in 0..PROBES.min(size) {
            let at = self.places[(first + probe) % size] as usize;
            if refused == Some(at) || at >= count {
                continue;
            }
            if eligible(at) {
                return Some(at);
            }
            refused = Some(at);
        }
        let start = scaled(mix(key), count);
        (start..count).chain(0..start).find(|at| eligible(*at))
    }

    #[cfg(test)]
    fn owner(&self, key: u64) -> usize {
        self.places[scaled(key, self.places.len())] as usize
    }
}

/// The smallest table that has places enough.
fn size_for(endpoints: usize) -> u32 {
    let [.., largest] = SIZES;
    let enough = |size: &u32| *size as usize >= endpoints * PLACES_EACH;
    SIZES.into_iter().find(enough).unwrap_or(largest)
}

/// Fills a table of `size` places, a prime.
fn fill(members: &[(u64, u32)], size: u32) -> Box<[u32]> {
    const FREE: u32 = u32::MAX;
    let heaviest = members.iter().map(|member| member.1).max().unwrap_or(0);
    let filling = |(id, _): &(u64, u32)| Filling {
        next: below(mix(*id), size),
        skip: 1 + below(mix(id ^ 0x5bd1_e995_97f4_a7c5), size - 1),
        turns: 0,
    };
    let mut all: Vec<Filling> = members.iter().map(filling).collect();
    // Of weight w each has a turn in w of as many rounds as the heaviest weighs; the first in which it has
    // earned one.
    let round = |turns: u64, weight: u32| (turns * u64::from(heaviest)).div_ceil(u64::from(weight));
    let weighty = (0..).zip(members).filter(|(_, member)| member.1 > 0);
    let mut turns: BinaryHeap<Reverse<(u64, u32)>> = weighty
        .map(|(at, member)| Reverse((round(1, member.1), at)))
        .collect();
    let mut places = vec![FREE; size as usize];
    let mut left = size;
    while left > 0
        && let Some(mut turn) = turns.peek_mut()
    {
        let Reverse((_, at)) = *turn;
        let filling = &mut all[at as usize];
        // A prime has no divisors: the steps of `skip` come by every place.
        let free = loop {
            let place = filling.next;
            filling.next = (place + filling.skip) % size;
            if places[place as usize] == FREE {
                break place;
            }
        };
        places[free as usize] = at;
        left -= 1;
        filling.turns += 1;
        *turn = Reverse((round(filling.turns + 1, members[at as usize].1), at));
    }
    if left > 0 {
        return Box::default();
    }
    places.into()
}

/// A hash that is the same in every process and for ever: FNV-1a (Fowler, Noll, Vo), mixed, for its upper bits
/// know little of the last bytes.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// The finalizer of splitmix64.
fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `bound` in the proportion in which `hash` is below 2^64.
fn scaled(hash: u64, bound: usize) -> usize {
    let wide = u128::from(hash) * bound as u128;
    usize::try_from(wide >> 64).unwrap_or(0)
}

fn below(hash: u64, bound: u32) -> u32 {
    u32::try_from(scaled(hash, bound as usize)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(nth: u64, weight: u32) -> (u64, u32) {
        (hash(format!("10.0.0.{nth}:80").as_bytes()), weight)
    }

    fn even(count: u64) -> Vec<(u64, u32)> {
        (0..count).map(|nth| member(nth, 1)).collect()
    }

    fn number(count: usize) -> f64 {
        f64::from(u32::try_from(count).unwrap())
    }

    /// Of all places, the part at which two tables name different endpoints.
    fn moved(one: &[(u64, u32)], other: &[(u64, u32)]) -> f64 {
        let tables = [one, other].map(|members| {
            let table = Maglev::new(members);
            let ids = table.places.iter().map(|at| members[*at as usize].0);
            ids.collect::<Vec<_>>()
        });
        let differ = tables[0].iter().zip(&tables[1]).filter(|(a, b)| a != b);
        number(differ.count()) / number(tables[0].len())
    }

    #[test]
    fn the_hash_is_what_it_has_always_been() {
        // Other figures would move every key of every installation.
        for (text, expected) in [
            ("", 0xf52a_15e9_a9b5_e89b_u64),
            ("a", 0x02c0_bdbf_4814_20f8),
            ("10.0.0.1:80", 0xdbbc_907f_2153_1a73),
        ] {
            assert_eq!(
                hash(text.as_bytes()),
                expected,
                "{text:?}: {:#x}",
                hash(text.as_bytes())
            );
        }
        let table = Maglev::new(&even(5));
        let owners: Vec<_> = (0..12).map(|key| table.owner(mix(key))).collect();
        assert_eq!(owners, [3, 0, 2, 2, 4, 2, 1, 1, 0, 2, 3, 1]);
    }

    #[test]
    fn the_sizes_are_prime_and_give_each_a_hundred_places() {
        for size in SIZES {
            let root = size.isqrt();
            assert!((2..=root).all(|divisor| size % divisor != 0), "{size}");
        }
        for (endpoints, size) in [
            (0, 8191),
            (81, 8191),
            (82, 65_537),
            (655, 65_537),
            (656, 655_373),
            (9999, 655_373),
        ] {
            assert_eq!(size_for(endpoints), size, "{endpoints}");
        }
    }

    #[test]
    fn an_empty_table_has_nobody_but_whoever_is_eligible() {
        for members in [vec![], vec![member(1, 0), member(2, 0)]] {
            let table = Maglev::new(&members);
            assert_eq!(table.pick(7, members.len(), |_| false), None);
        }
        assert_eq!(Maglev::default().pick(7, 0, |_| true), None);
        // A table that does not know all that is there still finds it.
        assert_eq!(Maglev::default().pick(7, 1, |_| true), Some(0));
    }

    #[test]
    fn where_an_endpoint_takes_nothing_only_its_own_keys_move_and_to_all_the_others() {
        let members = even(10);
        let table = Maglev::new(&members);
        let mut heirs = [0_usize; 10];
        let keys = 20_000;
        for key in (0..keys).map(mix) {
            let own = table.pick(key, 10, |_| true).unwrap();
            assert_eq!(own, table.owner(key));
            let without = table.pick(key, 10, |at| at != 3).unwrap();
            if own == 3 {
                heirs[without] += 1;
            } else {
                assert_eq!(own, without);
            }
        }
        assert_eq!(heirs[3], 0);
        let fair = number(usize::try_from(keys).unwrap()) / 10.0 / 9.0;
        for (at, heir) in heirs.iter().enumerate().filter(|(at, _)| *at != 3) {
            // Six standard deviations.
            let off = (number(*heir) - fair).abs();
            assert!(
                off < 6.0 * fair.sqrt(),
                "{at} has {heir}, {fair} would be fair"
            );
        }
        // The only one left has all keys.
        assert!((0..1000).all(|key| table.pick(mix(key), 10, |at| at == 7) == Some(7)));
        assert_eq!(table.pick(1, 10, |_| false), None);
    }

    #[test]
    fn of_many_endpoints_one_that_comes_or_goes_moves_little_beside_its_own() {
        for count in [2, 3, 5, 10, 30, 81, 83, 200] {
            let all = even(count);
            let mut fewer = all.clone();
            fewer.remove(usize::try_from(count / 2).unwrap());
            let moved = moved(&all, &fewer);
            let own = 1.0 / number(all.len());
            assert!(moved <= own + 0.02, "{moved} of {count} endpoints");
        }
    }

    #[test]
    fn a_large_backend_has_the_larger_table() {
        let table = Maglev::new(&even(1000));
        assert_eq!(table.places.len(), 655_373);
        let mut counts = [0_u32; 1000];
        for at in &table.places {
            counts[*at as usize] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{least} to {most}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The bound of the module's text, for any weights.
        #[test]
        fn each_endpoint_has_the_part_that_its_weight_says(weights in proptest::collection::vec(0..100_u32, 1..40), salt: u64) {
            let members: Vec<_> = (0..).zip(&weights).map(|(nth, weight)| member(salt ^ nth, *weight)).collect();
            let size = 4099;
            let places = fill(&members, size);
            let total = f64::from(weights.iter().sum::<u32>());
            if total == 0.0 {
                prop_assert!(places.is_empty());
                return Ok(());
            }
            let endpoints = number(weights.iter().filter(|weight| **weight > 0).count());
            for (at, weight) in (0..).zip(&weights) {
                let had = number(places.iter().filter(|owner| **owner == at).count());
                let share = f64::from(*weight) / total;
                let off = (had - share * f64::from(size)).abs();
                prop_assert!(off <= 2.0 + endpoints * share + 1e-6, "{off} off {share}");
            }
        }

        /// The order in which endpoints are written down, and who built the table, make no difference but for
        /// their numbers.
        #[test]
        fn who_comes_first_makes_little_difference(count in 2..8_u64, salt: u64) {
            let members: Vec<_> = (0..count).map(|nth| member(salt ^ nth, 1)).collect();
            prop_assert_eq!(&Maglev::new(&members).places, &Maglev::new(&members).places);
            let mut turned = members.clone();
            turned.reverse();
            prop_assert!(moved(&members, &turned) < 0.02);
        }
    }
}
