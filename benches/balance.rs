//! `cargo bench --bench balance`: what it costs to pick an endpoint by each policy among 3, 100 and 1,000, with
//! weights that are alike and weights that differ, and to build Maglev's table.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use divan::Bencher;
use lastcall::model::{HashBy, Policy};
use lastcall::proxy::balance::{Balancer, By, Candidate, Maglev, hash};
use lastcall::proxy::rng::Rng;

const ENDPOINTS: [usize; 3] = [3, 100, 1_000];

fn main() {
    divan::main();
}

/// An endpoint that takes everything: what its gate costs, `cargo bench --bench gate` says.
struct Endpoint {
    weight: u32,
    in_flight: u64,
}

impl Candidate for Endpoint {
    fn weight(&self) -> u32 {
        self.weight
    }
    fn available(&self) -> bool {
        true
    }
    fn in_flight(&self) -> u64 {
        self.in_flight
    }
}

fn weights(count: usize, alike: bool) -> Vec<u32> {
    let weight = |nth: u32| if alike { 1 } else { 1 + nth % 7 };
    (0..).map(weight).take(count).collect()
}

fn members(count: usize) -> Vec<(u64, u32)> {
    let id = |nth: u32| hash(format!("10.0.{}.{}:80", nth / 250, nth % 250).as_bytes());
    (0..).map(|nth| (id(nth), 1)).take(count).collect()
}

fn pick(bencher: Bencher<'_, '_>, policy: &Policy, count: usize, alike: bool) {
    let weights = weights(count, alike);
    let table = matches!(policy, Policy::Hash(_)).then(|| Arc::new(Maglev::new(&members(count))));
    let balancer = Balancer::new(policy, &weights, 0, table, None);
    let endpoint = |(weight, in_flight): (&u32, u64)| Endpoint {
        weight: *weight,
        in_flight: in_flight % 5,
    };
    let endpoints: Vec<_> = weights.iter().zip(0..).map(endpoint).collect();
    let rng = Rng::new(1);
    bencher.bench_local(|| {
        let by = By {
            rng: &rng,
            key: rng.next(),
            now: &Instant::now,
        };
        balancer.pick(black_box(&endpoints), |_| false, by)
    });
}

#[divan::bench(args = ENDPOINTS)]
fn round_robin(bencher: Bencher<'_, '_>, count: usize) {
    pick(bencher, &Policy::RoundRobin, count, true);
}

#[divan::bench(args = ENDPOINTS)]
fn round_robin_by_weight(bencher: Bencher<'_, '_>, count: usize) {
    pick(bencher, &Policy::RoundRobin, count, false);
}

#[divan::bench(args = ENDPOINTS)]
fn least_request(bencher: Bencher<'_, '_>, count: usize) {
    pick(bencher, &Policy::LeastRequest, count, true);
}

#[divan::bench(args = ENDPOINTS)]
fn random(bencher: Bencher<'_, '_>, count: usize) {
    pick(bencher, &Policy::Random, count, true);
}

#[divan::bench(args = ENDPOINTS)]
fn random_by_weight(bencher: Bencher<'_, '_>, count: usize) {
    pick(bencher, &Policy::Random, count, false);
}

#[divan::bench(args = ENDPOINTS)]
fn hashed(bencher: Bencher<'_, '_>, count: usize) {
    pick(bencher, &Policy::Hash(HashBy::Source), count, true);
}

#[divan::bench(args = [3, 100, 1_000])]
fn build_the_table(bencher: Bencher<'_, '_>, count: usize) {
    let members = members(count);
    bencher.bench_local(|| Maglev::new(black_box(&members)));
}

#[divan::bench(args = [8, 64])]
fn hash_a_key(bencher: Bencher<'_, '_>, bytes: usize) {
    let key = vec![b'x'; bytes];
    bencher.bench_local(|| hash(black_box(&key)));
}
