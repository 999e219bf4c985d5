//! The API server is away for a minute, under load (Law 3).

use crate::app::App;
use crate::cluster::{LIMIT, text, wait_until};
use crate::command::{run, tree};
use crate::installation::{Mode, alone};
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

/// A liveness kill and a deletion are under way as it goes. Only in a cluster that is ours to break.
#[test]
fn a_minute_without_the_api_server_loses_nothing() {
    let lastcall = alone(Mode::Exec);
    if std::env::var_os("LASTCALL_E2E_IMAGE").is_some() {
        println!("left out: the API server of a cluster that others made is not stopped");
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
    app.rolled_out();
    load.wait_for_more(80);
    load.end().nothing_failed();
    app.judge().clean(2);
}
