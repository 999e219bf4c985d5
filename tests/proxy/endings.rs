//! How exchanges end when one side is early or leaves: answers before the end of an upload, lingering
//! close, half-close, reset.

use std::time::Duration;

use crate::support::backend::{self, Backend, Gate, Step};
use crate::support::client::Answer;
use crate::support::{Config, End, Lastcall, RawClient, wait_until};

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn serve(server: &Backend) -> Lastcall {
    Lastcall::start(Config::new(&[server.address]))
}

const GET: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn an_answer_that_comes_early_passes_while_the_upload_goes_on() {
    let server = Backend::at_head(|_| {
        let mut steps = backend::ok("early");
        steps.push(Step::ReadBody);
        steps
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(
        lastcall.address,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
    );
    assert_eq!(client.read_response().body_text(), "early");
    // Its server still reads, so it is still in flight there.
    assert_eq!(lastcall.in_flight(server.address), Some(1.0));
    client.send("world");
    lastcall.wait_for_in_flight(server.address, 0);
    wait_until("the server to have read it", crate::LIMIT, || {
        let seen = server.seen().swap_remove(0);
        if seen.complete { Ok(()) } else { Err(seen) }
    });
    assert_eq!(server.seen()[0].body, b"helloworld");
    assert_eq!(client.ask(GET).body_text(), "early");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_server_that_answered_and_closed_has_nothing_in_flight_however_long_the_client_pauses() {
    let server = Backend::at_head(|_| {
        backend::raw("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(
        lastcall.address,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
    );
    assert_eq!(client.read_response().body_text(), "big");
    lastcall.wait_for_in_flight(server.address, 0);
    // What is left of the upload has nowhere to go.
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
}

#[test]
fn a_server_that_answers_and_closes_amid_an_upload_is_heard() {
    let server = Backend::at_head(|_| {
        backend::raw("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    });
    let lastcall = serve(&server);
    for _ in 0..5 {
        let mut client = RawClient::connect(lastcall.address);
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000000\r\n\r\n");
        // Sent blindly, as by a client that reads only when it has sent all; more than all buffers on the
        // way hold, so the server's end is met.
        for _ in 0..400 {
            if client.try_send(vec![b'x'; 100_000]).is_err() {
                break;
            }
        }
        let answer = client.read_response();
        assert_eq!(
            (answer.status(), answer.body_text()),
            (413, "big".to_owned())
        );
        assert_eq!(client.read_to_end().1, End::Fin);
    }
}

/// Sends a body of `size` bytes to its end, whatever comes back; then what came, and how it ended.
fn send_all_then_read(lastcall: &Lastcall, size: usize) -> (Vec<u8>, End) {
    let mut client = RawClient::connect(lastcall.address);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    ));
    let mut left = size;
    while left > 0 {
        let piece = left.min(64 * 1024);
        client.send(vec![b'x'; piece]);
        left -= piece;
    }
    client.read_to_end()
}

#[test]
fn a_client_that_sends_on_after_a_refusal_still_reads_it() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]).load_balancer("limits: {bodyBytes: 100000}");
    let lastcall = Lastcall::start(config);
    // The first needs no lingering; the last is far more than any socket buffer holds.
    for size in [100_001, 1_000_000, 30_000_000] {
        let (bytes, end) = send_all_then_read(&lastcall, size);
        let answer = Answer::whole(&bytes).unwrap();
        assert_eq!((answer.status(), end), (413, End::Fin), "{size} bytes");
        assert_eq!(answer.field("Connection"), Some("close"));
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_client_that_closes_its_side_after_its_requests_gets_its_responses() {
    let gate = Gate::new();
    let awaited = gate.clone();
    let server = Backend::start(move |seen| backend::slow(&awaited, seen.target()));
    let lastcall = serve(&server);
    let client = RawClient::sending(
        lastcall.address,
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let mut client = client;
    client.half_close();
    server.wait_for_requests(1);
    // lastcall has seen the end too, or will before the gate opens; either way both are answered.
    gate.open();
    assert_eq!(client.read_response().body_text(), "/1");
    assert_eq!(client.read_response().body_text(), "/2");
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
}

#[test]
fn a_client_that_closes_its_side_within_a_body_has_asked_nothing() {
    let server = Backend::echo();
    let lastcall = serve(&server);
    let mut client = RawClient::sending(
        lastcall.address,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
    );
    client.half_close();
    let (bytes, _) = client.read_to_end();
    assert_eq!(bytes, b"");
    lastcall.wait_for_in_flight(server.address, 0);
    server.wait_for_open_connections(0);
    assert!(server.seen().iter().all(|seen| !seen.complete));
    // The control: the same, whole, is answered.
    let mut client = RawClient::sending(
        lastcall.address,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhelloworld",
    );
    client.half_close();
    assert_eq!(client.read_response().body_text(), "helloworld");
}

#[test]
fn a_client_that_resets_within_its_response_takes_the_servers_connection_along() {
    // After a piece of its response the server reads until its connection ends.
    let server = Backend::start(|_| {
        vec![
            send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello"),
            Step::Echo,
        ]
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("hello");
    lastcall.wait_for_in_flight(server.address, 1);
    assert_eq!(lastcall.metric("lastcall_client_gone_total"), Some(0.0));
    assert_eq!(server.open_connections(), 1);
    client.reset();
    server.wait_for_open_connections(0);
    lastcall.wait_for_in_flight(server.address, 0);
    lastcall.wait_for_metric("lastcall_client_gone_total", 1.0);
}

#[test]
fn a_client_that_resets_before_its_response_frees_the_server_too() {
    let server = Backend::start(|_| vec![Step::Echo]);
    let lastcall = serve(&server);
    let client = RawClient::sending(lastcall.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for_requests(1);
    lastcall.wait_for_in_flight(server.address, 1);
    client.reset();
    server.wait_for_open_connections(0);
    lastcall.wait_for_in_flight(server.address, 0);
    lastcall.wait_for_metric("lastcall_client_gone_total", 1.0);
}

#[test]
fn a_client_that_leaves_after_its_response_costs_the_server_nothing() {
    let server = Backend::start(|_| backend::stream(&[b"a", b"b"], Duration::ZERO, &[]));
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    assert_eq!(client.ask(GET).body_text(), "ab");
    client.reset();
    lastcall.wait_for_metric(
        "lastcall_connections{load_balancer=\"default/test\",listener=\"http\"}",
        0.0,
    );
    assert_eq!(server.open_connections(), 1);
    assert_eq!(lastcall.metric("lastcall_client_gone_total"), Some(0.0));
}
