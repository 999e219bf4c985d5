//! An app of one pod: the last endpoint keeps serving until its replacement is ready.

use crate::app::App;
use crate::installation::{Mode, shared};
use crate::objects::Wanted;
use crate::scale::evict;

fn one() -> Wanted {
    Wanted {
        replicas: 1,
        ..Wanted::default()
    }
}

#[track_caller]
fn restart(app: &App) {
    let load = app.load();
    app.space.kubectl(&["rollout", "restart", "deployment/app"]);
    app.rolled_out();
    app.settle(1);
    load.wait_for_more(40);
    load.end().nothing_failed();
    app.judge().clean(1);
}

#[track_caller]
fn eviction(app: &App) {
    let load = app.load();
    // Unlike an update, an eviction ends the only pod before there is another.
    evict(&app.space, &app.staying()[0]);
    app.settle(1);
    load.wait_for_more(40);
    load.end().nothing_failed();
    app.judge().clean(1);
}

#[test]
fn a_single_replica_is_restarted_without_a_gap_in_exec_mode() {
    let lastcall = shared(Mode::Exec);
    restart(&App::deploy(&lastcall, "single", &one()));
}

#[test]
fn a_single_replica_is_restarted_without_a_gap_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    restart(&App::deploy(&lastcall, "single-get", &one()));
}

#[test]
fn a_single_replica_is_evicted_without_a_gap_in_exec_mode() {
    let lastcall = shared(Mode::Exec);
    eviction(&App::deploy(&lastcall, "single-evict", &one()));
}

#[test]
fn a_single_replica_is_evicted_without_a_gap_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    eviction(&App::deploy(&lastcall, "single-evict-get", &one()));
}
