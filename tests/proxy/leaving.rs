//! Endpoints that leave while clients are served: what is idle, what is in flight, what is new.

use crate::support::backend::{self, Backend, Gate, Step};
use crate::support::{Config, End, Lastcall, RawClient};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
}

/// A server that answers with its name: `/wait` when the gate is opened, `/begun` half of it before.
fn named(name: &'static str, gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |seen| match seen.target() {
        "/wait" => backend::slow(&gate, name),
        "/begun" => vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_vec()),
            Step::Await(gate.clone()),
            Step::Send(b"world".to_vec()),
        ],
        "/chat" => backend::websocket(),
        _ => backend::ok(name),
    })
}

/// Two servers, `a` and `b`, and lastcall before them.
struct Pair {
    a: Backend,
    b: Backend,
    lastcall: Lastcall,
    gate: Gate,
}

impl Pair {
    fn start() -> Self {
        let gate = Gate::new();
        let (a, b) = (named("a", &gate), named("b", &gate));
        let lastcall = Lastcall::start(Config::new(&[a.address, b.address]));
        Self {
            a,
            b,
            lastcall,
            gate,
        }
    }

    fn cli(&self, command: &[&str], server: &Backend) {
        let target = format!("be/web/{}", server.address);
        let output = self.lastcall.cli(&[command, &[&target]].concat());
        assert!(output.status.success(), "{output:?}");
    }

    /// A client whose request is in flight on `a`.
    fn in_flight_on_a(&self, request: &str) -> RawClient {
        loop {
            let before = self.a.seen().len() + self.b.seen().len();
            let on_a = self.a.seen().len();
            let client = RawClient::sending(self.lastcall.address, request);
            crate::support::wait_until("the request", crate::LIMIT, || {
                match self.a.seen().len() + self.b.seen().len() {
                    now if now > before => Ok(()),
                    now => Err(now),
                }
            });
            if self.a.seen().len() > on_a {
                return client;
            }
        }
    }
}

#[test]
fn idle_connections_to_a_leaving_endpoint_are_closed_at_once() {
    let pair = Pair::start();
    // Several, and of both workers as it comes.
    let mut clients: Vec<_> = (0..8)
        .map(|_| RawClient::connect(pair.lastcall.address))
        .collect();
    for client in &mut clients {
        for _ in 0..2 {
            assert_eq!(client.ask(get("/")).status(), 200);
        }
    }
    let open_to_b = pair.b.open_connections();
    assert!(pair.a.open_connections() > 0 && open_to_b > 0);
    pair.cli(&["drain"], &pair.a);
    pair.a.wait_for_open_connections(0);
    // The control: those to the other stay, and so do those of clients.
    assert_eq!(pair.b.open_connections(), open_to_b);
    for client in &mut clients {
        assert_eq!(client.ask(get("/")).body_text(), "b");
    }
}

#[test]
fn what_is_in_flight_finishes_and_what_is_new_goes_elsewhere() {
    let pair = Pair::start();
    let mut waits = pair.in_flight_on_a(&post("/wait"));
    let mut begun = pair.in_flight_on_a(&get("/begun"));
    begun.read_until("hello");
    pair.cli(&["drain"], &pair.a);
    let before = pair.a.seen().len();
    let mut client = RawClient::connect(pair.lastcall.address);
    for _ in 0..20 {
        assert_eq!(client.ask(get("/")).body_text(), "b");
    }
    assert_eq!(pair.a.seen().len(), before);
    assert_eq!(pair.lastcall.in_flight(pair.a.address), Some(2.0));
    pair.gate.open();
    let answer = waits.read_response();
    assert_eq!((answer.status(), answer.body_text()), (200, "a".to_owned()));
    // A drain of an endpoint is no reason to send a client away.
    assert_eq!(answer.field("Connection"), None);
    assert_eq!(waits.ask(get("/")).body_text(), "b");
    begun.read_until("world");
    pair.lastcall.wait_for_in_flight(pair.a.address, 0);
    // What they came on was not kept.
    pair.a.wait_for_open_connections(0);
    assert_eq!(pair.lastcall.metric("lastcall_cuts_total"), Some(0.0));

    pair.cli(&["enable"], &pair.a);
    let answers: Vec<_> = (0..4).map(|_| client.ask(get("/")).body_text()).collect();
    assert!(answers.contains(&"a".to_owned()), "{answers:?}");
}

