//! `lastcall rollout`: pods that were made while the webhook did not see them are moved under load, and lose nothing.

use std::process::Child;

use crate::app::App;
use crate::clients::{Done, User, admin_state};
use crate::cluster::{LIMIT, Namespace, object, text, wait_until};
use crate::command::run;
use crate::installation::{Installed, Mode, shared};
use crate::objects::{Wanted, balancing, service, stateful_set};

/// The webhooks leave a namespace out that has this label.
const NO_WEBHOOK: &str = "lastcall.dev/drain=disabled";

fn prepare<'a>(installed: &'a Installed, purpose: &str) -> App<'a> {
    App::prepare(installed, Namespace::new(purpose, &[NO_WEBHOOK]))
}

/// From now on the webhook sees the namespace's pods, as after an installation.
fn install_webhook(app: &App) {
    run(
        "kubectl",
        &["label", "namespace", &app.space.name, "lastcall.dev/drain-"],
    );
}

/// An app whose pods are older than the webhook.
#[track_caller]
fn older<'a>(installed: &'a Installed, purpose: &str, replicas: u32) -> App<'a> {
    let mut app = prepare(installed, purpose);
    app.apply(&Wanted {
        replicas,
        ..Wanted::default()
    });
    app.reach();
    install_webhook(&app);
    app
}

/// Pods that were stopped, none of them with anything in flight.
#[track_caller]
fn stopped_clean(app: &App, count: usize) {
    let judge = app.judge();
    let in_flight: Vec<_> = judge
        .stopped()
        .map(|life| life.summary().in_flight_at_sigterm)
        .collect();
    assert_eq!(in_flight, vec![Some(0); count]);
}

#[track_caller]
fn actions(done: &Done) -> Vec<String> {
    let rolled = done.json();
    let pods = rolled["pods"].as_array().unwrap();
    pods.iter()
        .map(|pod| text(pod, "/action").to_owned())
        .collect()
}

#[track_caller]
fn all_held(app: &App, user: &User) {
    let held = user.lastcall(&format!("rollout {} -o json", app.workload));
    held.with(0);
    assert!(
        actions(&held).iter().all(|action| action == "LeftAlone"),
        "{held:?}"
    );
    for pod in app.pods() {
        let hook = pod.pointer("/spec/containers/0/lifecycle/preStop/exec");
        assert!(hook.is_some(), "{pod}");
    }
}

#[test]
fn a_deployments_older_pods_are_moved_without_a_lost_request() {
    let lastcall = shared(Mode::Exec);
    let app = older(&lastcall, "older", 4);
    let user = User::new(&app.space, "ann", "edit", true);
    let before = app.staying();
    let survey = user.lastcall("rollout --dry-run -o json");
    survey.with(0);
    assert_eq!(actions(&survey), ["WouldMove"; 4]);
    let first = &survey.json()["pods"][0];
    let backend = format!("{}/app", app.space.name);
    assert_eq!(text(first, "/backends/0"), backend);
    assert_eq!(text(first, "/reasons/0/reason"), "NoHook");
    assert_eq!(app.staying(), before, "a dry run changes nothing");

    let load = app.load();
    let done = user.lastcall("rollout deployment/app -o json");
    done.with(0);
    println!("{}", done.said);
    assert_eq!(actions(&done), ["Moved"; 4]);
    app.settle(4);
    load.wait_for_more(40);
    load.end().nothing_failed();
    stopped_clean(&app, 4);
    assert!(app.staying().iter().all(|pod| !before.contains(pod)));
    all_held(&app, &user);
}

