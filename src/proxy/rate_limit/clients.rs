//! One number for each client that was seen of late: a table of fixed size, shared without a lock. Used by
//! the limiter.
//!
//! A client has its place in one bucket of a few. Where a bucket is full, the client that owes least is
//! forgotten: nearly always one that owes nothing any more, so that nothing is lost. Only where more clients
//! than the table holds send at their limit at once does one of them get more than its share.
//!
//! Two workers that see a client for the first time at the same moment may give it two places; the first of
//! them is its own from then on, so that at most the requests of that moment are not counted.

use std::net::IpAddr;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Places in a bucket: two cache lines.
const PLACES: usize = 8;
/// A power of two.
const BUCKETS: usize = 2048;

/// Until when each client has paid for what it got.
#[derive(Debug)]
pub(super) struct Clients {
    buckets: Box<[Bucket]>,
    seed: u64,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Bucket([Place; PLACES]);

#[derive(Debug, Default)]
struct Place {
    /// 0 where it is free.
    client: AtomicU64,
    paid: AtomicU64,
}

impl Clients {
    /// An empty table: 256 KiB. `seed` decides who shares a bucket with whom.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            seed,
        }
    }

    /// The number of the client at `address`.
    pub(super) fn paid_by(&self, address: IpAddr, now: u64) -> &AtomicU64 {
        let client = key(address);
        let Bucket(places) = &self.buckets[self.bucket_of(client)];
        // Others may take the place that was found: after as many tries as there are places it is shared.
        for _ in 1..PLACES {
            if let Some(own) = own(places, client) {
                return own;
            }
            let place = cheapest(places, now);
            let before = place.client.load(Relaxed);
            let taken = place
                .client
                .compare_exchange(before, client, AcqRel, Relaxed);
            if taken.is_ok() {
                if before != 0 {
                    place.paid.store(0, Relaxed);
                }
                // Another worker may have given it a place before this one.
                return own(places, client).unwrap_or(&place.paid);
            }
        }
        &cheapest(places, now).paid
    }

    fn bucket_of(&self, client: u64) -> usize {
        // The finalizer of splitmix64: neighbours are spread, and nobody knows who meets whom.
        let mut z = client ^ self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % BUCKETS as u64).unwrap_or(0)
    }
}

/// The place that is the client's.
fn own(places: &[Place], client: u64) -> Option<&AtomicU64> {
    let mut places = places.iter();
    let found = places.find(|place| place.client.load(Acquire) == client);
    found.map(|place| &place.paid)
}

/// A free place, or that of the client that owes least: of those that owe nothing the first.
fn cheapest(places: &[Place; PLACES], now: u64) -> &Place {
    let owed = |place: &&Place| {
        let taken = place.client.load(Relaxed) != 0;
        let owed = place.paid.load(Relaxed).saturating_sub(now);
        (taken, owed)
    };
    let [first, ..] = places;
    places.iter().min_by_key(owed).unwrap_or(first)
}

/// Who a client is: an IPv4 address, or the 64 bits of an IPv6 address that networks are given, within which
/// a client may take any address it likes. Never 0. IPv4 addresses come to lie in `1::/16`, which is reserved
/// (RFC 4291 section 2.4).
fn key(address: IpAddr) -> u64 {
    const IPV4: u64 = 1 << 48;
    match address.to_canonical() {
        IpAddr::V4(address) => IPV4 | u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64;
            u64::try_from(network).unwrap_or(0).max(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let same = |a, b| key(ip(a)) == key(ip(b));
        assert!(same("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert_ne!(key(ip("::1")), 0);
        assert_ne!(key(ip("0.0.0.0")), 0);
    }

    #[test]
    fn a_client_keeps_its_place_and_those_that_owe_nothing_give_theirs_up() {
        let clients = Clients::new(7);
        let nth = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(n));
        let debtor = nth(0);
        clients.paid_by(debtor, 0).store(1000, Relaxed);
        // More than the table holds; each owes less than the first, and nothing once it is 100.
        for n in 1..100_000 {
            let now = 100 + u64::from(n) / 200;
            clients.paid_by(nth(n), now).store(now - 50, Relaxed);
        }
        assert_eq!(clients.paid_by(debtor, 600).load(Relaxed), 1000);
        // One that was forgotten begins anew, whatever its place held.
        let fresh = clients.paid_by(nth(200_000), 600).load(Relaxed);
        assert!(fresh <= 600, "{fresh}");
    }

    #[test]
    fn where_all_owe_the_one_that_owes_least_is_forgotten() {
        let places: [Place; PLACES] = std::array::from_fn(|at| Place {
            client: AtomicU64::new(1 + at as u64),
            paid: AtomicU64::new(if at == 3 { 50 } else { 100 }),
        });
        assert_eq!(cheapest(&places, 0).client.load(Relaxed), 4);
        places[5].client.store(0, Relaxed);
        assert_eq!(cheapest(&places, 0).client.load(Relaxed), 0);
    }
}
