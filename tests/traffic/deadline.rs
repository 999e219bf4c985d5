//! What outlives a hold's deadline is cut then, so that the client can tell, and it is counted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lastcall_hold::wire::Cause;

use crate::hold::{Hold, Released};
use crate::status;
use crate::support::backend::{Gate, Seen, Step, chunk};
use crate::support::{Backend, Config, End, Lastcall, RawClient, wait_until};

const GRACE: Duration = Duration::from_secs(6);

/// Begins an answer of the kind that the path names, and goes on when the gate opens.
fn begins_an_answer(seen: &Seen, gate: &Gate) -> Vec<Step> {
    let pause = Step::Await(gate.clone());
    let head = |fields: &str| Step::Send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes());
    let rest = || Step::Send(b"rest".to_vec());
    match seen.target() {
        "/chunked" => vec![
            head("Transfer-Encoding: chunked\r\n"),
            Step::Send(chunk(b"begin")),
            pause,
            Step::Send(chunk(b"rest")),
            Step::Send(b"0\r\n\r\n".to_vec()),
        ],
        "/length" => vec![
            head("Content-Length: 9\r\n"),
            Step::Send(b"begin".to_vec()),
            pause,
            rest(),
        ],
        "/until-close" => vec![
            head(""),
            Step::Send(b"begin".to_vec()),
            pause,
            rest(),
            Step::Close,
        ],
        _ => vec![pause, head("Content-Length: 4\r\n"), rest()],
    }
}

