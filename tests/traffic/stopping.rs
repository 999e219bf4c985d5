//! Lastcall's own end (DESIGN section 6): unready at once, what is in flight finishes and clients are told
//! that their connection closes, then it exits by itself; what outlives its time, or meets a second
//! signal, is cut so that clients can tell. SIGHUP reads the folder anew.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::status::LIMIT;
use crate::support::backend::{self, Gate, Seen, Step, chunk};
use crate::support::client::get;
use crate::support::{Backend, Config, End, Lastcall, RawClient, wait_until};

const QUICK: &str = "GET /quick HTTP/1.1\r\nHost: t\r\n\r\n";
const SLOW: &str = "POST /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n";

struct Scene {
    server: Backend,
    gate: Gate,
    lastcall: Lastcall,
}

impl Scene {
    fn start(flags: &[&str]) -> Self {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Backend::start(move |seen| answer(seen, &held));
        let config = Config::new(&[server.address]);
        let config = flags.iter().fold(config, |config, flag| config.flag(flag));
        let lastcall = Lastcall::start(config);
        Self {
            server,
            gate,
            lastcall,
        }
    }

    /// A client that waits for an answer that waits for the gate.
    fn in_flight(&self, request: &str) -> RawClient {
        let before = self.server.seen().len();
        let client = RawClient::sending(self.lastcall.address, request);
        self.server.wait_for_requests(before + 1);
        client
    }

    /// A client whose answer has begun and waits for the gate.
    fn begun(&self, path: &str) -> RawClient {
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut client = RawClient::sending(self.lastcall.address, request);
        client.read_until("begin");
        client
    }

    /// A client with a connection that was used once and is kept.
    fn idle(&self) -> RawClient {
        let mut client = RawClient::sending(self.lastcall.address, QUICK);
        let answer = client.read_response();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("connection"), None, "{}", answer.head);
        client
    }

    fn stop(&self, signal: Signal) {
        self.lastcall.signal(signal);
        let log = || self.lastcall.log();
        wait_until("the shutdown", LIMIT, || {
            log()
                .contains("shutting down")
                .then_some(())
                .ok_or_else(log)
        });
    }

    fn wait_until_unready(&self) {
        wait_until("readyz to say no", LIMIT, || {
            let answer = get(self.lastcall.metrics, "/readyz").unwrap();
            (answer.status() == 503 && answer.body_text().contains("shutting down"))
                .then_some(())
                .ok_or(answer)
        });
    }

    fn wait_until_nobody_listens(&self) {
        wait_until("the listener to be closed", LIMIT, || {
            let limit = Duration::from_millis(100);
            match TcpStream::connect_timeout(&self.lastcall.address, limit) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                other => Err(other),
            }
        });
    }
}

fn answer(seen: &Seen, gate: &Gate) -> Vec<Step> {
    let begins = |fields: &str, begin: Vec<u8>| {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes();
        vec![
            Step::Send([head, begin].concat()),
            Step::Await(gate.clone()),
        ]
    };
    match seen.target() {
        "/quick" => backend::ok("quick"),
        "/tunnel" => backend::websocket(),
        "/chunked" => {
            let mut steps = begins("Transfer-Encoding: chunked\r\n", chunk(b"begin"));
            steps.push(Step::Send([chunk(b"rest"), b"0\r\n\r\n".to_vec()].concat()));
            steps
        }
        "/until-close" => {
            let mut steps = begins("", b"begin".to_vec());
            steps.extend([Step::Send(b"rest".to_vec()), Step::Close]);
            steps
        }
        _ => backend::slow(gate, "slow"),
    }
}

#[test]
fn what_is_in_flight_finishes_and_clients_are_told_that_the_connection_closes() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut scene = Scene::start(&[]);
        let mut idle = scene.idle();
        let mut waiting = scene.in_flight(SLOW);
        let mut streaming = scene.begun("/chunked");
        scene.stop(signal);
        scene.wait_until_unready();
        scene.wait_until_nobody_listens();
        assert_eq!(idle.read_to_end(), (Vec::new(), End::Fin));

        scene.gate.open();
        let answer = waiting.read_response();
        assert_eq!(
            (answer.status(), answer.body_text().as_str()),
            (200, "slow")
        );
        assert_eq!(answer.field("connection"), Some("close"), "{}", answer.head);
        assert_eq!(waiting.read_to_end(), (Vec::new(), End::Fin));
        // Its head went out before the signal.
        let (rest, end) = streaming.read_to_end();
        assert_eq!((&rest[..], end), (&b"4\r\nrest\r\n0\r\n\r\n"[..], End::Fin));
        assert_eq!(scene.lastcall.wait().code(), Some(0));
        assert!(scene.lastcall.log().contains("shut down cut=0"));
    }
}

#[test]
fn what_a_client_has_already_sent_is_answered_and_the_last_answer_says_close() {
    let mut scene = Scene::start(&[]);
    // Three at once on one connection: the first is in flight at the signal, the others wait in a buffer.
    let mut client = scene.in_flight(&[SLOW, QUICK, SLOW].concat());
    scene.stop(Signal::TERM);
    scene.wait_until_nobody_listens();
    scene.gate.open();
    let (bytes, end) = client.read_to_end();
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let answers: Vec<_> = text.split("http/1.1 200 ok").skip(1).collect();
    let closes: Vec<_> = answers
        .iter()
        .map(|answer| answer.contains("connection: close"))
        .collect();
    assert_eq!(
        (closes, end),
        (vec![false, false, true], End::Fin),
        "{text}"
    );
    assert_eq!(scene.lastcall.wait().code(), Some(0));
    assert_eq!(scene.server.seen().len(), 3);
}

