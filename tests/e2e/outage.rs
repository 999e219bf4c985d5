//! The API server is away for a minute, under load (Law 3).

use crate::app::App;
use crate::cluster::{LIMIT, object, text, wait_until};
use crate::command::{run, say, tree};
use crate::installation::{Installed, Mode, alone, is_injected};
use crate::liveness::{PROBE, short_load, tell};
use crate::objects::Wanted;

/// The API server, and the controller manager, which ends when it cannot renew its lease: where it goes on, as the one of the
/// tests' cluster would (it runs without election), it comes back with heartbeats of a minute ago and declares the
/// Node dead, before the kubelet can say anything.
const STOPPED: [&str; 2] = ["kube-apiserver", "kube-controller-manager"];

/// Starts them again whatever becomes of the test.
struct Away;

impl Away {
    #[track_caller]
    fn begin() -> Self {
        component("stop");
        Self
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        component("start");
    }
}

fn component(verb: &str) {
    let script = tree("tests/cluster/component").display().to_string();
    for name in STOPPED {
        run(&script, &[verb, name]);
    }
}

/// The other parts of the cluster ask for the API server at their own paces, kube-proxy and the scheduler up to a minute
/// apart, and until kube-proxy has found it no pod reaches it, lastcall's included: tests that come after this one
/// would have pods without a hook.
fn all_is_back(app: &App, lastcall: &Installed) {
    wait_until("lastcall to be asked and to ask", LIMIT, || {
        is_injected(&lastcall.image)
    });
    app.space.kubectl(&["scale", app.workload, "--replicas=5"]);
    app.rolled_out();
    wait_until("lastcall to see the fifth pod", LIMIT, || {
        let backend = object(&app.space.name, &["backend", "app"])?;
        let total = backend.pointer("/status/total").cloned();
        (total == Some(5.into()))
            .then_some(())
            .ok_or(format!("{total:?}"))
    });
}

/// A liveness kill and a deletion are under way as it goes. Only in a cluster that is ours to break.
#[test]
fn a_minute_without_the_api_server_loses_nothing() {
    let lastcall = alone(Mode::Exec);
    if std::env::var_os("LASTCALL_E2E_IMAGE").is_some() {
        say("left out: the API server of a cluster that others made is not stopped");
        return;
    }
    let wanted = Wanted {
        container: PROBE.to_owned(),
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "outage", &wanted);
    let load = short_load(&app);
    let pods = app.pods();
    let deleted = text(&pods[1], "/metadata/name");
    tell(&pods[0], "/probe/fail");
    app.space
        .kubectl(&["delete", "pod", deleted, "--wait=false"]);
    let away = Away::begin();
    wait_until("both to be released and stopped", LIMIT, || {
        let lives = app.collector.lives();
        let stopped = lives.iter().filter(|life| life.sigterm().is_some()).count();
        (stopped == 2).then_some(()).ok_or(stopped)
    });
    // 40 a second: a minute.
    for _ in 0..4 {
        load.wait_for_more(600);
    }
    drop(away);
    wait_until("the API server", LIMIT, || {
        app.space.attempt(&["get", "pods"], "")
    });
    app.settle(4);
    all_is_back(&app, &lastcall);
    load.wait_for_more(80);
    load.end().nothing_failed();
    app.judge().clean(2);
}
