//! How long a pod waits for SIGTERM after its last byte, by its own record.

use std::time::Duration;

use crate::app::App;
use crate::flow::{Steady, mixed};
use crate::installation::{Mode, alone};
use crate::objects::Wanted;

/// Drains that are measured.
const DRAINS: usize = 100;
const PODS: u32 = 10;

/// Of the pods that had something in flight when they were asked to end.
fn waits(app: &App) -> Vec<Duration> {
    let judge = app.judge();
    let mut waits: Vec<Duration> = judge
        .stopped()
        .filter_map(|life| {
            let release = judge.release(life)?;
            let summary = life.summary();
            let (sigterm, left) = (summary.sigterm?, summary.last_left?);
            let asked = release
                .at
                .saturating_sub(u64::try_from(release.held.as_micros()).ok()?);
            (left > asked).then(|| Duration::from_micros(sigterm - left))
        })
        .collect();
    waits.sort();
    waits
}

#[test]
#[ignore = "it finds too few drains with something in flight to measure 100 of them"]
fn sigterm_comes_right_after_the_last_byte() {
    let lastcall = alone(Mode::Exec);
    let wanted = Wanted {
        replicas: PODS,
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "latency", &wanted);
    let load = Steady::start(app.address(), |seed| {
        mixed(seed, 60.0, Duration::from_secs(5), Duration::from_secs(3))
    });
    load.wait_for_more(120);
    let mut seen = Vec::new();
    for _ in 0..2 * DRAINS / 10 {
        app.space.kubectl(&["rollout", "restart", "deployment/app"]);
        app.rolled_out();
        seen = waits(&app);
        if seen.len() >= DRAINS {
            break;
        }
    }
    load.end().nothing_failed();
    assert!(
        seen.len() >= DRAINS,
        "only {} drains had something in flight",
        seen.len()
    );
    let (median, max) = (seen[seen.len() / 2], seen[seen.len() - 1]);
    println!(
        "from the last byte to SIGTERM, {} drains: median {median:?}, max {max:?}",
        seen.len()
    );
    assert!(median < Duration::from_millis(250), "median {median:?}");
    assert!(max < Duration::from_secs(3), "max {max:?}");
}
