//! Interim responses: early hints on their way through, and who says 100 to a client that waits for it.

use crate::support::backend::{self, Backend, Step};
use crate::support::{Config, End, Lastcall, RawClient};

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn serve(server: &Backend) -> Lastcall {
    Lastcall::start(Config::new(&[server.address]))
}

/// The head of a request whose client sends its body when it is told to.
const WAITING: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[test]
fn early_hints_come_before_the_answer_but_not_to_http_1_0() {
    let server = Backend::start(|_| {
        let mut steps = vec![
            send(
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n",
            ),
            send("HTTP/1.1 102 Processing\r\n\r\n"),
        ];
        steps.extend(backend::ok("done"));
        steps
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = client.read_head();
    assert_eq!(
        (hints.status(), hints.field("Link")),
        (103, Some("</a.css>"))
    );
    assert_eq!(hints.field("X-Hop"), None);
    assert_eq!(client.read_head().status(), 102);
    assert_eq!(client.read_response().body_text(), "done");

    let mut old = RawClient::sending(lastcall.address, "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let (bytes, end) = old.read_to_end();
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && bytes.ends_with(b"done"));
    assert_eq!(end, End::Fin);
}

#[test]
fn hints_come_while_the_answer_is_still_awaited() {
    let gate = backend::Gate::new();
    let awaited = gate.clone();
    let server = Backend::start(move |_| {
        let mut steps = vec![send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")];
        steps.extend(backend::slow(&awaited, "done"));
        steps
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().status(), 103);
    gate.open();
    assert_eq!(client.read_response().body_text(), "done");
}

#[test]
fn a_client_that_waits_gets_the_servers_own_100() {
    let server = Backend::at_head(|_| {
        let mut steps = vec![
            send("HTTP/1.1 100 Continue\r\nX-From: server\r\n\r\n"),
            Step::ReadBody,
        ];
        steps.extend(backend::ok("thanks"));
        steps
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, WAITING);
    let interim = client.read_head();
    assert_eq!(
        (interim.status(), interim.field("X-From")),
        (100, Some("server"))
    );
    assert_eq!(client.ask("hello").body_text(), "thanks");
    let seen = &server.seen()[0];
    assert_eq!(seen.field("Expect"), Some("100-continue"));
    assert_eq!((&seen.body[..], seen.complete), (&b"hello"[..], true));
    // Nothing was given up: both connections go on.
    client.send(WAITING);
    assert_eq!(client.read_head().status(), 100);
    assert_eq!(client.ask("hello").body_text(), "thanks");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_client_that_waits_gets_the_servers_answer_in_place_of_a_100() {
    let server = Backend::at_head(|seen| match seen.field("Expect") {
        Some(_) => vec![send(
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        )],
        None => backend::ok("own"),
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, WAITING);
    let answer = client.read_response();
    assert_eq!(answer.status(), 401);
    // Whether the body still comes nobody can know: what follows must not be read as a request.
    assert_eq!(answer.field("Connection"), Some("close"));
    let _ = client.try_send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    // Nor is the server's connection used again, where half a request lies.
    server.wait_for_open_connections(0);
    let mut next = RawClient::connect(lastcall.address);
    assert_eq!(
        next.ask("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            .body_text(),
        "own"
    );
    let seen = server.seen();
    assert_eq!(
        (seen.len(), seen[0].complete, seen[1].target()),
        (2, false, "/next")
    );
}

#[test]
fn a_client_that_waits_too_long_gets_lastcalls_100() {
    let server = Backend::echo();
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, WAITING);
    assert_eq!(client.read_head().head, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.ask("hello").body_text(), "hello");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_100_of_the_server_that_comes_after_lastcalls_is_not_passed_on() {
    let gate = backend::Gate::new();
    let awaited = gate.clone();
    let server = Backend::at_head(move |_| {
        let mut steps = vec![Step::Await(awaited.clone())];
        steps.extend(backend::continues(backend::ok("done")));
        steps
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, WAITING);
    assert_eq!(client.read_head().status(), 100);
    gate.open();
    client.send("hello");
    assert_eq!(client.read_head().status(), 200);
}

#[test]
fn a_client_that_waits_for_nothing_gets_no_100() {
    let server = Backend::at_head(|_| backend::continues(backend::ok("done")));
    let lastcall = serve(&server);
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        // HTTP/1.0 knows neither: its expectation is no expectation (RFC 9110 section 10.1.1).
        "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let mut client = RawClient::sending(lastcall.address, request);
        assert_eq!(client.read_head().status(), 200, "{request}");
        let seen = server.seen();
        let seen = seen.last().unwrap();
        assert_eq!((seen.field("Expect"), seen.complete), (None, true));
    }
    // The control: one that waits gets it, even where its body is already under way.
    let mut client = RawClient::sending(lastcall.address, format!("{WAITING}hello"));
    assert_eq!(client.read_head().status(), 100);
    assert_eq!(client.read_response().body_text(), "done");
}
