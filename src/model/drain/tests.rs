//! The drain's decisions as tables, and as properties over random histories.

use super::*;
use crate::model::backend::{DrainPolicy, LastEndpoint};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn order(start: Instant, min: u32, timeout: u32) -> Order {
    Order {
        not_before: start + SECOND * min,
        deadline: start + SECOND * timeout,
    }
}

fn draining(since: Instant, order: Order) -> Drain {
    Drain::Draining {
        since,
        generation: 2,
        order,
        empty: None,
        cut: false,
    }
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn the_state_machine_as_a_table() {
    use Action::{CloseGate, CutInFlight, OpenGate, ReportDrained, ReportTimeout};
    let t = Instant::now();
    let at = |seconds: u32| t + SECOND * seconds;
    let plain = order(t, 0, 10);
    let slow = order(t, 5, 10);
    let serving = Drain::Serving { since: t };
    let keeping = Drain::KeepingServing {
        since: t,
        until: at(5),
    };
    let emptied = |generation, seconds| Event::Empty {
        generation,
        at: at(seconds),
    };
    let drained = |since, took, cut| Drain::Drained {
        since,
        took: SECOND * took,
        empty: at(took),
        cut,
    };
    let cut_at = |o: Order| Drain::Draining {
        since: t,
        generation: 2,
        order: o,
        empty: None,
        cut: true,
    };
    let waiting = Drain::Draining {
        since: t,
        generation: 2,
        order: slow,
        empty: Some(at(1)),
        cut: false,
    };
    let rows = [
        (
            "serves on",
            serving,
            Event::Wish(Wish::Serve),
            1,
            serving,
            vec![],
        ),
        (
            "what is spared serves",
            keeping,
            Event::Wish(Wish::Spare),
            6,
            Drain::Serving { since: at(6) },
            vec![],
        ),
        (
            "what was closed is not opened to be spared",
            draining(t, plain),
            Event::Wish(Wish::Spare),
            1,
            draining(t, plain),
            vec![],
        ),
        (
            "drain closes",
            serving,
            Event::Wish(Wish::Drain(plain)),
            0,
            draining(t, plain),
            vec![CloseGate],
        ),
        (
            "cut closes and cuts",
            serving,
            Event::Wish(Wish::Cut),
            0,
            cut_at(order(t, 0, 0)),
            vec![CloseGate, CutInFlight],
        ),
        (
            "the last keeps serving",
            serving,
            Event::Wish(Wish::KeepServing { until: at(5) }),
            0,
            keeping,
            vec![],
        ),
        (
            "a replacement lets it drain",
            keeping,
            Event::Wish(Wish::Drain(plain)),
            0,
            draining(t, plain),
            vec![CloseGate],
        ),
        (
            "withdrawn while keeping",
            keeping,
            Event::Wish(Wish::Serve),
            3,
            Drain::Serving { since: at(3) },
            vec![],
        ),
        (
            "zero ends it",
            draining(t, plain),
            emptied(2, 1),
            1,
            drained(at(1), 1, false),
            vec![ReportDrained],
        ),
        (
            "an old zero confirms nothing",
            draining(t, plain),
            emptied(1, 1),
            1,
            draining(t, plain),
            vec![],
        ),
        (
            "not before its minimum",
            draining(t, slow),
            emptied(2, 1),
            1,
            waiting,
            vec![],
        ),
        (
            "at its minimum",
            waiting,
            Event::Tick,
            5,
            drained(at(5), 1, false),
            vec![ReportDrained],
        ),
        (
            "the deadline cuts",
            draining(t, plain),
            Event::Tick,
            10,
            cut_at(plain),
            vec![CutInFlight, ReportTimeout],
        ),
        (
            "before it nothing",
            draining(t, plain),
            Event::Tick,
            9,
            draining(t, plain),
            vec![],
        ),
        (
            "it cuts once",
            cut_at(plain),
            Event::Tick,
            11,
            cut_at(plain),
            vec![],
        ),
        (
            "cut work still ends",
            cut_at(plain),
            emptied(2, 10),
            10,
            drained(at(10), 10, true),
            vec![ReportDrained],
        ),
        (
            "disabled in mid-drain",
            draining(t, plain),
            Event::Wish(Wish::Cut),
            3,
            cut_at(order(at(3), 0, 0)),
            vec![CutInFlight],
        ),
        (
            "a shorter deadline",
            draining(t, plain),
            Event::Wish(Wish::Drain(order(t, 0, 3))),
            4,
            cut_at(order(t, 0, 3)),
            vec![CutInFlight, ReportTimeout],
        ),
        (
            "closed never keeps serving",
            draining(t, plain),
            Event::Wish(Wish::KeepServing { until: at(5) }),
            1,
            draining(t, plain),
            vec![],
        ),
        (
            "un-drain in mid-drain",
            draining(t, plain),
            Event::Wish(Wish::Serve),
            2,
            Drain::Serving { since: at(2) },
            vec![OpenGate],
        ),
        (
            "un-drain after it",
            drained(at(1), 1, false),
            Event::Wish(Wish::Serve),
            2,
            Drain::Serving { since: at(2) },
            vec![OpenGate],
        ),
        (
            "drained stays so",
            drained(at(1), 1, false),
            Event::Wish(Wish::Cut),
            2,
            drained(at(1), 1, false),
            vec![],
        ),
    ];
    for (name, before, event, now, after, actions) in rows {
        assert_eq!(before.step(event, at(now), 2), (after, actions), "{name}");
    }
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn what_the_causes_ask_for_as_a_table() {
    let t = Instant::now();
    let at = |seconds: u32| t + SECOND * seconds;
    let policy = DrainPolicy {
        timeout: SECOND * 60,
        ..DrainPolicy::default()
    };
    let off = DrainPolicy {
        enabled: false,
        ..policy
    };
    let at_once = DrainPolicy {
        last_endpoint: LastEndpoint::Drain,
        ..policy
    };
    let minimum = DrainPolicy {
        min: SECOND * 5,
        ..policy
    };
    let base = Causes::new(AdminState::Enabled, t);
    let held = Causes {
        held: Some(Held {
            since: t,
            deadline: at(40),
            spare_last: false,
        }),
        ..base.clone()
    };
    let hearsay = Causes {
        held: held.held.map(|held| Held {
            spare_last: true,
            ..held
        }),
        ..base.clone()
    };
    let proved = Causes {
        stopping: Some(StoppingSince {
            since: t,
            until: at(90),
        }),
        ..hearsay.clone()
    };
    let removed = Causes {
        removed: Some(t),
        ..base.clone()
    };
    let stopping = Causes {
        stopping: Some(StoppingSince {
            since: t,
            until: at(30),
        }),
        ..base.clone()
    };
    let stopping_and_held = Causes {
        held: held.held,
        ..stopping.clone()
    };
    let operator = |state, timeout| Causes {
        operator: Some(Operator {
            state,
            since: at(1),
            timeout,
        }),
        ..base.clone()
    };
    let both = Causes {
        held: held.held,
        ..removed.clone()
    };
    let configured = Causes::new(AdminState::Draining, t);
    let drain = |min, deadline| Wish::Drain(order(t, min, deadline));
    let rows = [
        ("nothing", &base, &policy, true, 0, Wish::Serve),
        ("held", &held, &policy, true, 0, drain(0, 40)),
        ("hearsay", &hearsay, &policy, true, 0, drain(0, 40)),
        (
            "hearsay of the last",
            &hearsay,
            &at_once,
            false,
            0,
            Wish::Spare,
        ),
        (
            "hearsay, draining off",
            &hearsay,
            &off,
            false,
            0,
            Wish::Spare,
        ),
        (
            "hearsay, past its deadline",
            &hearsay,
            &policy,
            false,
            41,
            Wish::Spare,
        ),
        (
            "hearsay, and its pod does stop",
            &proved,
            &policy,
            false,
            0,
            Wish::KeepServing { until: at(20) },
        ),
        ("its pod stops", &stopping, &policy, true, 0, drain(0, 30)),
        (
            "its pod stops, the last",
            &stopping,
            &policy,
            false,
            0,
            Wish::KeepServing { until: at(15) },
        ),
        (
            "its pod stops and its hook has called",
            &stopping_and_held,
            &policy,
            true,
            0,
            drain(0, 40),
        ),
        (
            "held, the last",
            &held,
            &policy,
            false,
            0,
            Wish::KeepServing { until: at(20) },
        ),
        (
            "held, the last, half-time",
            &held,
            &policy,
            false,
            20,
            drain(0, 40),
        ),
        (
            "held, the last, told to drain",
            &held,
            &at_once,
            false,
            0,
            drain(0, 40),
        ),
        ("held, draining off", &held, &off, false, 0, Wish::Cut),
        ("removed", &removed, &policy, false, 0, drain(0, 60)),
        (
            "removed and held: the earlier deadline",
            &both,
            &policy,
            false,
            0,
            drain(0, 40),
        ),
        ("minimum", &removed, &minimum, true, 0, drain(5, 60)),
        ("configured", &configured, &policy, true, 0, drain(0, 60)),
        (
            "operator",
            &operator(AdminState::Draining, Some(SECOND * 9)),
            &policy,
            true,
            1,
            Wish::Drain(Order {
                not_before: at(1),
                deadline: at(10),
            }),
        ),
        (
            "disabled",
            &operator(AdminState::Disabled, None),
            &policy,
            true,
            1,
            Wish::Cut,
        ),
    ];
    for (name, causes, policy, replaceable, now, expected) in rows {
        assert_eq!(
            wish(causes, policy, replaceable, at(now)),
            expected,
            "{name}"
        );
    }
}

fn any_event() -> impl Strategy<Value = (u32, u8, u32, u32)> {
    // (milliseconds that pass, what happens, two numbers for it)
    (0..3000u32, 0..6u8, 0..8u32, 0..8u32)
}

proptest! {
    /// Whatever happens: an endpoint is drained only after a zero of the very generation in which its
    /// gate was closed; it is cut at most once a drain and never before its deadline unless told to;
    /// the gate's state and the machine's agree.
    #[test]
    fn no_history_confirms_a_drain_that_was_not_seen(history in proptest::collection::vec(any_event(), 1..60)) {
        let mut now = Instant::now();
        let mut drain = Drain::Serving { since: now };
        let (mut open, mut generation, mut zero_in) = (true, 1u64, None);
        let mut cut_told = false;
        for (pass, kind, a, b) in history {
            now += Duration::from_millis(pass.into());
            let event = match kind {
                0 => Event::Wish(Wish::Serve),
                1 => Event::Wish(Wish::Drain(order(now, a, b))),
                2 => { cut_told = true; Event::Wish(Wish::Cut) }
                3 => {
                    let seen = generation.saturating_sub(u64::from(a % 3));
                    if seen == generation && !open { zero_in = Some(seen); }
                    Event::Empty { generation: seen, at: now }
                }
                4 => Event::Wish(Wish::KeepServing { until: now + SECOND * a }),
                _ => Event::Tick,
            };
            let before = drain;
            let (after, actions) = drain.step(event, now, generation + 1);
            drain = after;
            for action in actions {
                match action {
                    Action::CloseGate => { prop_assert!(open); open = false; generation += 1; }
                    Action::OpenGate => { prop_assert!(!open); open = true; generation += 1; cut_told = false; }
                    Action::CutInFlight => {
                        let due = matches!(after, Drain::Draining { order, .. } if now >= order.deadline);
                        prop_assert!(cut_told || due, "cut before the deadline");
                        prop_assert!(!matches!(before, Drain::Draining { cut: true, .. }), "cut twice");
                    }
                    Action::ReportDrained => prop_assert_eq!(zero_in, Some(generation)),
                    Action::ReportTimeout => {}
                }
            }
            prop_assert_eq!(drain.is_open(), open);
            if let Drain::Draining { generation: own, .. } = drain { prop_assert_eq!(own, generation); }
        }
    }
}