#[test]
fn for_the_delay_it_goes_on_accepting_and_every_answer_says_close() {
    let mut scene = Scene::start(&["--shutdown-delay=60s"]);
    let mut idle = scene.idle();
    scene.stop(Signal::TERM);
    scene.wait_until_unready();
    for _ in 0..5 {
        let mut new = RawClient::sending(scene.lastcall.address, QUICK);
        let answer = new.read_response();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("connection"), Some("close"), "{}", answer.head);
    }
    // A kept connection is not closed under a client that may be using it: its next answer says so.
    idle.send(QUICK);
    let answer = idle.read_response();
    assert_eq!(answer.field("connection"), Some("close"), "{}", answer.head);
    assert_eq!(idle.read_to_end().1, End::Fin);
    scene.lastcall.signal(Signal::TERM);
    assert_eq!(scene.lastcall.wait().code(), Some(0));
}

#[test]
fn after_the_delay_it_ends_by_itself() {
    let delay = Duration::from_millis(1500);
    let mut scene = Scene::start(&["--shutdown-delay=1500ms"]);
    let begin = Instant::now();
    scene.stop(Signal::TERM);
    assert_eq!(scene.lastcall.wait().code(), Some(0));
    assert!(begin.elapsed() >= delay, "{:?}", begin.elapsed());
}

/// Clients of which each must see that what it was waiting for did not come.
struct Waiting {
    unanswered: RawClient,
    begun: [(&'static str, RawClient); 2],
    tunnel: RawClient,
}

impl Waiting {
    fn start(scene: &Scene) -> Self {
        let upgrade = "GET /tunnel HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        let mut tunnel = RawClient::sending(scene.lastcall.address, upgrade);
        tunnel.read_until("\r\n\r\n");
        tunnel.send("echo");
        tunnel.read_until("echo");
        Self {
            unanswered: scene.in_flight(SLOW),
            begun: ["/chunked", "/until-close"].map(|path| (path, scene.begun(path))),
            tunnel,
        }
    }

    fn were_cut_visibly(mut self) {
        let answer = self.unanswered.read_response();
        assert_eq!(answer.status(), 503, "{}", answer.head);
        for (path, client) in &mut self.begun {
            let (rest, end) = client.read_to_end();
            let rest = rest.escape_ascii().to_string();
            assert_eq!(
                (rest.as_str(), end),
                ("", End::Reset),
                "{path}: looks complete"
            );
        }
        assert_eq!(self.tunnel.read_to_end(), (Vec::new(), End::Reset));
    }
}

#[test]
fn what_outlives_the_timeout_is_cut_visibly() {
    let mut scene = Scene::start(&["--shutdown-timeout=1s"]);
    let waiting = Waiting::start(&scene);
    let begin = Instant::now();
    scene.stop(Signal::TERM);
    waiting.were_cut_visibly();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(scene.lastcall.wait().code(), Some(0));
    let log = scene.lastcall.log();
    assert!(log.contains("shut down cut=4"), "{log}");
    scene.gate.open();
}

#[test]
fn a_second_signal_cuts_visibly_and_at_once() {
    let mut scene = Scene::start(&["--shutdown-timeout=600s"]);
    let waiting = Waiting::start(&scene);
    scene.stop(Signal::TERM);
    scene.wait_until_nobody_listens();
    scene.lastcall.signal(Signal::TERM);
    waiting.were_cut_visibly();
    assert_eq!(scene.lastcall.wait().code(), Some(0));
    let log = scene.lastcall.log();
    assert!(log.contains("second signal"), "{log}");
    scene.gate.open();
}

#[test]
fn a_reload_does_not_stop_the_stopping() {
    let mut scene = Scene::start(&[]);
    let mut waiting = scene.in_flight(SLOW);
    scene.stop(Signal::TERM);
    scene.wait_until_nobody_listens();
    scene.lastcall.signal(Signal::HUP);
    scene.gate.open();
    assert_eq!(waiting.read_response().status(), 200);
    assert_eq!(scene.lastcall.wait().code(), Some(0));
}

#[test]
fn sighup_reads_the_folder_anew() {
    let server = Backend::echo();
    let mut lastcall = Lastcall::start(Config::new(&[server.address]));
    // A file elsewhere, behind a link: nothing tells lastcall of its changes but its look every 10 s.
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("real.yaml");
    let config = lastcall.config();
    let write = |config: &Config| std::fs::write(&file, config.yaml()).unwrap();
    write(&config);
    let link = lastcall.folder.config().join("test.yaml");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let rounds = 6;
    let begin = Instant::now();
    for round in 0..rounds {
        let seconds = 100 + round;
        let draining = format!("connectionDraining: {{timeoutSeconds: {seconds}}}");
        write(&config.clone().load_balancer(&draining));
        let before = reloads(&lastcall);
        lastcall.signal(Signal::HUP);
        wait_until("the reload", LIMIT, || {
            let now = reloads(&lastcall);
            (now > before).then_some(()).ok_or(now)
        });
        assert_eq!(get(lastcall.address, "/").unwrap().status(), 200);
    }
    assert!(
        begin.elapsed() < Duration::from_secs(10 * (rounds - 2)),
        "{:?}",
        begin.elapsed()
    );
    lastcall.signal(Signal::TERM);
    assert_eq!(lastcall.wait().code(), Some(0));
}

fn reloads(lastcall: &Lastcall) -> u64 {
    lastcall
        .count(r#"lastcall_config_reloads_total{result="ok"}"#)
        .unwrap()
}
