//! The main job under open-loop load: a server leaves, and nobody notices. The judge is not lastcall: the
//! clients count every request, and the server's own record says what was in flight at its SIGTERM. The
//! control is the same with draining disabled, where the same load must see failures.
//!
//! Three quarters of the requests are POSTs, which nobody replays: a loss cannot hide (PITFALLS 46).

#[path = "proxy/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use support::load::{Failure, Load};
use support::plan::{Outline, Shares};
use support::record::Summary;
use support::{App, Config, Lastcall, wait_until};

/// Enough in flight for a loss to be certain where nobody waits.
const IN_FLIGHT: u64 = 20;
const LIMIT: Duration = Duration::from_secs(30);

/// What was seen of one server that left under load.
struct Left {
    requests: usize,
    failures: Vec<(u64, Failure)>,
    record: Summary,
    hook: serde_json::Value,
}

/// Sends the plan on a thread of its own.
fn send(target: SocketAddr) -> std::thread::JoinHandle<(usize, Vec<(u64, Failure)>)> {
    let plan = Outline {
        seed: 11,
        rate: 200.0,
        lasts: Duration::from_secs(6),
        longest: Duration::from_secs(3),
        shares: Shares::default(),
        burst: None,
    }
    .draw();
    let load = Load {
        target,
        host: "shop.example.com".to_owned(),
        patience: Duration::from_secs(10),
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let outcomes = runtime.block_on(load.run(&plan, &Arc::default()));
        assert_eq!(outcomes.len(), plan.len());
        let failures = outcomes
            .iter()
            .filter_map(|one| one.failure.map(|failure| (one.id, failure)));
        (outcomes.len(), failures.collect())
    })
}

fn leave_under_load(draining: bool) -> Left {
    let (stays, mut leaves) = (App::start("stays"), App::start("leaves"));
    let config = Config::new(&[stays.address, leaves.address]).load_balancer(&format!(
        "connectionDraining: {{enabled: {draining}, timeoutSeconds: 20}}"
    ));
    let mut lastcall = Lastcall::start(config.clone());
    let sending = send(lastcall.address);
    wait_until("requests in flight", LIMIT, || match leaves.seen() {
        seen if seen.in_flight >= IN_FLIGHT => Ok(()),
        seen => Err(seen),
    });
    let hook = lastcall.hold(leaves.address, Duration::from_secs(25));
    let (code, hook) = hook.released(LIMIT);
    assert_eq!(code, 0, "{hook}");
    let record = leaves.terminate();
    lastcall.reload(config.endpoints("web", &[stays.address]));
    let (requests, failures) = sending.join().unwrap();
    Left {
        requests,
        failures,
        record,
        hook,
    }
}

#[test]
fn a_server_that_drains_under_load_loses_nothing() {
    let left = leave_under_load(true);
    assert_eq!(left.failures, [], "of {} requests", left.requests);
    assert_eq!(left.hook["cause"], "Drained", "{}", left.hook);
    assert_eq!(left.hook["cut"], 0, "{}", left.hook);
    assert_eq!(
        left.record.in_flight_at_sigterm,
        Some(0),
        "{:?}",
        left.record
    );
    assert_eq!(left.record.broken, 0, "{:?}", left.record);
}

#[test]
fn with_draining_disabled_the_same_load_sees_failures() {
    let left = leave_under_load(false);
    // Between the look and the hook's call some of them were answered.
    let failed = left.failures.len() as u64;
    assert!(
        failed >= IN_FLIGHT / 2,
        "{failed} of {} failed",
        left.requests
    );
    assert_eq!(left.hook["cause"], "Cut", "{}", left.hook);
    // Law 8: every request that a client lost is a cut that was counted.
    assert_eq!(left.hook["cut"], failed, "{:?}", left.failures);
}