/// Clients in the middle of something with one server: answers that have begun, in every framing, one that
/// has not, and an upload that stalls.
struct Stalled {
    begun: Vec<(&'static str, RawClient)>,
    unanswered: RawClient,
    upload: RawClient,
}

const IN_FLIGHT: u64 = 6;

impl Stalled {
    fn start(target: SocketAddr) -> Self {
        let begins = [
            ("chunked", "GET /chunked HTTP/1.1\r\nHost: t\r\n\r\n"),
            ("length", "GET /length HTTP/1.1\r\nHost: t\r\n\r\n"),
            (
                "until close",
                "GET /until-close HTTP/1.1\r\nHost: t\r\n\r\n",
            ),
            ("HTTP/1.0", "GET /until-close HTTP/1.0\r\nHost: t\r\n\r\n"),
        ];
        let begun = begins.map(|(name, request)| {
            let mut client = RawClient::sending(target, request);
            client.read_until("begin");
            (name, client)
        });
        let post = |length| {
            format!("POST /none HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\nhello")
        };
        Self {
            begun: begun.into(),
            unanswered: RawClient::sending(target, post(5)),
            upload: RawClient::sending(target, post(50)),
        }
    }
}

struct Scene {
    server: Backend,
    _other: Backend,
    lastcall: Lastcall,
    gate: Gate,
    clients: Stalled,
}

fn scene() -> Scene {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Backend::start(move |seen| begins_an_answer(seen, &held));
    let other = Backend::echo();
    let mut config = Config::new(&[]);
    // What is in flight all goes to the one server; the other is there to take what comes later.
    let weighted = |address: SocketAddr, weight: u32| {
        format!(
            "address: {}, port: {}, weight: {weight}",
            address.ip(),
            address.port()
        )
    };
    config.set_endpoints_as(
        "web",
        &[&weighted(server.address, 100), &weighted(other.address, 0)],
    );
    let lastcall =
        Lastcall::start(config.load_balancer("connectionDraining: {lastEndpoint: Drain}"));
    let clients = Stalled::start(lastcall.address);
    status::wait_for_in_flight(&lastcall, server.address, IN_FLIGHT);
    Scene {
        server,
        _other: other,
        lastcall,
        gate,
        clients,
    }
}

fn hold_to_the_end(scene: &Scene, grace: Duration) -> (Released, Duration) {
    let begin = Instant::now();
    let released = Hold::of(&scene.lastcall, scene.server.address, grace).released(grace * 4);
    (released, begin.elapsed())
}

#[test]
fn at_the_deadline_what_is_in_flight_is_cut_visibly_and_counted() {
    let mut scene = scene();
    let (released, took) = hold_to_the_end(&scene, GRACE);
    assert_eq!(released.cause(), (Cause::Deadline, IN_FLIGHT));
    // The hook asks for a little less than its grace, so that the word arrives in it, as the cause shows: without
    // the word it would have given up.
    assert!(took > GRACE.mul_f64(0.7) && took < 2 * GRACE, "{took:?}");

    for (name, client) in &mut scene.clients.begun {
        let (rest, end) = client.read_to_end();
        assert_eq!(end, End::Reset, "{name}: must not look complete");
        assert!(rest.is_empty(), "{name}: {}", rest.escape_ascii());
    }
    for client in [&mut scene.clients.unanswered, &mut scene.clients.upload] {
        let answer = client.read_response();
        assert_eq!(answer.status(), 503, "{}", answer.head);
        assert!(answer.field("retry-after").is_some(), "{}", answer.head);
    }

    let endpoint = status::wait_for(&scene.lastcall, scene.server.address, status::DEREGISTERED);
    assert_eq!(endpoint["cutTotal"], IN_FLIGHT, "{endpoint}");
    assert_eq!(endpoint["inFlight"], 0, "{endpoint}");
    let count = |sample: &str| scene.lastcall.count(sample);
    assert_eq!(count("lastcall_cuts_total"), Some(IN_FLIGHT));
    let ended = r#"lastcall_holds_total{cause="deadline"}"#;
    assert_eq!(count(ended), Some(1), "{}", scene.lastcall.scrape());
    scene.lastcall.wait_for_log("drain timed out");
    scene.lastcall.wait_for_log("released at the deadline");
    scene.gate.open();
}

#[test]
fn the_same_requests_are_whole_where_they_end_before_the_deadline() {
    let mut scene = scene();
    let hold = Hold::of(
        &scene.lastcall,
        scene.server.address,
        Duration::from_secs(30),
    );
    scene.gate.open();
    for (name, client) in &mut scene.clients.begun {
        let rest = client.read_until("rest");
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(rest.contains("rest"), "{name}: {rest}");
    }
    assert_eq!(scene.clients.unanswered.read_response().status(), 200);
    assert!(hold.is_waiting(), "an upload is in flight");
    scene.clients.upload.send([b'x'; 45]);
    assert_eq!(scene.clients.upload.read_response().status(), 200);
    let released = hold.released(Duration::from_secs(30));
    assert_eq!(released.cause(), (Cause::Drained, 0));
}

#[test]
fn disabling_cuts_at_once_and_the_hold_says_so() {
    let scene = scene();
    let hold = Hold::of(
        &scene.lastcall,
        scene.server.address,
        Duration::from_secs(30),
    );
    let target = format!("be/web/{}", scene.server.address);
    let disabled = scene.lastcall.cli(&["disable", &target]);
    assert!(disabled.status.success(), "{disabled:?}");
    let released = hold.released(Duration::from_secs(5));
    assert_eq!(released.cause(), (Cause::Cut, IN_FLIGHT));
    for (name, mut client) in scene.clients.begun {
        assert_eq!(client.read_to_end().1, End::Reset, "{name}");
    }
    scene.gate.open();
}

#[test]
fn an_operators_drain_has_a_deadline_of_its_own_and_says_what_it_cut() {
    let scene = scene();
    let target = format!("be/web/{}", scene.server.address);
    let drained = scene
        .lastcall
        .cli(&["drain", "--wait", "--timeout", "1s", &target]);
    let (code, said) = status::exit(&drained);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("6 request(s) were cut"), "{said}");
    wait_until("the server to be free", status::LIMIT, || {
        let endpoint = status::endpoint(&scene.lastcall, scene.server.address);
        (endpoint["inFlight"] == 0).then_some(()).ok_or(endpoint)
    });
    scene.gate.open();
}
