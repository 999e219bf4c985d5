//! Pods that go one by one or many at once: scaling, deletion, eviction.

use std::time::Duration;

use crate::app::App;
use crate::cluster::{LIMIT, Namespace, wait_until};
use crate::installation::{Mode, shared};
use crate::objects::Wanted;

#[track_caller]
fn down_to_one_and_up_again(app: &App) {
    let load = app.load();
    app.space
        .kubectl(&["scale", "deployment/app", "--replicas=1"]);
    app.settle(1);
    load.wait_for_more(40);
    app.space
        .kubectl(&["scale", "deployment/app", "--replicas=4"]);
    app.rolled_out();
    load.wait_for_more(80);
    load.end().nothing_failed();
    app.judge().clean(3);
}

#[test]
fn scaling_in_and_out_loses_nothing_in_exec_mode() {
    let lastcall = shared(Mode::Exec);
    down_to_one_and_up_again(&App::deploy(&lastcall, "scale", &Wanted::default()));
}

#[test]
fn scaling_in_and_out_loses_nothing_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    down_to_one_and_up_again(&App::deploy(&lastcall, "scale-get", &Wanted::default()));
}

#[track_caller]
fn delete_one(app: &App) {
    let load = app.load();
    let pod = app.staying().remove(0);
    app.space.kubectl(&["delete", "pod", &pod]);
    app.settle(4);
    load.wait_for_more(40);
    load.end().nothing_failed();
    app.judge().clean(1);
}

#[test]
fn deleting_a_pod_loses_nothing_in_exec_mode() {
    let lastcall = shared(Mode::Exec);
    delete_one(&App::deploy(&lastcall, "delete", &Wanted::default()));
}

#[test]
fn deleting_a_pod_loses_nothing_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    delete_one(&App::deploy(&lastcall, "delete-get", &Wanted::default()));
}

/// What `kubectl drain` asks for one pod; a budget that is used up says 429, and it asks again.
#[track_caller]
pub fn evict(space: &Namespace, pod: &str) {
    let name = &space.name;
    let path = format!("/api/v1/namespaces/{name}/pods/{pod}/eviction");
    let eviction = format!(
        r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{pod}","namespace":"{name}"}}}}"#
    );
    wait_until("an eviction", LIMIT, || {
        let asked = space.attempt(&["create", "--raw", &path, "-f", "-"], &eviction);
        asked.inspect_err(|_| std::thread::sleep(Duration::from_secs(1)))
    });
}

const BUDGET: &str = "apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: app}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: app}}}
";

#[track_caller]
fn evict_all(app: &App) {
    app.space.apply(BUDGET);
    let load = app.load();
    for pod in app.staying() {
        evict(&app.space, &pod);
    }
    app.settle(4);
    load.wait_for_more(40);
    load.end().nothing_failed();
    app.judge().clean(4);
}

#[test]
fn evictions_under_a_budget_lose_nothing_in_exec_mode() {
    let lastcall = shared(Mode::Exec);
    evict_all(&App::deploy(&lastcall, "evict", &Wanted::default()));
}

#[test]
fn evictions_under_a_budget_lose_nothing_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    evict_all(&App::deploy(&lastcall, "evict-get", &Wanted::default()));
}
