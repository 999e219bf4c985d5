//! Requests that are asked again: of another endpoint, or on another connection. What is sent then is byte
//! for byte what should have been sent before, and never later than the client waits (Law 7).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::LIMIT;
use crate::support::backend::{self, Backend, Gate, Step};
use crate::support::{Config, Lastcall, RawClient, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

/// The bodies behind the heads of POSTs, as they came on all connections, framing included.
fn posted(server: &Backend) -> Vec<String> {
    let mut bodies = Vec::new();
    for raw in server.raw_received() {
        let text = String::from_utf8_lossy(&raw).replace("GET / ", "POST / GET");
        for request in text
            .split("POST / ")
            .filter(|rest| rest.starts_with("HTTP"))
        {
            let (_, body) = request.split_once("\r\n\r\n").unwrap_or_default();
            bodies.push(body.to_owned());
        }
    }
    bodies
}

/// A server that answers a GET with `name`, then resets the connection when the test says so.
fn resetting(name: &'static str, gates: &Arc<Mutex<Vec<Gate>>>) -> Backend {
    let gates = Arc::clone(gates);
    Backend::start(move |seen| {
        if seen.head.starts_with("POST") {
            return backend::ok(&seen.body);
        }
        let gate = Gate::new();
        gates.lock().unwrap().push(gate.clone());
        let mut steps = backend::ok(name);
        steps.extend([Step::Await(gate), Step::Reset]);
        steps
    })
}

/// Whether lastcall has heard of a reset when it sends is a race, so it is run often; what happens then is
/// decided in the relay, which has tests of its own.
#[test]
fn a_chunked_body_is_the_same_for_whoever_gets_it_after_a_reset() {
    let gates = Arc::default();
    let (one, other) = (resetting("one", &gates), resetting("other", &gates));
    let lastcall = Lastcall::start(Config::new(&[one.address, other.address]));
    let (begin, rest) = ("5\r\n", "hello\r\n0\r\n\r\n");
    for turn in 0..400 {
        let mut client = RawClient::connect(lastcall.address);
        client.ask(GET);
        client.ask(GET);
        for gate in gates.lock().unwrap().drain(..) {
            gate.open();
        }
        for _ in 0..turn % 40 * 50 {
            std::hint::spin_loop();
        }
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        if turn % 2 == 0 {
            client.send([head, begin, rest].concat());
        } else {
            client.send([head, begin].concat());
            client.send(rest);
        }
        // 502: the reset came after the POST had begun to go out.
        let answer = client.read_response();
        let said = (answer.status(), answer.body_text());
        assert!(
            said == (200, "hello".to_owned()) || said.0 == 502,
            "{said:?}"
        );
    }
    let whole = [begin, rest].concat();
    for body in [posted(&one), posted(&other)].concat() {
        assert!(whole.starts_with(&body), "{body:?}");
    }
}

/// A server that serves one request a connection and says nothing of it.
fn once_a_connection() -> Backend {
    let served = Mutex::new(Vec::new());
    Backend::start(move |seen| {
        let mut served = served.lock().unwrap();
        if served.contains(&seen.connection) {
            return vec![Step::Close];
        }
        served.push(seen.connection);
        backend::ok("served")
    })
}

#[test]
fn a_kept_connection_that_was_given_up_costs_a_get_nothing() {
    let server = once_a_connection();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut client = RawClient::connect(lastcall.address);
    for _ in 0..10 {
        let answer = client.ask(GET);
        assert_eq!(
            (answer.status(), answer.body_text()),
            (200, "served".to_owned())
        );
    }
    // A POST may have been acted on, so it is not sent twice.
    assert_eq!(client.ask(POST).status(), 502);
    assert_eq!(posted(&server).len(), 1);
}

#[test]
fn servers_that_all_gave_their_connections_up_still_serve_a_get() {
    let servers = [once_a_connection(), once_a_connection()];
    let addresses = servers.each_ref().map(|server| server.address);
    let lastcall = Lastcall::start(Config::new(&addresses));
    let mut client = RawClient::connect(lastcall.address);
    for _ in 0..20 {
        assert_eq!(client.ask(GET).status(), 200);
    }
    assert!(servers.iter().all(|server| server.connections() > 1));
}

#[test]
fn a_server_that_never_answers_is_asked_once_more_and_no_oftener() {
    let server = Backend::start(|seen| {
        if seen.connection == 0 && seen.target() == "/warm" {
            backend::ok("warm")
        } else {
            vec![Step::Close]
        }
    });
    let config = Config::new(&[server.address]).backend("web", "retry: {attempts: 10}");
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::connect(lastcall.address);
    assert_eq!(client.ask(GET.replace("/ ", "/warm ")).status(), 200);
    assert_eq!(client.ask(GET).status(), 502);
    assert_eq!(server.seen().len(), 3);
}

/// Listens, and answers no handshake: its queue is full.
pub fn black_hole() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut sockets = vec![listener];
    loop {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let connected = filler.connect_timeout(&address.into(), Duration::from_millis(300));
        sockets.push(filler);
        if connected.is_err() {
            return (address, sockets);
        }
    }
}

#[test]
fn nothing_is_sent_for_a_client_that_was_told_it_took_too_long() {
    let server = Backend::start(|seen| backend::ok(&seen.body));
    let config = Config::new(&[server.address]).backend(
        "web",
        "timeouts: {request: 3s, connect: 5s, backendIdle: 60s}",
    );
    let mut lastcall = Lastcall::start(config.clone());
    let mut client = RawClient::connect(lastcall.address);
    // From here on a connection to the server is kept.
    assert_eq!(client.ask(GET).status(), 200);
    let (hole, _sockets) = black_hole();
    lastcall.reload(config.endpoints("web", &[hole, server.address]));
    wait_until("the endpoint to be there", LIMIT, || {
        lastcall.in_flight(hole).ok_or("it is not")
    });
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let statuses: Vec<u16> = (0..4).map(|_| client.ask(post).status()).collect();
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(
        statuses.iter().filter(|status| **status == 504).count(),
        4 - served
    );
    assert!(
        served < 4,
        "the endpoint that takes no connection was never asked"
    );
    // What was sent has been read once the connections have ended.
    drop((client, lastcall));
    server.wait_for_open_connections(0);
    assert_eq!(posted(&server).len(), served);
}
