use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::model::{DrainPolicy, EndpointProtocol, Member, ObjectName, Policy, UpstreamTls};

const SPAN: Duration = Duration::from_secs(30);

fn id(last: u8) -> EndpointId {
    EndpointId {
        backend: ObjectName::new("default", "web"),
        member: Member::Static(SocketAddr::from(([10, 0, 0, last], 80))),
    }
}

/// Endpoints by the last byte of their address, and whether each is ready.
fn backend(endpoints: &[(u8, bool)]) -> Backend {
    let spec = |(last, ready): &(u8, bool)| EndpointSpec {
        ready: *ready,
        ..EndpointSpec::fixed(
            id(*last),
            SocketAddr::from(([10, 0, 0, *last], 80)),
            1,
            AdminState::Enabled,
        )
    };
    Backend {
        name: ObjectName::new("default", "web"),
        endpoints: endpoints.iter().map(spec).collect(),
        protocol: EndpointProtocol::Http1,
        policy: Policy::RoundRobin,
        slow_start: Some(SPAN),
        limits: None,
        admin_state: AdminState::Enabled,
        draining: DrainPolicy::default(),
        send_proxy: None,
        tls: UpstreamTls::No,
    }
}

#[test]
fn a_part_grows_evenly_from_a_tenth_to_all() {
    for (seconds, expected) in [
        (0, 100),
        (10, 400),
        (15, 550),
        (29, 970),
        (30, 1000),
        (99, 1000),
    ] {
        assert_eq!(
            part(Duration::from_secs(seconds), SPAN),
            expected,
            "{seconds}"
        );
    }
}

#[test]
fn what_comes_while_others_serve_is_new() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let none = HashMap::new();
    let one = backend(&[(1, true)]);
    // At the start all are.
    assert_eq!(since(None, &none, &one, start), none);
    let two = backend(&[(1, true), (2, true)]);
    let new = since(Some(&one), &none, &two, at(5));
    assert_eq!(new, [(id(2), at(5))].into());
    // A third changes nothing of the second (PITFALLS 30).
    let three = backend(&[(1, true), (2, true), (3, true)]);
    let newer = since(Some(&two), &new, &three, at(15));
    assert_eq!(newer, [(id(2), at(5)), (id(3), at(15))].into());
    // Once the time is over nothing of it is kept.
    assert_eq!(
        since(Some(&three), &newer, &three, at(36)),
        [(id(3), at(15))].into()
    );
    // Gone and back is new.
    let back = since(Some(&one), &none, &two, at(40));
    assert_eq!(back, [(id(2), at(40))].into());
    // Where nobody is left who served before, all begin alike.
    let others = backend(&[(4, true), (5, true)]);
    assert_eq!(since(Some(&three), &newer, &others, at(20)), none);
    let plain = Backend {
        slow_start: None,
        ..two.clone()
    };
    assert_eq!(since(Some(&one), &none, &plain, at(5)), none);
}

#[test]
fn one_that_gets_ready_or_is_enabled_is_new_then_and_not_when_it_was_written_down() {
    let start = Instant::now();
    let later = start + Duration::from_mins(1);
    let none = HashMap::new();
    let one = backend(&[(1, true)]);
    let coming = backend(&[(1, true), (2, false)]);
    assert_eq!(since(Some(&one), &none, &coming, start), none);
    let ready = backend(&[(1, true), (2, true)]);
    let new = since(Some(&coming), &none, &ready, later);
    assert_eq!(new, [(id(2), later)].into());
    let mut disabled = ready.clone();
    disabled.endpoints[1].admin_state = AdminState::Disabled;
    assert_eq!(since(Some(&ready), &new, &disabled, later), none);
    assert_eq!(
        since(Some(&disabled), &none, &ready, later),
        [(id(2), later)].into()
    );
}

#[test]
fn all_have_all_of_it_once_the_last_is_over_it() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(Warming::new(SPAN, vec![None, None]).is_none());
    let warming = Warming::new(SPAN, vec![None, Some(at(0)), Some(at(10))]).unwrap();
    let parts = |seconds| {
        let now = || at(seconds);
        let shares = warming.shares(&now)?;
        Some([0, 1, 2].map(|at| shares.of(at)))
    };
    assert_eq!(parts(10), Some([1000, 400, 100]));
    assert_eq!(parts(30), Some([1000, 1000, 700]));
    assert_eq!(parts(40), None);
    let nobody = || panic!("the clock is not looked at any more");
    assert!(warming.shares(&nobody).is_none());
}

proptest! {
    /// Whatever comes and goes, nobody's part ever shrinks while it serves, and nobody jumps over what its age
    /// allows.
    #[test]
    fn a_part_only_grows(steps in proptest::collection::vec((prop::collection::btree_set(1..6_u8, 0..5), 0..20_u64), 1..12)) {
        let start = Instant::now();
        let mut now = start;
        let mut before = backend(&[(9, true)]);
        let mut known = HashMap::new();
        for (others, wait) in steps {
            let parts_of = |known: &HashMap<EndpointId, Instant>, id: &EndpointId, now: Instant| {
                known.get(id).map_or(WHOLE, |from| part(now - *from, SPAN))
            };
            now += Duration::from_secs(wait);
            let mut all: Vec<_> = others.iter().map(|last| (*last, true)).collect();
            all.push((9, true));
            let after = backend(&all);
            let new = since(Some(&before), &known, &after, now);
            for spec in &after.endpoints {
                let was = before.endpoints.iter().any(|b| b.id == spec.id);
                let (old_part, new_part) = (parts_of(&known, &spec.id, now), parts_of(&new, &spec.id, now));
                if was {
                    prop_assert_eq!(old_part, new_part);
                } else {
                    prop_assert_eq!(new_part, FIRST);
                }
            }
            (before, known) = (after, new);
        }
    }
}
