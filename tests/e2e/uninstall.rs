//! `helm uninstall`, and then pods that still have their hooks are deleted.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::app::App;
use crate::cluster::{LIMIT, object, objects, text, wait_until};
use crate::command::run;
use crate::installation::{Mode, RELEASE, alone};
use crate::objects::Wanted;

/// A hold for which nobody answers: the pod's own grace period is far longer.
const SOON: Duration = Duration::from_secs(45);

/// When the app is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deleted {
    /// While lastcall's last replica says goodbye.
    AtOnce,
    /// When its hook's Service, which stays, refuses connections. Before that the node may send one to an address that is
    /// no more, and waits for minutes.
    WhenItIsGone,
}

/// Whether the node, whose network this test is in, is refused as its kubelet is. Lastcall's pod must be gone: until
/// then it may be the pod that refuses, whose address the node may still send to when it is no more.
fn refused() -> Result<(), String> {
    let pods = objects(RELEASE, &["pods"]);
    if !pods.is_empty() {
        return Err(format!("{} pods of lastcall are left", pods.len()));
    }
    let service = object(RELEASE, &["service", "lastcall-hook"])?;
    let address = text(&service, "/spec/clusterIP");
    let address: IpAddr = address.parse().map_err(|_| address.to_owned())?;
    let tried = TcpStream::connect_timeout(&(address, 443).into(), Duration::from_secs(2));
    match tried {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[track_caller]
fn pods_end_after_uninstall(mode: Mode, deleted: Deleted) {
    let lastcall = alone(mode);
    let wanted = Wanted {
        drain: 300,
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "uninstall", &wanted);
    lastcall.breaks();
    run(
        "helm",
        &[
            "--namespace",
            RELEASE,
            "uninstall",
            RELEASE,
            "--wait",
            "--timeout=150s",
        ],
    );
    if deleted == Deleted::WhenItIsGone {
        wait_until("the hook's Service to refuse", LIMIT, refused);
    }
    let asked = Instant::now();
    app.space.kubectl(&[
        "delete",
        "deployment",
        "app",
        "--cascade=foreground",
        "--timeout=120s",
    ]);
    let took = asked.elapsed();
    assert!(took < SOON, "took {took:?}");
    let lives = app.collector.lives();
    assert!(
        lives.iter().all(|life| life.sigterm().is_some()),
        "{lives:?}"
    );
}

#[test]
fn no_pod_sticks_after_an_uninstall_in_exec_mode() {
    pods_end_after_uninstall(Mode::Exec, Deleted::AtOnce);
}

#[test]
fn no_pod_sticks_after_an_uninstall_in_http_get_mode() {
    pods_end_after_uninstall(Mode::HttpGet, Deleted::AtOnce);
}

/// The Service is still there, and refuses the kubelet.
#[test]
fn no_pod_sticks_when_lastcall_is_gone_in_http_get_mode() {
    pods_end_after_uninstall(Mode::HttpGet, Deleted::WhenItIsGone);
    run(
        "kubectl",
        &["--namespace", RELEASE, "get", "service", "lastcall-hook"],
    );
}
