//! A pod that leaves its Backend and goes on living.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::cluster::{LIMIT, text, wait_until};
use crate::collector::Life;
use crate::installation::{Mode, shared};
use crate::objects::Wanted;

fn life(app: &App, uid: &str) -> Life {
    let lives = app.collector.lives();
    lives.into_iter().find(|life| life.uid == uid).unwrap()
}

#[test]
fn a_pod_whose_label_changes_drains_and_is_not_held_afterwards() {
    let lastcall = shared(Mode::Exec);
    let app = App::deploy(&lastcall, "leaving", &Wanted::default());
    let load = app.load();
    let pod = app.pods().remove(0);
    let (name, uid) = (text(&pod, "/metadata/name"), text(&pod, "/metadata/uid"));
    app.space
        .kubectl(&["label", "pod", name, "--overwrite", "app=left"]);
    // Its replacement is a fifth pod for a while.
    wait_until("nothing in flight and nothing new", LIMIT, || {
        let before = life(&app, uid).summary();
        load.wait_for_more(20);
        let after = life(&app, uid).summary();
        (after.in_flight == 0 && after.begun == before.begun)
            .then_some(())
            .ok_or((before.begun, after.begun, after.in_flight))
    });
    let asked = Instant::now();
    app.space.kubectl(&["delete", "pod", name, "--timeout=60s"]);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(15), "took {took:?}");
    app.rolled_out();
    load.end().nothing_failed();
    let life = life(&app, uid).summary();
    assert_eq!(life.in_flight_at_sigterm, Some(0));
}