#[test]
fn a_stateful_sets_older_pods_are_moved_without_a_lost_request() {
    let lastcall = shared(Mode::Exec);
    let mut app = prepare(&lastcall, "older-set");
    app.workload = "statefulset/app";
    let wanted = Wanted {
        replicas: 2,
        ..Wanted::default()
    };
    let set = app.with_made(|made| stateful_set(&wanted, made));
    let parts = [balancing(&wanted), service().to_owned(), set];
    app.space.apply(&parts.join("---\n"));
    app.reach();
    install_webhook(&app);
    let user = User::new(&app.space, "ann", "edit", true);
    let load = app.load();
    let done = user.lastcall("rollout statefulset/app -o json");
    done.with(0);
    assert_eq!(actions(&done), ["Moved"; 2]);
    load.wait_for_more(40);
    load.end().nothing_failed();
    stopped_clean(&app, 2);
    all_held(&app, &user);
}

/// The only pod could be moved by losing requests only. It is refused, and what the refusal advises loses none.
#[test]
fn an_only_pod_is_refused_and_the_advice_moves_it_without_a_lost_request() {
    let lastcall = shared(Mode::Exec);
    let app = older(&lastcall, "only", 1);
    let user = User::new(&app.space, "ann", "edit", true);
    let only = app.staying().remove(0);
    let load = app.load();
    let refused = user.lastcall("rollout deployment/app");
    refused.saying("only endpoint of Backend").with(1);
    let scale = format!(
        "kubectl scale deployment/app --namespace {} --replicas=2",
        app.space.name
    );
    refused.saying(&scale);
    assert_eq!(admin_state(&app.space, &only), "");

    let words: Vec<&str> = scale.split(' ').collect();
    run(words[0], &words[1..]);
    let done = user.lastcall("rollout deployment/app -o json");
    done.with(0);
    app.space
        .kubectl(&["scale", "deployment/app", "--replicas=1"]);
    app.settle(1);
    load.wait_for_more(40);
    load.end().nothing_failed();
    stopped_clean(&app, 2);
    all_held(&app, &user);

    let pod = app.staying().remove(0);
    user.lastcall(&format!("rollout pod/{pod}"))
        .saying("lastcall rollout deployment/app")
        .with(2);
}

const NEVER: &str = "apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: app}
spec: {maxUnavailable: 0, selector: {matchLabels: {app: app}}}
";

#[test]
fn a_pod_that_cannot_be_moved_is_put_back_and_serves() {
    let lastcall = shared(Mode::Exec);
    let app = older(&lastcall, "put-back", 2);
    app.space.apply(NEVER);
    let user = User::new(&app.space, "ann", "edit", true);
    let before = app.staying();
    let load = app.load();
    // Its drain takes up to 15 s under this load.
    let refused = user.lastcall("rollout deployment/app --timeout 30s -o json");
    refused.saying("disruption budget").with(3);
    assert_eq!(actions(&refused), ["PutBack", "NotBegun"]);
    in_service(&app, &user, &before);

    let line = "rollout deployment/app -o json";
    let running = user.begin(line);
    let marked = wait_until("a pod that drains", LIMIT, || {
        let drains = |pod: &&String| admin_state(&app.space, pod) == "Draining";
        before.iter().find(drains).ok_or("none")
    });
    assert!(before.contains(marked));
    let interrupted = interrupt(line, running);
    assert_eq!(actions(&interrupted), ["PutBack", "NotBegun"]);
    interrupted.with(130);
    in_service(&app, &user, &before);
    load.wait_for_more(40);
    load.end().nothing_failed();
    stopped_clean(&app, 0);
}

#[track_caller]
fn interrupt(line: &str, running: Child) -> Done {
    run("kill", &["-INT", &running.id().to_string()]);
    Done::of(line, running.wait_with_output().unwrap())
}

/// The same pods as before, all in service.
#[track_caller]
fn in_service(app: &App, user: &User, pods: &[String]) {
    assert_eq!(app.staying(), pods);
    for pod in pods {
        assert_eq!(admin_state(&app.space, pod), "");
    }
    user.lastcall("wait be/app --for=in-service --timeout 30s")
        .with(0);
    let backend = object(&app.space.name, &["backend", "app"]).unwrap();
    assert_eq!(
        backend
            .pointer("/status/unprotected")
            .and_then(serde_json::Value::as_u64),
        Some(2)
    );
}
