//! Lastcall's own end while a kubelet waits for its answer: to the kubelet the end of the connection is that of the hook.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::cluster::{LIMIT, text, wait_until};
use crate::collector::Life;
use crate::command::run;
use crate::installation::{Mode, RELEASE, alone};
use crate::objects::Wanted;

/// How long the pod's own hook would sleep: it is held so long, whatever is in flight.
const SLEPT: Duration = Duration::from_secs(20);

#[test]
fn lastcalls_own_end_is_not_that_of_a_hold_in_http_get_mode() {
    let lastcall = alone(Mode::HttpGet);
    let seconds = SLEPT.as_secs();
    let wanted = Wanted {
        replicas: 2,
        container: format!("        lifecycle: {{preStop: {{sleep: {{seconds: {seconds}}}}}}}\n"),
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "own-end", &wanted);
    let pod = app.pods().remove(0);
    let (name, uid) = (text(&pod, "/metadata/name"), text(&pod, "/metadata/uid"));
    app.space.kubectl(&["delete", "pod", name, "--wait=false"]);
    wait_until("the hold", LIMIT, || {
        lastcall.has_logged("hold started", uid)
    });
    let held = Instant::now();
    let own = lastcall.pods().remove(0);
    let own = text(&own, "/metadata/name");
    run(
        "kubectl",
        &["--namespace", RELEASE, "delete", "pod", own, "--wait=false"],
    );
    wait_until("SIGTERM", LIMIT, || {
        let lives = app.collector.lives();
        let life = lives.iter().find(|life| life.uid == uid);
        life.and_then(Life::sigterm).ok_or("none yet")
    });
    let held = held.elapsed();
    assert!(held > SLEPT / 2, "stopped after {held:?}, with lastcall");
    // Whoever comes next finds one replica that answers.
    let rollout = ["rollout", "status", "deployment/lastcall"];
    run(
        "kubectl",
        &[&["--namespace", RELEASE][..], &rollout].concat(),
    );
    wait_until("one replica of lastcall", LIMIT, || {
        let pods = lastcall.pods();
        (pods.len() == 1).then_some(()).ok_or(pods.len())
    });
}
