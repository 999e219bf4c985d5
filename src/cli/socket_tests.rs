//! The clients and `lastcall-hold` against the admin API on a real Unix socket, with a coordinator that
//! says what the test tells it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;

use super::client::Client;
use super::dial::Socket;
use super::{Cli, Failure};
use crate::admin::schema::{self, WaitLine};
use crate::admin::test_parts::Fake;
use crate::admin::{AdminSocket, router, serve_unix};
use crate::drain::{HoldUpdate, ReleaseCause, Released, TargetError};
use crate::model::report::{
    ConfigurationFault, DEREGISTERED, DEREGISTERING, IN_SERVICE, ServiceState,
};
use crate::model::{AdminState, EndpointId, Member, ObjectName};

/// lastcall's admin API over a fake, on a socket of its own, on a runtime of its own: a client command
/// brings its own too.
struct Running {
    dir: tempfile::TempDir,
    fake: Arc<Fake>,
    /// Taken when it "crashes".
    runtime: Option<tokio::runtime::Runtime>,
}

impl Running {
    fn start() -> Self {
        let mut running = Self {
            dir: tempfile::tempdir().unwrap(),
            fake: Fake::new(),
            runtime: None,
        };
        running.serve();
        running
    }

    fn serve(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let socket = AdminSocket::bind(&self.socket()).unwrap();
        drop(runtime.spawn(serve_unix(socket, router(self.fake.parts()))));
        self.runtime = Some(runtime);
    }

    /// All connections and the listener are gone, as when the process dies.
    fn crash(&mut self) {
        self.runtime
            .take()
            .unwrap()
            .shutdown_timeout(Duration::from_secs(5));
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    fn run(&self, line: &str) -> Result<(), Failure> {
        run(&self.socket(), line)
    }

    /// Runs a command in a thread of its own.
    fn spawn(&self, line: &'static str) -> std::thread::JoinHandle<Result<(), Failure>> {
        let socket = self.socket();
        std::thread::spawn(move || run(&socket, line))
    }

    fn get(&self, path: &str) -> Result<serde_json::Value, Failure> {
        let socket = self.socket();
        super::reach::block_on(async move { client(socket).get(path).await })
    }
}

fn client(path: PathBuf) -> Client {
    let because = "the test's".to_owned();
    Client::new(Arc::new(Socket { path, because }))
}

fn run(socket: &Path, line: &str) -> Result<(), Failure> {
    let words = line
        .split_whitespace()
        .chain(["--admin-socket", socket.to_str().unwrap()]);
    Cli::try_parse_from(["lastcall"].into_iter().chain(words))
        .unwrap()
        .command
        .run()
}

fn code(result: &Result<(), Failure>) -> u8 {
    result.as_ref().map_or_else(Failure::exit_code, |()| 0)
}

/// Until the condition holds; the test's own time limit ends a wait for what never comes.
fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..4000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain: {what}");
}

