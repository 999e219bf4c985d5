//! Messages on their way through: pipelining, kept connections, bodies of every framing, trailers,
//! responses without a body, and HTTP/1.0.

use std::time::Duration;

use crate::support::backend::{self, Backend, Seen, Step, chunk};
use crate::support::{Config, End, Lastcall, RawClient};

/// Answers with the request's own target and body.
fn mirror() -> Backend {
    Backend::start(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        backend::ok(format!("{} {body}", seen.target()))
    })
}

fn serve(server: &Backend) -> Lastcall {
    Lastcall::start(Config::new(&[server.address]))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn requests_sent_in_one_write_are_answered_in_order() {
    let server = mirror();
    let lastcall = serve(&server);
    for count in [2, 100] {
        let before = server.seen().len();
        let requests: String = (0..count)
            .map(|at| match at % 3 {
                0 => get(&format!("/{at}")),
                1 => format!("POST /{at} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
                _ => format!(
                    "POST /{at} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                     2\r\nhi\r\n0\r\n\r\n"
                ),
            })
            .collect();
        let mut client = RawClient::sending(lastcall.address, requests);
        for at in 0..count {
            let body = if at % 3 == 0 { "" } else { "hi" };
            assert_eq!(client.read_response().body_text(), format!("/{at} {body}"));
        }
        let seen = server.seen();
        let targets: Vec<_> = seen[before..].iter().map(Seen::target).collect();
        let expected: Vec<_> = (0..count).map(|at| format!("/{at}")).collect();
        assert_eq!(targets, expected);
    }
}

#[test]
fn connections_on_both_sides_are_kept_and_used_again() {
    let server = mirror();
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    for at in 0..5 {
        let answer = client.ask(get(&format!("/{at}")));
        assert_eq!(answer.body_text(), format!("/{at} "));
        assert_eq!(answer.field("Connection"), None);
    }
    assert_eq!(server.connections(), 1);
    // A client that closes says so to lastcall alone: the server's connection is kept.
    let close = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = client.ask(close);
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    assert_eq!(server.seen()[5].field("Connection"), None);
    assert_eq!((server.connections(), server.open_connections()), (1, 1));
    lastcall.wait_for_metric("lastcall_upstream_connects_total", 1.0);
    lastcall.wait_for_metric("lastcall_upstream_reuses_total", 5.0);
}

/// A POST with this body, chunked in pieces of `piece` bytes, or with a length where that is 0.
fn post(path: &str, body: &[u8], piece: usize) -> Vec<u8> {
    let mut bytes = format!("POST {path} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    if piece == 0 {
        bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
        bytes.extend_from_slice(body);
    } else {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        bytes.extend(body.chunks(piece).flat_map(chunk));
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    bytes
}

#[test]
fn bodies_of_every_size_and_framing_pass_both_ways_unchanged() {
    let server = Backend::start(|seen| match seen.target() {
        "/chunked" => {
            let pieces: Vec<_> = seen.body.chunks(7000).collect();
            backend::stream(&pieces, Duration::ZERO, &[])
        }
        _ => backend::ok(&seen.body),
    });
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    for size in [0, 1, 1000, 65_536, 300_000] {
        let body: Vec<u8> = (0..=250_u8).cycle().take(size).collect();
        for (path, piece) in [
            ("/", 0),
            ("/", 1 + size / 3),
            ("/chunked", 0),
            ("/chunked", 900),
        ] {
            let answer = client.ask(post(path, &body, piece));
            let seen = server.seen();
            let seen = seen.last().unwrap();
            assert!(
                answer.body == body,
                "{path} with {size} bytes came back as others"
            );
            assert!(
                seen.body == body,
                "{path} with {size} bytes arrived as others"
            );
            // Each side keeps the framing of its sender.
            assert_eq!(seen.field("Transfer-Encoding").is_some(), piece > 0);
            assert_eq!(seen.field("Content-Length").is_some(), piece == 0);
            let chunked = path == "/chunked";
            assert_eq!(answer.field("Transfer-Encoding").is_some(), chunked);
            assert_eq!(answer.field("Content-Length").is_some(), !chunked);
        }
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn chunk_extensions_end_at_lastcall() {
    let server = Backend::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "5;theirs=1\r\nhello\r\n0;theirs\r\n\r\n";
        vec![Step::Send(format!("{head}{body}").into_bytes())]
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(
        lastcall.address,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         2;ours=\"x\"\r\nhe\r\n3\r\nllo\r\n0;ours\r\n\r\n",
    );
    let bytes = client.read_until("0\r\n\r\n");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("hello") && !text.contains("theirs"), "{text}");
    assert_eq!(server.seen()[0].body, b"hello");
    let raw = server.raw_received().concat();
    assert!(!String::from_utf8_lossy(&raw).contains("ours"));
}

#[test]
fn trailers_pass_both_ways_but_for_those_that_frame_or_route() {
    let trailers = ["X-Sum: theirs", "Content-Length: 3", "Set-Cookie: a=b"];
    let server =
        Backend::start(move |_| backend::stream(&[b"he", b"llo"], Duration::ZERO, &trailers));
    let lastcall = serve(&server);
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: ours\r\nHost: evil\r\n\
         Transfer-Encoding: chunked\r\n\r\n";
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask(request);
    let seen = &server.seen()[0];
    assert_eq!(seen.field("TE"), Some("trailers"));
    assert_eq!(seen.field("Connection"), Some("TE"));
    assert_eq!(seen.field("Trailer"), Some("X-Sum"));
    assert_eq!(seen.trailers, ["X-Sum: ours"]);
    assert_eq!(answer.body_text(), "hello");
    let announced = answer.field("Trailer").unwrap_or_default();
    assert!(announced.contains("X-Sum"), "{announced}");
    assert!(answer.trailers.contains(&"X-Sum: theirs".to_owned()));
    assert!(!answer.trailers.contains(&"Content-Length: 3".to_owned()));

    // HTTP/1.0 has no chunks, and so no trailers.
    let mut old = RawClient::sending(lastcall.address, "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let (bytes, end) = old.read_to_end();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.ends_with("\r\n\r\nhello") && end == End::Fin, "{text}");
    assert!(!text.contains("Trailer:") && !text.contains("Transfer-Encoding"));
}

#[test]
fn a_response_without_a_body_leaves_the_connection_usable() {
    let server = Backend::start(|seen| {
        let head: &[u8] = match seen.target() {
            "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n",
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n",
            _ => return backend::ok("next"),
        };
        vec![Step::Send(head.to_vec())]
    });
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    for (method, path, status, length) in [
        ("HEAD", "/head", 200, Some("1234")),
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, Some("1234")),
        ("POST", "/204", 204, None),
    ] {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.read_head();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.field("Content-Length"), length, "{method} {path}");
        // Only a connection on which both sides agree that nothing follows gets this right.
        assert_eq!(client.ask(get("/")).body_text(), "next");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn http_1_0_closes_unless_it_asks_to_be_kept() {
    let server = mirror();
    let lastcall = serve(&server);
    let mut once = RawClient::sending(
        lastcall.address,
        "GET /once HTTP/1.0\r\nHost: a\r\n\r\nGET /never HTTP/1.0\r\nHost: a\r\n\r\n",
    );
    let answer = once.read_response();
    assert_eq!(answer.body_text(), "/once ");
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(once.read_to_end(), (Vec::new(), End::Fin));

    let mut kept = RawClient::connect(lastcall.address);
    for at in 0..2 {
        let answer = kept.ask(format!(
            "GET /{at} HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n"
        ));
        assert_eq!(answer.body_text(), format!("/{at} "));
        assert_eq!(answer.field("Connection"), Some("keep-alive"));
    }
    let seen = server.seen();
    let targets: Vec<_> = seen.iter().map(Seen::target).collect();
    assert_eq!(targets, ["/once", "/0", "/1"]);
    assert!(seen[0].head.starts_with("GET /once HTTP/1.1\r\n"));
}

#[test]
fn http_1_0_gets_a_body_of_unknown_length_until_the_end_of_the_connection() {
    let server = Backend::start(|_| backend::stream(&[b"he", b"llo"], Duration::ZERO, &[]));
    let lastcall = serve(&server);
    let mut client = RawClient::sending(
        lastcall.address,
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    );
    let (bytes, end) = client.read_to_end();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nhello") && end == End::Fin, "{text}");
}
