//! Containers that the kubelet restarts: the hook is called and nobody has deleted the pod.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::app::App;
use crate::cluster::{LIMIT, text, wait_until};
use crate::flow::{Steady, mixed};
use crate::installation::{Mode, shared};
use crate::objects::Wanted;

/// A probe that fails at the first wrong answer, as soon as the app answers at all.
pub const PROBE: &str = "        startupProbe: {tcpSocket: {port: http}, periodSeconds: 1, failureThreshold: 60}
        livenessProbe: {httpGet: {path: /probe, port: http}, periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 1}
";

/// Sends one request to the pod itself and waits for nothing.
#[track_caller]
pub fn tell(pod: &Value, path: &str) {
    let address: SocketAddr = format!("{}:8080", text(pod, "/status/podIP"))
        .parse()
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: e2e\r\n\r\n").unwrap();
}

/// Load of requests that end within `restartTimeoutSeconds`.
pub fn short_load(app: &App) -> Steady {
    let load = Steady::start(app.address(), |seed| {
        mixed(seed, 40.0, Duration::from_secs(5), Duration::from_secs(3))
    });
    load.wait_for_more(80);
    load
}

/// Two pods, one of which fails its probe.
fn probed(replicas: u32) -> Wanted {
    Wanted {
        replicas,
        container: PROBE.to_owned(),
        ..Wanted::default()
    }
}

/// One pod's container fails its probe under load: drained, restarted, and back in service.
#[track_caller]
fn fails_its_probe(app: &App) {
    let load = short_load(app);
    let pod = app.pods().remove(0);
    let uid = text(&pod, "/metadata/uid");
    tell(&pod, "/probe/fail");
    wait_until("work for the container's second life", LIMIT, || {
        let lives = app.collector.lives();
        let of_pod: Vec<_> = lives.iter().filter(|life| life.uid == uid).collect();
        (of_pod.len() == 2 && of_pod[1].begins().next().is_some())
            .then_some(())
            .ok_or(of_pod.len())
    });
    load.wait_for_more(40);
    load.end().nothing_failed();
    app.judge().clean(1);
}

#[test]
fn a_container_that_fails_its_probe_is_drained_restarted_and_back_in_service() {
    let lastcall = shared(Mode::Exec);
    fails_its_probe(&App::deploy(&lastcall, "liveness", &probed(2)));
}

#[test]
fn a_container_that_fails_its_probe_is_drained_restarted_and_back_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    fails_its_probe(&App::deploy(&lastcall, "liveness-get", &probed(2)));
}

/// A call that proves nothing takes no last endpoint out of service: the container serves until it is stopped, and its
/// next life serves again.
#[test]
fn the_only_pod_serves_until_its_container_is_restarted_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    let app = App::deploy(&lastcall, "liveness-one", &probed(1));
    let pod = app.pods().remove(0);
    let uid = text(&pod, "/metadata/uid");
    tell(&pod, "/probe/fail");
    wait_until("the hold", LIMIT, || {
        lastcall.has_logged("hold started", uid)
    });
    let load = short_load(&app);
    wait_until("the container's second life", LIMIT, || {
        let lives = app.collector.lives().len();
        (lives == 2).then_some(()).ok_or(lives)
    });
    wait_until("an answer of the second life", LIMIT, || {
        let begun = app.collector.lives()[1].begins().count();
        (begun > 0).then_some(()).ok_or(begun)
    });
    load.end();
    let judge = app.judge();
    let first = &judge.lives[0];
    let stopped = first.sigterm().expect("it was stopped");
    let release = judge.release(first).expect("a release");
    assert_eq!(release.message, "released at the deadline");
    // Taken out of service nothing would have begun on it in the last seconds of its hold.
    let last = first.begins().max().expect("it was asked");
    assert!(
        last + 1_000_000 > release.at,
        "{last} {} {stopped}",
        release.at
    );
}

#[test]
fn a_hung_container_is_restarted_within_its_own_grace_period() {
    const GRACE: u64 = 10;
    const RESTART_TIMEOUT: u64 = 10;
    let lastcall = shared(Mode::Exec);
    let wanted = Wanted {
        replicas: 1,
        grace: 10,
        drain: 300,
        container: PROBE.to_owned(),
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "hung", &wanted);
    // Something is in flight that will never end.
    let load = short_load(&app);
    let pod = app.pods().remove(0);
    let hung = Instant::now();
    tell(&pod, "/probe/hang");
    wait_until("the container's second life", LIMIT, || {
        let lives = app.collector.lives().len();
        (lives == 2).then_some(()).ok_or(lives)
    });
    let took = hung.elapsed();
    // The probe itself takes up to 3 s to fail, and a start some more.
    assert!(
        took < Duration::from_secs(GRACE + RESTART_TIMEOUT + 8),
        "restarted after {took:?}"
    );
    wait_until("an answer of the second life", LIMIT, || {
        let begun = app.collector.lives()[1].begins().count();
        (begun > 0).then_some(()).ok_or(begun)
    });
    load.end();
}
