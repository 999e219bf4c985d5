//! How long a pod waits for SIGTERM after its last byte, by its own record.

use std::time::Duration;

use crate::app::App;
use crate::command::say;
use crate::flow::{Steady, mixed, short_or_long, with_long_streams};
use crate::installation::{Mode, alone};
use crate::objects::Wanted;

const PODS: u32 = 10;
/// The hook of a pod asks a second or more after its deletion, and by then its gate is closed: what is to be in flight
/// when it asks has to last longer than that.
const STREAM: Duration = Duration::from_secs(8);

/// A drain that had something in flight when its hook asked.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// From the last byte to SIGTERM.
    whole: Duration,
    /// Of it, until lastcall let go.
    own: Duration,
}

fn waits(app: &App) -> Vec<Wait> {
    let judge = app.judge();
    let waits = judge.stopped().filter_map(|life| {
        let release = judge.release(life)?;
        let summary = life.summary();
        let (sigterm, left) = (summary.sigterm?, summary.last_left?);
        let asked = release
            .at
            .saturating_sub(u64::try_from(release.held.as_micros()).ok()?);
        (left > asked).then(|| Wait {
            whole: Duration::from_micros(sigterm - left),
            own: Duration::from_micros(release.at.saturating_sub(left)),
        })
    });
    waits.collect()
}

/// The median and the longest.
fn spread(waits: &[Wait], part: impl Fn(&Wait) -> Duration) -> (Duration, Duration) {
    let mut sorted: Vec<Duration> = waits.iter().map(part).collect();
    sorted.sort();
    (sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

#[test]
fn sigterm_comes_right_after_the_last_byte() {
    let drains = short_or_long(10, 100);
    let lastcall = alone(Mode::Exec);
    let wanted = Wanted {
        replicas: PODS,
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "latency", &wanted);
    let load = Steady::start(app.address(), |seed| {
        let plan = mixed(seed, 40.0, Duration::from_secs(5), Duration::from_secs(1));
        with_long_streams(plan, 1, STREAM)
    });
    load.wait_for_more(120);
    let mut seen = Vec::new();
    let mut restarts = 0;
    while seen.len() < drains && restarts < 3 * drains / PODS as usize {
        app.space.kubectl(&["rollout", "restart", "deployment/app"]);
        app.rolled_out();
        restarts += 1;
        seen = waits(&app);
        println!(
            "after {restarts} restarts {} drains with something in flight",
            seen.len()
        );
    }
    load.end().nothing_failed();
    assert!(
        seen.len() >= drains,
        "only {} drains had something in flight",
        seen.len()
    );
    let (median, max) = spread(&seen, |wait| wait.whole);
    say(&format!(
        "from the last byte to SIGTERM, {} drains: median {median:?}, max {max:?}; until lastcall let go: {:?}",
        seen.len(),
        spread(&seen, |wait| wait.own),
    ));
    assert!(median < Duration::from_millis(250), "median {median:?}");
    assert!(max < Duration::from_secs(3), "max {max:?}");
}
