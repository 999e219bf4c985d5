//! Holds that end by time, not by the last byte: the drain timeout, a grace period that is shortened, a pod that is deleted
//! by force. Each is seen: by the client, in the app's record, in Events and metrics.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::cluster::{LIMIT, Namespace, wait_until};
use crate::collector::Life;
use crate::flow::{Ended, Flow};
use crate::installation::{Mode, alone, shared};
use crate::objects::Wanted;
use crate::support::load::Failure;
use crate::support::plan::{Planned, Work};

/// Longer than any deadline of these tests.
const LONG: Duration = Duration::from_secs(50);

/// One request that is being answered for so long, and one that is not answered before.
fn two_long_requests(app: &App) -> Flow {
    let works = [
        Work::Stream {
            over: LONG,
            bytes: 64 * 1024,
        },
        Work::Answer {
            delay: LONG,
            bytes: 10,
        },
    ];
    let plan = works.into_iter().zip(0..).map(|(work, id)| Planned {
        id,
        at: Duration::ZERO,
        post: true,
        fresh: true,
        work,
    });
    let flow = Flow::start(app.address(), plan.collect());
    wait_until("both requests in flight", LIMIT, || {
        let seen = only_life(app).summary().in_flight;
        (seen == 2).then_some(()).ok_or(seen)
    });
    flow
}

fn only_life(app: &App) -> Life {
    app.collector.lives().first().cloned().unwrap_or_default()
}

/// What is being answered is reset, so that nobody takes it for whole; what is not is told so.
#[track_caller]
fn are_cut(ended: &Ended) {
    let failures: Vec<Failure> = ended
        .failed
        .iter()
        .filter_map(|one| one.outcome.failure)
        .collect();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(
        matches!(failures[0], Failure::Reset | Failure::Short),
        "{failures:?}"
    );
    assert_eq!(failures[1], Failure::Status(503));
}

fn one(drain: u32, grace: u32) -> Wanted {
    Wanted {
        replicas: 1,
        drain,
        grace,
        ..Wanted::default()
    }
}

fn events(space: &Namespace, reason: &str) -> String {
    let selector = format!("--field-selector=reason={reason}");
    space.kubectl(&["get", "events", &selector, "-o", "wide", "--no-headers"])
}

#[test]
fn what_outlives_the_drain_timeout_is_cut_and_seen() {
    let lastcall = alone(Mode::Exec);
    let app = App::deploy(&lastcall, "deadline", &one(5, 10));
    let before = lastcall.metric("lastcall_cuts_total");
    let flow = two_long_requests(&app);
    let pod = app.staying().remove(0);
    let asked = Instant::now();
    app.space.kubectl(&["delete", "pod", &pod, "--wait=false"]);
    let ended = flow.end();
    let took = asked.elapsed();
    are_cut(&ended);
    assert!(took >= Duration::from_secs(4), "cut after {took:?}");
    assert!(took < Duration::from_secs(15), "cut after {took:?}");
    wait_until("SIGTERM", LIMIT, || {
        only_life(&app).sigterm().ok_or("no SIGTERM")
    });
    let judge = app.judge();
    let release = judge.release(&only_life(&app)).expect("a release").clone();
    assert_eq!(release.message, "released at the deadline");
    assert!(release.cut >= 2, "{release:?}");
    wait_until("an Event", LIMIT, || {
        let seen = events(&app.space, "DrainTimedOut");
        (!seen.is_empty()).then_some(()).ok_or(seen)
    });
    assert!(lastcall.metric("lastcall_cuts_total") >= before + 2.0);
}

#[test]
fn a_grace_period_that_is_shortened_shortens_the_hold() {
    let lastcall = shared(Mode::Exec);
    let app = App::deploy(&lastcall, "shortened", &one(60, 10));
    let flow = two_long_requests(&app);
    let pod = app.staying().remove(0);
    app.space.kubectl(&["delete", "pod", &pod, "--wait=false"]);
    wait_until("the hold", LIMIT, || {
        lastcall.has_logged("hold started", &only_life(&app).uid)
    });
    let asked = Instant::now();
    app.space
        .kubectl(&["delete", "pod", &pod, "--wait=false", "--grace-period=12"]);
    let ended = flow.end();
    let took = asked.elapsed();
    assert_eq!(ended.failed.len(), 2);
    assert!(took < Duration::from_secs(16), "held {took:?} longer");
    let life = wait_until("the end of the record", LIMIT, || {
        let life = only_life(&app);
        life.over.then_some(life).ok_or("still there")
    });
    // Time was left for the app's own handling of it.
    assert!(life.sigterm().is_some(), "killed without SIGTERM");
}

#[test]
fn a_pod_that_is_deleted_by_force_leaves_nothing_behind() {
    let lastcall = alone(Mode::Exec);
    let app = App::deploy(&lastcall, "forced", &one(60, 10));
    let flow = two_long_requests(&app);
    let pod = app.staying().remove(0);
    app.space
        .kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]);
    // The kubelet ends it at once; nobody can save what is in flight there.
    assert_eq!(flow.end().failed.len(), 2);
    wait_until("no hold", LIMIT, || {
        let holds = lastcall.metric("lastcall_holds");
        (holds == 0.0).then_some(()).ok_or(holds)
    });
    app.settle(1);
    app.rolled_out();
    app.load().end().nothing_failed();
}
