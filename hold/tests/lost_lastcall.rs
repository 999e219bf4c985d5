//! A hold against a real Unix socket whose server dies, comes back, falls silent or refuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lastcall_hold::wire::{Cause, HoldAsk};
use lastcall_hold::{Options, Outcome, Progress, run};

/// A directory for one test's socket, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lastcall-hold-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    fn listen(&self) -> UnixListener {
        let _ = std::fs::remove_file(self.socket());
        UnixListener::bind(self.socket()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One accepted call: what was asked, and the connection to answer on.
struct Call {
    ask: HoldAsk,
    stream: UnixStream,
}

impl Call {
    fn accept(listener: &UnixListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let ask = serde_json::from_slice(&body).unwrap();
        Self { ask, stream }
    }

    fn stream(mut self, lines: &[&str]) -> UnixStream {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.stream.write_all(head).unwrap();
        for line in lines {
            let chunk = format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
            self.stream.write_all(chunk.as_bytes()).unwrap();
        }
        self.stream
    }

    fn status(mut self, status: &str, body: &str) {
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(answer.as_bytes()).unwrap();
    }
}

const RELEASED: &str =
    r#"{"type":"released","cause":"Drained","heldMillis":5.0,"sinceLastByteMillis":0.2,"cut":0}"#;

fn holding(seconds: u64, in_flight: u64) -> String {
    format!(
        r#"{{"type":"holding","remainingMillis":{},"inFlight":{in_flight},"endpoints":["default/web/127.0.0.1:80"]}}"#,
        seconds * 1000
    )
}

fn options(socket: &Path) -> Options {
    Options {
        socket: socket.to_owned(),
        grace: Some(Duration::from_secs(30)),
        pauses: (Duration::from_millis(5), Duration::from_millis(20)),
        ..Options::new(vec!["be/web/127.0.0.1:80".to_owned()])
    }
}

/// Runs the hold in a thread; the receivers get its progress and its outcome.
fn start(options: Options) -> (mpsc::Receiver<Progress>, mpsc::Receiver<Outcome>) {
    let (progress, said) = mpsc::channel();
    let (end, outcome) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome = run(&options, &mut |p: &Progress| {
            let _ = progress.send(p.clone());
        });
        let _ = end.send(outcome);
    });
    (said, outcome)
}

const LONG: Duration = Duration::from_secs(20);

fn wait_for(said: &mpsc::Receiver<Progress>, what: impl Fn(&Progress) -> bool) {
    while !what(
        &said
            .recv_timeout(LONG)
            .expect("the progress waited for comes"),
    ) {}
}

fn is_drained(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Released {
            cause: Cause::Drained,
            cut: 0,
            ..
        }
    )
}

#[test]
fn a_lastcall_that_dies_and_comes_back_releases_nobody() {
    let place = Place::new("dies");
    let listener = place.listen();
    let (said, outcome) = start(options(&place.socket()));

    let first = Call::accept(&listener);
    let asked_first = first.ask.clone();
    let connection = first.stream(&[&holding(10, 7)]);
    wait_for(&said, |p| {
        matches!(p, Progress::Holding { in_flight: 7, .. })
    });
    // The process dies: connection and listener are gone, its socket file stays behind.
    drop((connection, listener));
    wait_for(
        &said,
        |p| matches!(p, Progress::Lost { why, .. } if why.contains("nobody listens")),
    );
    std::fs::remove_file(place.socket()).unwrap();
    wait_for(
        &said,
        |p| matches!(p, Progress::Lost { why, .. } if why.contains("no socket")),
    );
    assert!(
        outcome.try_recv().is_err(),
        "released by the death of lastcall"
    );

    let listener = place.listen();
    Call::accept(&listener).status("503 Service Unavailable", "{}");
    // It is back, but with a folder that does not know the target: doubt, not a release.
    Call::accept(&listener).status(
        "404 Not Found",
        r#"{"title":"unknown target","status":404,"detail":"no such Backend"}"#,
    );
    let again = Call::accept(&listener);
    assert_eq!(again.ask.key, asked_first.key, "one hold");
    let left = again.ask.grace_seconds.unwrap();
    assert!(
        left <= 10.0,
        "asking again prolongs the deadline of 10 s to {left} s"
    );
    let connection = again.stream(&[&holding(9, 3)]);
    wait_for(&said, |p| {
        matches!(p, Progress::Holding { in_flight: 3, .. })
    });
    assert!(outcome.try_recv().is_err(), "released before the word came");

    let mut connection = connection;
    write!(connection, "{:x}\r\n{RELEASED}\n\r\n", RELEASED.len() + 1).unwrap();
    let outcome = outcome.recv_timeout(LONG).unwrap();
    assert!(is_drained(&outcome), "{outcome}");
}

#[test]
fn a_lastcall_that_never_dies_is_asked_once() {
    let place = Place::new("once");
    let listener = place.listen();
    let (said, outcome) = start(options(&place.socket()));
    let ended = Call::accept(&listener).stream(&[&holding(10, 0), RELEASED]);
    assert!(is_drained(&outcome.recv_timeout(LONG).unwrap()));
    drop(ended);
    assert!(said.iter().all(|p| matches!(p, Progress::Holding { .. })));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "asked a second time");
}

