//! Every time there is, each short here, with what it does not cover as its control.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::backend::{self, Backend, Gate, Step};
use crate::support::client::Answer;
use crate::support::{Config, End, Lastcall, RawClient, free_port};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn serve(server: SocketAddr, clients: &str, servers: &str) -> Lastcall {
    let config = Config::new(&[server])
        .load_balancer(&format!("timeouts: {clients}"))
        .backend("web", &format!("timeouts: {servers}"));
    Lastcall::start(config)
}

#[test]
fn a_head_that_comes_too_slowly_is_refused_however_steadily_it_comes() {
    let server = Backend::echo();
    let lastcall = serve(server.address, "{requestHead: 2s, idle: 10s}", "{}");
    let mut stalls = RawClient::sending(lastcall.address, "GET / HTTP/1.1\r\nHo");
    let mut trickles = RawClient::connect(lastcall.address);
    let begin = Instant::now();
    for byte in GET.bytes().cycle() {
        if trickles.end_now() != End::Open || trickles.try_send([byte]).is_err() {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "it goes on");
        // Far below a whole head in time, and never silent for long.
        std::thread::sleep(Duration::from_millis(100));
    }
    for client in [&mut stalls, &mut trickles] {
        let (bytes, end) = client.read_to_end();
        let answer = Answer::whole(&bytes).unwrap();
        assert_eq!((answer.status(), end), (408, End::Fin));
    }
    assert_eq!(server.connections(), 0);
    // The control: a head in two pieces, in time.
    let mut client = RawClient::sending(lastcall.address, &GET[..20]);
    client.send(&GET[20..]);
    assert_eq!(client.read_response().status(), 200);
}

#[test]
fn a_connection_without_a_request_is_closed_without_a_word() {
    let gate = Gate::new();
    let awaited = gate.clone();
    let server = Backend::start(move |seen| match seen.target() {
        "/slow" => backend::slow(&awaited, "slow"),
        _ => backend::ok("ok"),
    });
    let lastcall = serve(server.address, "{idle: 2s}", "{}");
    let mut busy = RawClient::sending(lastcall.address, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut silent = RawClient::connect(lastcall.address);
    let mut kept = RawClient::connect(lastcall.address);
    assert_eq!(kept.ask(GET).status(), 200);
    for client in [&mut silent, &mut kept] {
        assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    }
    // The control: one that began before them, and waits for its answer, is not idle.
    gate.open();
    assert_eq!(busy.read_response().body_text(), "slow");
}

#[test]
fn a_client_that_takes_nothing_holds_its_server_only_so_long() {
    const SIZE: usize = 30_000_000;
    let server = Backend::start(|_| backend::ok(vec![b'x'; SIZE]));
    let lastcall = serve(server.address, "{write: 3s}", "{}");
    let mut stalls = RawClient::connect_with_small_buffers(lastcall.address);
    stalls.send(GET);
    lastcall.wait_for_in_flight(server.address, 1);
    // The control: one that reads gets it all meanwhile.
    let mut reads = RawClient::sending(lastcall.address, GET);
    assert_eq!(reads.read_response().body.len(), SIZE);
    lastcall.wait_for_in_flight(server.address, 0);
    lastcall.wait_for_metric("lastcall_client_gone_total", 1.0);
    let (bytes, end) = stalls.read_to_end();
    assert!(Answer::whole(&bytes).is_none());
    assert_eq!(end, End::Reset);
}

/// A listener whose queue is full: who connects is neither let in nor turned away. Those in the queue come
/// with it.
fn full_listener() -> (socket2::Socket, SocketAddr, Vec<TcpStream>) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let soon = Duration::from_millis(200);
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, soon).ok()).collect();
    (listener, address, waiting)
}

#[test]
fn an_endpoint_that_does_not_accept_is_504_and_one_that_refuses_502() {
    let (_listener, full, _waiting) = full_listener();
    let lastcall = serve(full, "{}", "{connect: 300ms}");
    let answer = RawClient::connect(lastcall.address).ask(GET);
    assert_eq!(
        (answer.status(), answer.field("Retry-After")),
        (504, Some("1"))
    );

    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let lastcall = serve(closed, "{}", "{connect: 300ms}");
    let answer = RawClient::connect(lastcall.address).ask(GET);
    assert_eq!(
        (answer.status(), answer.field("Retry-After")),
        (502, Some("1"))
    );

    // The control: the same times, an endpoint that accepts.
    let server = Backend::echo();
    let lastcall = serve(server.address, "{}", "{connect: 300ms}");
    assert_eq!(RawClient::connect(lastcall.address).ask(GET).status(), 200);
}