#[test]
fn a_disabled_endpoint_is_cut_visibly_and_nothing_is_sent_twice() {
    let pair = Pair::start();
    let mut waits = pair.in_flight_on_a(&post("/wait"));
    let mut reads = pair.in_flight_on_a(&get("/wait"));
    let mut begun = pair.in_flight_on_a(&get("/begun"));
    begun.read_until("hello");
    let upgrade =
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut upgraded = pair.in_flight_on_a(upgrade);
    assert_eq!(upgraded.read_head().status(), 101);
    assert_eq!(pair.lastcall.in_flight(pair.a.address), Some(4.0));
    let before = (pair.a.seen().len(), pair.b.seen().len());
    pair.cli(&["disable"], &pair.a);
    for client in [&mut waits, &mut reads] {
        let answer = client.read_response();
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert_eq!(answer.field("Retry-After"), Some("1"));
        // It was whole, so its client may go on.
        assert_eq!(client.ask(get("/")).body_text(), "b");
    }
    for client in [&mut begun, &mut upgraded] {
        assert_eq!(client.read_to_end().1, End::Reset);
    }
    pair.lastcall.wait_for_in_flight(pair.a.address, 0);
    pair.lastcall.wait_for_metric("lastcall_cuts_total", 4.0);
    // The two that went on, and nothing of what was cut.
    assert_eq!(
        (pair.a.seen().len(), pair.b.seen().len()),
        (before.0, before.1 + 2)
    );
    pair.gate.open();
}

#[test]
fn a_drain_that_takes_too_long_is_cut_at_its_deadline_and_not_before() {
    let pair = Pair::start();
    let mut waits = pair.in_flight_on_a(&post("/wait"));
    let mut begun = pair.in_flight_on_a(&get("/begun"));
    begun.read_until("hello");
    let asked = std::time::Instant::now();
    pair.cli(&["drain", "--timeout", "1s"], &pair.a);
    let answer = waits.read_response();
    assert!(asked.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!(
        (answer.status(), answer.field("Retry-After")),
        (503, Some("1"))
    );
    assert_eq!(begun.read_to_end().1, End::Reset);
    pair.lastcall.wait_for_metric("lastcall_cuts_total", 2.0);
    pair.lastcall.wait_for_in_flight(pair.a.address, 0);
    pair.gate.open();
}

#[test]
fn where_all_endpoints_leave_the_client_is_told_and_what_is_in_flight_finishes() {
    let pair = Pair::start();
    let mut waits = pair.in_flight_on_a(&post("/wait"));
    let output = pair.lastcall.cli(&["drain", "be/web"]);
    assert!(output.status.success(), "{output:?}");
    let mut client = RawClient::connect(pair.lastcall.address);
    for _ in 0..3 {
        let answer = client.ask(get("/"));
        assert_eq!(
            (answer.status(), answer.field("Retry-After")),
            (503, Some("1"))
        );
    }
    pair.gate.open();
    assert_eq!(waits.read_response().body_text(), "a");
    assert_eq!(waits.ask(get("/")).status(), 503);
    let output = pair.lastcall.cli(&["enable", "be/web"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(client.ask(get("/")).status(), 200);
}

#[test]
fn an_endpoint_taken_out_of_the_file_leaves_as_gently() {
    let mut pair = Pair::start();
    let mut waits = pair.in_flight_on_a(&post("/wait"));
    let config = pair.lastcall.config().endpoints("web", &[pair.b.address]);
    pair.lastcall.reload(config);
    let mut client = RawClient::connect(pair.lastcall.address);
    // Three in a row: with both in turn at least one would be the other's.
    crate::support::wait_until("only b to answer", crate::LIMIT, || {
        let answers: Vec<_> = (0..3).map(|_| client.ask(get("/")).body_text()).collect();
        if answers.iter().all(|name| name == "b") {
            Ok(())
        } else {
            Err(answers)
        }
    });
    let before = pair.a.seen().len();
    for _ in 0..10 {
        assert_eq!(client.ask(get("/")).body_text(), "b");
    }
    assert_eq!(pair.a.seen().len(), before);
    pair.gate.open();
    assert_eq!(waits.read_response().body_text(), "a");
    pair.a.wait_for_open_connections(0);
}