fn problem(failure: Failure) -> schema::Problem {
    match failure {
        Failure::Refused(refused) => refused.problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn drain_enable_and_disable_arrive_as_they_were_meant() {
    let running = Running::start();
    running
        .run("drain be/web/127.0.0.1:1 --timeout 90s")
        .unwrap();
    running.run("disable be/web").unwrap();
    running.run("enable be/web -n shop -o json").unwrap();
    let states = running.fake.states.lock().unwrap();
    let seen: Vec<_> = states
        .iter()
        .map(|(target, state, timeout)| {
            (
                target.to_string(),
                target.backend.to_string(),
                *state,
                *timeout,
            )
        })
        .collect();
    let whole =
        |state, namespace: &str| ("be/web".to_owned(), format!("{namespace}/web"), state, None);
    assert_eq!(
        seen,
        [
            (
                "be/web/127.0.0.1:1".to_owned(),
                "default/web".to_owned(),
                AdminState::Draining,
                Some(Duration::from_secs(90))
            ),
            whole(AdminState::Disabled, "default"),
            whole(AdminState::Enabled, "shop"),
        ]
    );
}

#[test]
fn drain_wait_ends_when_the_last_request_has_left_and_then_disables() {
    let running = Running::start();
    running.fake.set(ServiceState::InService, DEREGISTERING, 2);
    let drain = running.spawn("drain --wait --then disable be/web");
    let states = || running.fake.states.lock().unwrap().len();
    until("the drain", || states() == 1);
    running.fake.set(ServiceState::InService, DEREGISTERING, 1);
    assert!(!drain.is_finished(), "ended with a request in flight");
    running
        .fake
        .set(ServiceState::OutOfService, DEREGISTERED, 0);
    drain.join().unwrap().unwrap();
    let states = running.fake.states.lock().unwrap();
    assert_eq!(states.last().unwrap().1, AdminState::Disabled);
}

#[test]
fn drain_wait_outlives_a_restart_of_lastcall_and_asks_for_the_drain_again() {
    let mut running = Running::start();
    running.fake.set(ServiceState::InService, DEREGISTERING, 2);
    let drain = running.spawn("drain --wait be/web");
    // The crash comes when the drain was answered and the wait has been asked for, before its first
    // line or after it.
    until("the wait", || running.fake.looks.load(Ordering::SeqCst) > 0);
    running.crash();
    let before = running.fake.states.lock().unwrap().len();
    running.fake.set(ServiceState::InService, IN_SERVICE, 0);
    assert!(!drain.is_finished(), "ended by a crash");
    running.serve();
    until("the drain anew", || {
        running.fake.states.lock().unwrap().len() > before
    });
    running
        .fake
        .set(ServiceState::OutOfService, DEREGISTERED, 0);
    drain.join().unwrap().unwrap();
}

#[test]
fn wait_says_by_exit_code_how_it_ended() {
    let running = Running::start();
    assert_eq!(code(&running.run("wait be/web --for=in-service")), 0);
    assert_eq!(
        code(&running.run("wait be/web --for=drained --timeout 50ms")),
        3
    );
    assert_eq!(code(&running.run("wait be/wep --for=drained")), 2);
    assert_eq!(
        code(&running.run("wait be/web/127.0.0.1:9 --for=drained")),
        2
    );
    running
        .fake
        .set(ServiceState::OutOfService, DEREGISTERED, 0);
    assert_eq!(code(&running.run("wait be/web --for=drained -o json")), 0);
}

#[test]
fn a_drain_that_cut_requests_is_no_success() {
    let running = Running::start();
    running.fake.set(ServiceState::InService, DEREGISTERING, 3);
    let wait = running.spawn("wait be/web --for=drained");
    until("the wait", || running.fake.changes.receiver_count() > 0);
    // The first report of the stream is the one that cuts are counted from; the one before it looks
    // whether there is such a target.
    until("the first looks", || {
        running.fake.looks.load(Ordering::SeqCst) >= 2
    });
    {
        let mut reports = running.fake.reports.lock().unwrap();
        let one = &mut reports[0].endpoints[0];
        one.cut_total = 3;
        one.in_flight = 0;
        one.state = ServiceState::OutOfService;
        one.description = DEREGISTERED.to_owned();
    }
    let result = wait.join().unwrap();
    assert_eq!(code(&result), 3);
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("3 request(s) were cut")
    );
}

#[test]
fn status_shows_everything_or_one_target() {
    let running = Running::start();
    for line in [
        "status",
        "status -o json",
        "status be/web",
        "status be/web/127.0.0.1:1 -o json",
    ] {
        running.run(line).unwrap();
    }
    assert_eq!(code(&running.run("status be/wep")), 2);
    assert_eq!(code(&running.run("status be/web/127.0.0.1:9")), 2);
    assert_eq!(code(&running.run("status web")), 2);
    let status = running.get("/v1/status").unwrap();
    assert_eq!(status["ready"], true);
    assert_eq!(
        status["backends"][0]["endpoints"][0]["address"],
        "127.0.0.1:1"
    );
}

#[test]
fn without_lastcall_the_exit_code_is_4() {
    let mut running = Running::start();
    assert_eq!(code(&running.run("status")), 0, "the control");
    running.crash();
    for line in ["status", "drain --wait be/web", "wait be/web --for=drained"] {
        let result = running.run(line);
        assert_eq!(code(&result), 4, "{line}");
        let text = result.unwrap_err().to_string();
        for part in [
            "as --admin-socket says",
            "is lastcall standalone running?",
            "--context",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn refusals_are_problems_that_name_the_field() {
    let running = Running::start();
    for (path, status, field) in [
        ("/v1/wait?target=web&for=drained", 400, Some("target")),
        ("/v1/wait?target=be/web&for=lunch", 400, Some("for")),
        (
            "/v1/wait?target=be/web&for=drained&timeoutSeconds=0",
            400,
            Some("timeoutSeconds"),
        ),
        (
            "/v1/wait?target=be/web&for=drained&colour=red",
            400,
            Some("colour"),
        ),
        ("/v1/wait?target=be/web", 400, Some("for")),
        ("/v1/wait?target=be/wep&for=drained", 404, Some("target")),
        ("/v1/backends/default/wep", 404, Some("target")),
        ("/v2/status", 404, None),
        ("/v1/hold", 405, None),
    ] {
        let problem = problem(running.get(path).unwrap_err());
        assert_eq!(
            (problem.status, problem.field.as_deref()),
            (status, field),
            "{path}: {problem:?}"
        );
    }
    let wish = |timeout, state| schema::SetAdminState {
        target: "be/web".to_owned(),
        namespace: "default".to_owned(),
        state,
        timeout_seconds: timeout,
    };
    for (wish, field) in [
        (wish(Some(0), AdminState::Draining), "timeoutSeconds"),
        (wish(Some(3601), AdminState::Draining), "timeoutSeconds"),
        (wish(Some(5), AdminState::Disabled), "timeoutSeconds"),
    ] {
        let socket = running.socket();
        let refused = super::reach::block_on(async {
            client(socket)
                .post::<serde_json::Value>("/v1/admin-state", &wish)
                .await
        });
        assert_eq!(
            problem(refused.unwrap_err()).field.as_deref(),
            Some(field),
            "{wish:?}"
        );
    }
    assert!(
        running.fake.states.lock().unwrap().is_empty(),
        "a refused wish changed something"
    );
}

#[test]
fn what_the_configuration_says_is_a_conflict_and_no_configuration_is_no_verdict() {
    let running = Running::start();
    *running.fake.refuse.lock().unwrap() = Some(TargetError::ConfiguredOtherwise {
        target: "be/web".to_owned(),
        state: AdminState::Draining,
    });
    assert_eq!(code(&running.run("enable be/web")), 1);
    running.fake.configuration.lock().unwrap().revision = 0;
    // Unknown would be a guess, and lastcall-hold would let its server go on it.
    assert_eq!(
        code(&running.run("wait be/web --for=drained --timeout 1s")),
        4
    );
    assert_eq!(code(&running.run("status be/wep")), 4);
}

#[test]
fn a_refused_reload_says_all_that_is_wrong() {
    let running = Running::start();
    let reload = || {
        let socket = running.socket();
        super::reach::block_on(async move {
            client(socket)
                .post::<schema::Reloaded>("/v1/reload", &())
                .await
        })
    };
    assert_eq!(reload().unwrap().configuration.revision, 1);
    running.fake.configuration.lock().unwrap().faults = vec![ConfigurationFault {
        source: "shop.yaml".to_owned(),
        line: Some(7),
        field: Some("spec.listeners[0].port".to_owned()),
        message: "port is 1 to 65535".to_owned(),
    }];
    let failure = reload().unwrap_err();
    assert_eq!(failure.exit_code(), 1);
    assert!(
        failure
            .to_string()
            .contains("shop.yaml:7: spec.listeners[0].port: port is 1"),
        "{failure}"
    );
}

#[test]
fn the_stream_of_a_wait_shows_the_number_fall() {
    let running = Running::start();
    running.fake.set(ServiceState::InService, DEREGISTERING, 2);
    let socket = running.socket();
    super::reach::block_on(async {
        let client = client(socket);
        let mut lines = client
            .lines::<WaitLine>("/v1/wait?target=be/web&for=drained")
            .await?;
        for left in [2, 1] {
            running
                .fake
                .set(ServiceState::InService, DEREGISTERING, left);
            let line = lines.next().await?;
            assert!(
                matches!(line, WaitLine::Waiting { in_flight, .. } if in_flight == left),
                "{line:?}"
            );
        }
        running
            .fake
            .set(ServiceState::OutOfService, DEREGISTERED, 0);
        assert!(matches!(
            lines.next().await?,
            WaitLine::Reached { cut: 0, .. }
        ));
        Ok(())
    })
    .unwrap();
}

fn holding(in_flight: u64) -> HoldUpdate {
    HoldUpdate::Holding {
        remaining: Duration::from_mins(1),
        in_flight,
        endpoints: vec![EndpointId {
            backend: ObjectName::new("default", "web"),
            member: Member::Static(([127, 0, 0, 1], 1).into()),
        }],
    }
}

fn options(running: &Running) -> lastcall_hold::Options {
    lastcall_hold::Options {
        socket: running.socket(),
        grace: Some(Duration::from_secs(30)),
        ..lastcall_hold::Options::new(vec!["be/web/127.0.0.1:1".to_owned()])
    }
}

#[test]
fn lastcall_hold_is_held_over_a_crash_and_released_by_the_second_one() {
    let mut running = Running::start();
    let options = options(&running);
    let hold = std::thread::spawn(move || lastcall_hold::run(&options, &mut |_| {}));
    let holds = |running: &Running| running.fake.holds.lock().unwrap().len();
    until("the hold", || holds(&running) == 1);
    running.fake.holds.lock().unwrap()[0]
        .1
        .send(holding(3))
        .unwrap();
    running.crash();
    assert!(!hold.is_finished(), "released by a crash");
    running.serve();
    until("the second call", || holds(&running) == 2);
    {
        let holds = running.fake.holds.lock().unwrap();
        assert_eq!(holds[0].0.key, holds[1].0.key, "one hold");
        assert!(holds[1].0.grace <= Some(Duration::from_secs(30)));
        assert!(
            holds[0].1.is_closed(),
            "the first caller looks as if it were there"
        );
        holds[1].1.send(holding(1)).unwrap();
        let released = Released {
            cause: ReleaseCause::Drained,
            held: Duration::from_secs(2),
            since_last_byte: Duration::from_micros(200),
            cut: 0,
        };
        holds[1].1.send(HoldUpdate::Released(released)).unwrap();
    }
    let outcome = hold.join().unwrap();
    assert!(!outcome.is_loud(), "{outcome}");
}

#[test]
fn lastcall_hold_is_told_at_once_of_an_unknown_target() {
    let running = Running::start();
    *running.fake.refuse.lock().unwrap() = Some(TargetError::NoBackend {
        namespace: "default".to_owned(),
        name: "wep".to_owned(),
        known: vec!["default/web".to_owned()],
    });
    let outcome = lastcall_hold::run(&options(&running), &mut |_| {});
    assert_eq!(outcome.exit_code(), 2, "{outcome}");
    assert!(
        outcome.to_string().contains("there are: default/web"),
        "{outcome}"
    );
}
