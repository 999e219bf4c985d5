//! Frames that cost a client nothing and its peer an answer, or room (RFC 9113 section 10.5): without end, and nothing is
//! read. What they make lastcall hold is bounded, and others are served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::LIMIT;
use crate::support::backend::Backend;
use crate::support::raw_http2::{CONTINUATION, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, frame};
use crate::support::{Config, Lastcall, RawClient};

/// Bytes of a flood, more than the kernel has room for on both sides.
const FLOOD: usize = 24 << 20;
/// More that may be resident for it.
const GROWTH: u64 = 8 << 20;
/// How long nothing more is taken before the flood is over.
const STALL: Duration = Duration::from_secs(2);

/// Sends frames until they are refused or not read any more; the connection, and how many bytes went.
fn flood(lastcall: &Lastcall, open: &[u8], piece: &[u8]) -> (TcpStream, usize) {
    let mut socket = TcpStream::connect(lastcall.address).unwrap();
    socket.set_write_timeout(Some(STALL)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])[..], open].concat();
    socket.write_all(&begin).unwrap();
    let mut sent = 0;
    while sent < FLOOD && socket.write_all(piece).is_ok() {
        sent += piece.len();
    }
    (socket, sent)
}

/// Floods lastcall, which holds little of it and serves others meanwhile; the connection, and how many bytes it took.
fn is_bounded(what: &str, open: &[u8], piece: &[u8]) -> (TcpStream, usize) {
    let server = Backend::echo();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let get = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut other = RawClient::connect(lastcall.address);
    assert_eq!(other.ask(get).status(), 200);
    let before = lastcall.memory();
    let (socket, sent) = flood(&lastcall, open, piece);
    let grown = lastcall.memory().saturating_sub(before);
    assert!(
        grown < GROWTH,
        "{what}: {grown} bytes for {sent} that were sent"
    );
    assert_eq!(other.ask(get).status(), 200, "{what}: another client");
    (socket, sent)
}

/// What waits for its answers to be read is not read either.
#[test]
fn pings_and_settings_are_read_no_faster_than_their_answers() {
    for (what, one) in [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
    ] {
        let (_socket, sent) = is_bounded(what, &[], &one.repeat(1000));
        assert!(sent < FLOOD, "{what}: all of it was taken");
    }
}

/// The connection ends; what still comes is dropped, so that the client gets to read why.
#[test]
fn a_head_that_never_ends_ends_its_connection() {
    // A literal field without indexing (RFC 7541 section 6.2.2), of 100 bytes.
    let field = [&[0, 1, b'x', 100][..], &[b'a'; 100]].concat();
    for (what, piece) in [
        (
            "CONTINUATION",
            frame(CONTINUATION, 0, 1, &field.repeat(150)),
        ),
        (
            "empty CONTINUATION",
            frame(CONTINUATION, 0, 1, &[]).repeat(1000),
        ),
    ] {
        let (mut socket, _) = is_bounded(what, &frame(HEADERS, 0, 1, &[]), &piece);
        let mut told = Vec::new();
        socket.read_to_end(&mut told).unwrap();
        // Of no stream, for ENHANCE_YOUR_CALM.
        let go_away = [&[GOAWAY, 0][..], &[0; 8], &[0, 0, 0, 11]].concat();
        let found = told.windows(go_away.len()).any(|bytes| bytes == go_away);
        assert!(found, "{what}: {}", told.escape_ascii());
    }
}
