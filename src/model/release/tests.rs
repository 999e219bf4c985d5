//! The release protocol as tables, and as properties over random histories.

use super::*;
use crate::model::{Member, ObjectName};
use proptest::prelude::*;
use std::time::Duration;

fn endpoint(port: u16) -> EndpointId {
    EndpointId {
        backend: ObjectName::new("default", "web"),
        member: Member::Static(([127, 0, 0, 1], port).into()),
    }
}

fn asked(member: &str, port: u16, generation: u64) -> Event {
    Event::Asked {
        member: member.into(),
        endpoint: endpoint(port),
        generation,
    }
}

fn confirmed(member: &str, port: u16, generation: u64) -> Event {
    Event::Confirmed {
        member: member.into(),
        endpoint: endpoint(port),
        generation,
        cut: false,
    }
}

/// A name, the members, and what happens when with which verdict.
type Row = (
    &'static str,
    &'static [&'static str],
    Vec<(Event, u64, Verdict)>,
);

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn law_1_a_hold_ends_when_every_member_has_confirmed_every_endpoint_or_at_its_deadline() {
    use Verdict::{Deadline, Drained, Waiting};
    let both: &[&str] = &["a", "b"];
    let left = |gone| Event::Left("b".into(), gone);
    let rows: Vec<Row> = vec![
        (
            "one member",
            &["a"],
            vec![
                (asked("a", 1, 2), 0, Waiting),
                (confirmed("a", 1, 2), 0, Waiting),
                (confirmed("a", 2, 2), 0, Drained),
            ],
        ),
        (
            "two members",
            both,
            vec![
                (confirmed("a", 1, 2), 0, Waiting),
                (confirmed("a", 2, 2), 0, Waiting),
                (confirmed("b", 1, 2), 0, Waiting),
                (confirmed("b", 2, 2), 1, Drained),
            ],
        ),
        (
            "a zero of an older generation",
            &["a"],
            vec![
                (asked("a", 1, 4), 0, Waiting),
                (confirmed("a", 2, 2), 0, Waiting),
                (confirmed("a", 1, 2), 0, Waiting),
                (confirmed("a", 1, 4), 0, Drained),
            ],
        ),
        (
            "re-opened and closed again",
            &["a"],
            vec![
                (confirmed("a", 1, 2), 0, Waiting),
                (asked("a", 1, 4), 0, Waiting),
                (confirmed("a", 2, 2), 0, Waiting),
                (confirmed("a", 1, 4), 0, Drained),
            ],
        ),
        (
            "a member that comes in the middle counts",
            &["a"],
            vec![
                (confirmed("a", 1, 2), 0, Waiting),
                (Event::Joined("b".into()), 0, Waiting),
                (confirmed("a", 2, 2), 0, Waiting),
                (confirmed("b", 1, 1), 0, Waiting),
                (confirmed("b", 2, 1), 0, Drained),
            ],
        ),
        (
            "goodbye",
            both,
            vec![
                (confirmed("a", 1, 2), 0, Waiting),
                (confirmed("a", 2, 2), 0, Waiting),
                (left(Gone::Goodbye), 0, Drained),
            ],
        ),
        (
            "the last member cannot be waited out",
            &["b"],
            vec![
                (left(Gone::GivenUp), 0, Waiting),
                (Event::Tick, 10, Deadline),
            ],
        ),
        (
            "deadline",
            both,
            vec![
                (confirmed("a", 1, 2), 9, Waiting),
                (Event::Tick, 10, Deadline),
                (confirmed("b", 1, 2), 11, Deadline),
            ],
        ),
        (
            "a stranger's word counts for nothing",
            &["a"],
            vec![
                (confirmed("x", 1, 2), 0, Waiting),
                (confirmed("x", 2, 2), 0, Waiting),
            ],
        ),
    ];
    let start = Instant::now();
    for (name, members, events) in rows {
        let mut release = Release::new(
            [endpoint(1), endpoint(2)],
            members.iter().map(ToString::to_string),
            start + Duration::from_secs(10),
        );
        for (n, (event, at, verdict)) in events.into_iter().enumerate() {
            let got = release.step(event, start + Duration::from_secs(at));
            assert_eq!(got, verdict, "{name}, event {n}");
        }
    }
}

#[test]
fn work_that_was_cut_by_order_is_not_called_drained() {
    let now = Instant::now();
    let deadline = now + Duration::from_secs(1);
    let cut = Event::Confirmed {
        member: "a".into(),
        endpoint: endpoint(1),
        generation: 2,
        cut: true,
    };
    for (at, verdict) in [(now, Verdict::Cut), (deadline, Verdict::Deadline)] {
        let mut release = Release::new([endpoint(1)], ["a".to_owned()], deadline);
        assert_eq!(release.step(cut.clone(), at), verdict);
    }
}

proptest! {
    /// However events come, a hold is never drained while a member that is there has an endpoint
    /// whose latest ask it has not confirmed.
    #[test]
    fn never_released_early(events in proptest::collection::vec((0..5u8, 0..3u8, 0..2u16, 0..6u64), 0..60)) {
        let now = Instant::now();
        let name = |m: u8| ["a", "b", "c"][usize::from(m)].to_owned();
        let mut release = Release::new([endpoint(0), endpoint(1)], [name(0)], now + Duration::from_secs(1));
        let mut asked_at: BTreeMap<(u8, u16), u64> = BTreeMap::new();
        let mut seen: BTreeMap<(u8, u16), u64> = BTreeMap::new();
        let mut members = BTreeSet::from([0u8]);
        for (kind, m, e, generation) in events {
            let event = match kind {
                0 => { members.insert(m); Event::Joined(name(m)) }
                1 => {
                    members.remove(&m);
                    asked_at.retain(|k, _| k.0 != m);
                    seen.retain(|k, _| k.0 != m);
                    Event::Left(name(m), Gone::Goodbye)
                }
                2 => {
                    if members.contains(&m) { let a = asked_at.entry((m, e)).or_default(); *a = (*a).max(generation); }
                    asked(&name(m), e, generation)
                }
                3 => {
                    if members.contains(&m) { let s = seen.entry((m, e)).or_default(); *s = (*s).max(generation); }
                    confirmed(&name(m), e, generation)
                }
                _ => Event::Tick,
            };
            let verdict = release.step(event, now);
            if verdict == Verdict::Drained {
                for m in &members {
                    for e in 0..2 {
                        let asked = asked_at.get(&(*m, e)).copied().unwrap_or(0);
                        prop_assert!(seen.get(&(*m, e)).is_some_and(|s| *s >= asked));
                    }
                }
                return Ok(());
            }
        }
    }
}
