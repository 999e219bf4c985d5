//! Bounds on what clients may send: what is over gets its 4xx and reaches no server, what is just within is
//! served.

use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::client::Answer;
use crate::support::{Config, End, Lastcall, RawClient, wait_until};

fn limited(server: &Backend, limits: &str) -> Lastcall {
    Lastcall::start(Config::new(&[server.address]).load_balancer(&format!("limits: {limits}")))
}

/// The status of the one answer, after which the connection has to end.
fn refused(lastcall: &Lastcall, request: impl AsRef<[u8]>) -> u16 {
    let mut client = RawClient::sending(lastcall.address, request);
    let (bytes, end) = client.read_to_end();
    let (answer, length) = Answer::whole_with_length(&bytes).unwrap();
    assert_eq!((length, end), (bytes.len(), End::Fin));
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(
        answer.field("Content-Type"),
        Some("application/problem+json")
    );
    answer.status()
}

fn served(lastcall: &Lastcall, request: impl AsRef<[u8]>) -> Answer {
    let answer = RawClient::connect(lastcall.address).ask(request);
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer
}

#[test]
fn a_head_may_have_so_many_bytes_and_not_one_more() {
    let server = Backend::echo();
    let lastcall = limited(&server, "{headBytes: 1024, uriBytes: 64}");
    let sized = |size: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        rest.replace("X: ", &format!("X: {}", "x".repeat(size - rest.len())))
    };
    assert_eq!(sized(1024).len(), 1024);
    served(&lastcall, sized(1024));
    assert_eq!(refused(&lastcall, sized(1025)), 431);
    // Each request of a connection has its own.
    served(&lastcall, sized(1024) + &sized(1024));
    assert_eq!(server.wait_for_requests(3).len(), 3);
}

#[test]
fn a_head_may_have_so_many_fields_and_not_one_more() {
    let server = Backend::echo();
    let lastcall = limited(&server, "{headerCount: 5}");
    let with = |count: usize| {
        let more = "X: y\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n")
    };
    served(&lastcall, with(5));
    assert_eq!(refused(&lastcall, with(6)), 431);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_target_may_have_so_many_bytes_and_not_one_more() {
    let server = Backend::echo();
    let lastcall = limited(&server, "{uriBytes: 64}");
    let with = |size: usize| {
        let path = "p".repeat(size - 1);
        format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    served(&lastcall, with(64));
    assert_eq!(refused(&lastcall, with(65)), 414);
    assert_eq!(server.seen().len(), 1);
}

fn chunked(size: usize) -> String {
    let body: String = (0..size).map(|_| "1\r\nx\r\n").collect();
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n")
}

fn sized(size: usize) -> String {
    let body = "x".repeat(size);
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{body}")
}

#[test]
fn a_body_may_have_so_many_bytes_and_not_one_more() {
    let server = Backend::echo();
    let lastcall = limited(&server, "{bodyBytes: 1000}");
    for request in [sized(1000), chunked(1000)] {
        assert_eq!(served(&lastcall, request).body.len(), 1000);
    }
    assert_eq!(server.seen().len(), 2);
    // A length is refused before a byte of it is read, and no server hears of it.
    assert_eq!(refused(&lastcall, sized(1001)), 413);
    assert_eq!(server.seen().len(), 2);
    // Chunks are counted as they come: a server may have heard of it, but never of its end.
    assert_eq!(refused(&lastcall, chunked(1001)), 413);
    lastcall.wait_for_in_flight(server.address, 0);
    assert_eq!(server.seen().iter().filter(|seen| seen.complete).count(), 2);
}

#[test]
fn no_body_at_all_may_be_the_limit() {
    let server = Backend::echo();
    let lastcall = limited(&server, "{bodyBytes: 0}");
    for request in [sized(0), chunked(0)] {
        served(&lastcall, request);
    }
    for request in [sized(1), chunked(1)] {
        assert_eq!(refused(&lastcall, request), 413);
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a connection that is one too many gets.
fn turned_away(lastcall: &Lastcall) -> RawClient {
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.read_response();
    assert_eq!(
        (answer.status(), answer.field("Retry-After")),
        (429, Some("1"))
    );
    assert_eq!(answer.field("Connection"), Some("close"));
    client
}

#[test]
fn so_many_clients_may_be_connected_and_not_one_more() {
    let server = Backend::echo();
    let lastcall = limited(&server, "{connections: 2}");
    let mut first = RawClient::connect(lastcall.address);
    let mut second = RawClient::connect(lastcall.address);
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask(GET).status(), 200);
    }
    // It stays, and takes its time to leave; even so it takes no place.
    let _waiting = turned_away(&lastcall);
    let mut also = turned_away(&lastcall);
    assert_eq!(also.read_to_end().1, End::Fin);
    lastcall.wait_for_metric("lastcall_refused_total{reason=\"connection\"}", 2.0);
    assert_eq!(first.ask(GET).status(), 200);
    second.reset();
    // Well before the one that takes its time has left.
    let mut third = wait_until("a place", Duration::from_secs(3), || {
        let mut client = RawClient::connect(lastcall.address);
        let answer = client.ask(GET);
        let status = answer.status();
        if status == 200 {
            Ok(client)
        } else {
            Err(answer)
        }
    });
    assert_eq!(third.ask(GET).status(), 200);
    turned_away(&lastcall);
}