#[test]
fn a_server_that_does_not_answer_in_time_is_504_and_asked_only_once() {
    let gate = Gate::new();
    let awaited = gate.clone();
    let server = Backend::start(move |seen| match seen.target() {
        "/begun" => vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_vec()),
            Step::Await(awaited.clone()),
            Step::Send(b"world".to_vec()),
        ],
        // Reads until its connection ends.
        _ => vec![Step::Echo],
    });
    let lastcall = serve(server.address, "{}", "{responseHead: 2s}");
    let mut begun = RawClient::sending(lastcall.address, "GET /begun HTTP/1.1\r\nHost: a\r\n\r\n");
    begun.read_until("hello");
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask(GET);
    assert_eq!(answer.status(), 504);
    // It was sent, and its server may still act on it: nobody else is asked.
    assert_eq!(server.seen().len(), 2);
    lastcall.wait_for_in_flight(server.address, 1);
    server.wait_for_open_connections(1);
    // The control: an answer that had begun before may take longer, and this client may go on.
    gate.open();
    assert!(begun.read_until("world").ends_with(b"world"));
    assert_eq!(
        client
            .ask("GET /begun HTTP/1.1\r\nHost: a\r\n\r\n")
            .body_text(),
        "helloworld"
    );
}

#[test]
fn a_request_that_takes_too_long_as_a_whole_is_504_or_cut() {
    let server = Backend::start(|seen| match seen.target() {
        "/begun" => vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_vec()),
            Step::Echo,
        ],
        "/never" => vec![Step::Echo],
        _ => backend::ok("in time"),
    });
    let lastcall = serve(server.address, "{}", "{request: 2s}");
    let mut begun = RawClient::sending(lastcall.address, "GET /begun HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut client = RawClient::connect(lastcall.address);
    assert_eq!(
        client
            .ask("GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(),
        504
    );
    let (bytes, end) = begun.read_to_end();
    assert!(bytes.ends_with(b"hello"), "{}", bytes.escape_ascii());
    assert_eq!(end, End::Reset);
    lastcall.wait_for_in_flight(server.address, 0);
    assert_eq!(client.ask(GET).body_text(), "in time");
}

#[test]
fn a_kept_connection_is_closed_when_its_time_is_over_and_never_used_again() {
    let server = Backend::echo();
    let short = serve(server.address, "{}", "{backendIdle: 300ms}");
    let other = Backend::echo();
    let long = serve(other.address, "{}", "{backendIdle: 30s}");
    let mut clients = [&short, &long].map(|lastcall| RawClient::connect(lastcall.address));
    for client in &mut clients {
        assert_eq!(client.ask(GET).status(), 200);
    }
    // Also where nobody has come by yet to close it.
    std::thread::sleep(Duration::from_millis(310));
    for client in &mut clients {
        assert_eq!(client.ask(GET).status(), 200);
    }
    assert_eq!((server.connections(), other.connections()), (2, 1));
    server.wait_for_open_connections(0);
    assert_eq!(other.open_connections(), 1);
}

/// A server that says how long it keeps connections.
fn saying(keep_alive: &'static str) -> Backend {
    Backend::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\n{keep_alive}Content-Length: 0\r\n\r\n");
        vec![Step::Send(head.into_bytes())]
    })
}

#[test]
fn a_servers_own_word_on_how_long_it_keeps_a_connection_is_kept_with_a_margin() {
    let unsaid = saying("");
    let two = saying("Keep-Alive: max=100, timeout=2\r\n");
    let one = saying("Keep-Alive: timeout=1\r\n");
    let servers = [&unsaid, &two, &one];
    let started = servers.map(|server| serve(server.address, "{}", "{backendIdle: 30s}"));
    let answered = Instant::now();
    for lastcall in &started {
        let mut client = RawClient::connect(lastcall.address);
        assert_eq!(client.ask(GET).status(), 200);
    }
    // Not kept at all: there would be no margin left.
    one.wait_for_open_connections(0);
    two.wait_for_open_connections(0);
    assert!(
        answered.elapsed() < Duration::from_secs(20),
        "{:?}",
        answered.elapsed()
    );
    // The control.
    assert_eq!(unsaid.open_connections(), 1);
    assert_eq!(unsaid.connections(), 1);
}

#[test]
fn a_connection_is_not_used_beyond_its_servers_word() {
    let two = saying("Keep-Alive: timeout=2\r\n");
    let lastcall = serve(two.address, "{}", "{backendIdle: 30s}");
    let mut client = RawClient::connect(lastcall.address);
    client.ask(GET);
    client.ask(GET);
    assert_eq!(two.connections(), 1);
    std::thread::sleep(Duration::from_millis(1010));
    client.ask(GET);
    assert_eq!(two.connections(), 2);
}
