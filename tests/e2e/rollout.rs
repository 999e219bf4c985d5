//! `kubectl rollout restart` under load.

use std::fs;

use crate::app::App;
use crate::cluster::Namespace;
use crate::command::run;
use crate::installation::{Installed, Mode, shared};
use crate::objects::{Wanted, balancing, deployment, service};

/// Two rolling updates of four pods lose no request and cut none.
#[track_caller]
fn two_updates(app: &App) {
    let load = app.load();
    for _ in 0..2 {
        app.space.kubectl(&["rollout", "restart", "deployment/app"]);
        app.rolled_out();
        // Those that were replaced are held for as long as their streams last.
        app.settle(4);
    }
    load.wait_for_more(40);
    load.end().nothing_failed();
    app.judge().clean(8);
}

#[test]
fn a_rolling_update_loses_nothing_in_exec_mode() {
    let lastcall = shared(Mode::Exec);
    two_updates(&App::deploy(&lastcall, "rollout", &Wanted::default()));
}

#[test]
fn a_rolling_update_loses_nothing_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    two_updates(&App::deploy(&lastcall, "rollout-get", &Wanted::default()));
}

/// An app and what makes lastcall serve it come at the same moment: who is first is not told. The namespace says that its
/// pods shall be held.
#[test]
fn an_app_that_comes_with_its_backend_is_protected_from_the_first_pod_on() {
    let lastcall = shared(Mode::Exec);
    let app = App::deploy(&lastcall, "at-once", &Wanted::default());
    let load = app.load();
    let first = app.staying();
    app.space.kubectl(&["delete", "pods", "--selector=app=app"]);
    app.settle(4);
    load.wait_for_more(40);
    assert_eq!(first.len(), 4);
    load.end().nothing_failed();
    app.judge().clean(4);
}

/// The same without a label: the Backend is there first, so its pods are known.
#[test]
fn pods_that_a_backend_selects_need_no_label() {
    let lastcall = shared(Mode::Exec);
    let mut app = unlabelled(&lastcall);
    let wanted = Wanted {
        replicas: 2,
        ..Wanted::default()
    };
    let balancing = crate::objects::balancing(&wanted);
    app.space
        .apply(&[&balancing, crate::objects::service()].join("---\n"));
    app.space.kubectl(&[
        "wait",
        "--for=condition=Accepted",
        "backend/app",
        "--timeout=60s",
    ]);
    app.apply(&wanted);
    app.reach();
    let load = app.load();
    app.space.kubectl(&["rollout", "restart", "deployment/app"]);
    app.rolled_out();
    app.settle(2);
    load.end().nothing_failed();
    app.judge().clean(2);
}

/// Helm applies kinds that it does not know last: the app's pods come before their Backend.
#[test]
fn an_app_and_its_backend_in_one_chart_are_protected_from_the_first_pod_on() {
    let lastcall = shared(Mode::Exec);
    let space = Namespace::new("chart", &["lastcall.dev/drain=enabled"]);
    let mut app = App::prepare(&lastcall, space);
    let chart = tempfile::tempdir().unwrap();
    let wanted = Wanted::default();
    let deployment = app.with_made(|made| deployment(&wanted, made));
    let parts = [balancing(&wanted), service().to_owned(), deployment];
    fs::create_dir(chart.path().join("templates")).unwrap();
    fs::write(chart.path().join("templates/app.yaml"), parts.join("---\n")).unwrap();
    let about = "apiVersion: v2\nname: app\nversion: 1.0.0\n";
    fs::write(chart.path().join("Chart.yaml"), about).unwrap();
    let chart = chart.path().display().to_string();
    run(
        "helm",
        &["--namespace", &app.space.name, "install", "app", &chart],
    );
    app.reach();
    let load = app.load();
    app.space.kubectl(&["delete", "pods", "--selector=app=app"]);
    app.settle(4);
    load.end().nothing_failed();
    app.judge().clean(4);
}

fn unlabelled(lastcall: &Installed) -> App<'_> {
    App::prepare(lastcall, Namespace::new("selected", &[]))
}