#[test]
fn a_silent_lastcall_is_asked_again() {
    let place = Place::new("silent");
    let listener = place.listen();
    let (said, outcome) = start(Options {
        silence: Duration::from_secs(2),
        ..options(&place.socket())
    });
    // Says that it holds, and then nothing, with the connection open.
    let silent = Call::accept(&listener).stream(&[&holding(10, 1)]);
    wait_for(&said, |p| matches!(p, Progress::Lost { .. }));
    // Accepts, and says nothing at all.
    let mute = Call::accept(&listener);
    let answered = Call::accept(&listener).stream(&[&holding(9, 0), RELEASED]);
    assert!(is_drained(&outcome.recv_timeout(LONG).unwrap()));
    drop((silent, mute, answered));
}

#[test]
fn heartbeats_keep_a_quiet_hold_on_its_connection() {
    let place = Place::new("heartbeats");
    let listener = place.listen();
    let (said, outcome) = start(Options {
        silence: Duration::from_secs(3),
        ..options(&place.socket())
    });
    let mut call = Call::accept(&listener).stream(&[&holding(10, 1)]);
    let begun = Instant::now();
    let beat = r#"{"type":"heartbeat","remainingMillis":9000}"#;
    while begun.elapsed() < Duration::from_secs(4) {
        write!(call, "{:x}\r\n{beat}\n\r\n", beat.len() + 1).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    write!(call, "{:x}\r\n{RELEASED}\n\r\n", RELEASED.len() + 1).unwrap();
    assert!(is_drained(&outcome.recv_timeout(LONG).unwrap()));
    assert!(said.iter().all(|p| matches!(p, Progress::Holding { .. })));
}

#[test]
fn without_any_answer_the_grace_ends_the_hold() {
    let place = Place::new("nobody");
    let grace = Duration::from_millis(200);
    let begun = Instant::now();
    let outcome = run(
        &Options {
            grace: Some(grace),
            ..options(&place.socket())
        },
        &mut |_| {},
    );
    // The last tenth is for lastcall's own word at the deadline; with nobody there it is not waited for.
    assert!(begun.elapsed() >= grace * 9 / 10, "gave up early");
    assert!(matches!(outcome, Outcome::GaveUp { .. }), "{outcome}");
    assert_eq!(outcome.exit_code(), 0);
}

#[test]
fn a_server_that_never_answers_cannot_outlast_the_deadline() {
    let place = Place::new("hung");
    // Nobody ever accepts: the connection waits in the queue.
    let listener = place.listen();
    let outcome = run(
        &Options {
            grace: Some(Duration::from_millis(200)),
            ..options(&place.socket())
        },
        &mut |_| {},
    );
    assert!(matches!(outcome, Outcome::GaveUp { .. }), "{outcome}");
    drop(listener);
}

#[test]
fn an_unknown_target_is_refused_at_once() {
    let place = Place::new("unknown");
    let listener = place.listen();
    let (_said, outcome) = start(options(&place.socket()));
    Call::accept(&listener).status(
        "404 Not Found",
        r#"{"title":"unknown target","status":404,"detail":"no Backend default/web; there are: api"}"#,
    );
    let outcome = outcome.recv_timeout(LONG).unwrap();
    assert_eq!(outcome.exit_code(), 2);
    assert!(outcome.to_string().contains("there are: api"), "{outcome}");
}

#[test]
fn half_a_release_is_no_release() {
    let place = Place::new("half");
    let listener = place.listen();
    let (said, outcome) = start(options(&place.socket()));
    let mut call = Call::accept(&listener).stream(&[&holding(10, 1)]);
    // The chunk announces the whole line, the process dies in the middle of it.
    write!(
        call,
        "{:x}\r\n{}",
        RELEASED.len() + 1,
        &RELEASED[..RELEASED.len() - 1]
    )
    .unwrap();
    drop(call);
    wait_for(&said, |p| matches!(p, Progress::Lost { .. }));
    assert!(outcome.try_recv().is_err(), "half a line released");
    let whole = Call::accept(&listener).stream(&[RELEASED]);
    assert!(is_drained(&outcome.recv_timeout(LONG).unwrap()));
    drop(whole);
}

#[test]
fn a_lastcall_that_holds_past_the_deadline_is_left_at_the_deadline() {
    let place = Place::new("late");
    let listener = place.listen();
    let (_said, outcome) = start(Options {
        grace: Some(Duration::from_secs(3)),
        ..options(&place.socket())
    });
    // Claims more time than the caller has, and never lets go.
    let held = Call::accept(&listener).stream(&[&holding(1000, 1)]);
    let outcome = outcome.recv_timeout(LONG).unwrap();
    assert!(
        matches!(&outcome, Outcome::GaveUp { why, .. } if why.contains("held to the end")),
        "{outcome}"
    );
    assert!(outcome.is_loud());
    drop(held);
}
