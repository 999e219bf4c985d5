//! `WebSocket`s, frame by frame, to real servers (Node's ws, Python's websockets): what comes back from them directly
//! comes back through lastcall byte for byte, over HTTP/1 and over HTTP/2 (RFC 8441).

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::{HeaderValue, Method};
use tokio::time::timeout;

use crate::drivers::App;
use crate::support::http2::{Client, request};
use crate::support::{Config, Lastcall, RawClient};
use crate::websocket_frames::{Case, cases};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A server that says nothing for so long waits for more.
const QUIET: Duration = Duration::from_secs(3);

/// What a server sent, and how it ended.
type Said = (Vec<u8>, &'static str);

/// Whether a server's frames have come to a close frame, which it never masks.
fn is_closed(mut bytes: &[u8]) -> bool {
    loop {
        let [first, length, ..] = *bytes else {
            return false;
        };
        let (head, length) = match length {
            126 => (
                4,
                bytes
                    .get(2..4)
                    .map(|b| usize::from(b[0]) << 8 | usize::from(b[1])),
            ),
            127 => (10, bytes.get(2..10).map(number)),
            short => (2, Some(usize::from(short))),
        };
        let Some(rest) = length.and_then(|length| bytes.get(head + length..)) else {
            return false;
        };
        if first & 15 == 8 {
            return true;
        }
        bytes = rest;
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |all, byte| all << 8 | usize::from(*byte))
}

/// Over HTTP/1; directly, or through lastcall.
fn by_http1(target: SocketAddr, case: &Case) -> Said {
    let mut client = RawClient::sending(target, UPGRADE);
    assert_eq!(client.read_head().status(), 101, "{}", case.name);
    for piece in &case.pieces {
        // It may have been closed in the middle.
        let _ = client.try_send(piece);
    }
    let stream = client.stream();
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    let mut open = true;
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (bytes, "closed"),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (bytes, "reset"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (bytes, "waits"),
            Err(error) => panic!("{}: {error} after {}", case.name, bytes.escape_ascii()),
        }
        if open && is_closed(&bytes) {
            open = false;
            // The server ends the connection in any case (RFC 6455 section 7.1.1). It may be gone.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

/// Over HTTP/2, through lastcall.
async fn by_http2(client: &Client, case: &Case) -> Said {
    let mut open = request(Method::CONNECT, "/ws");
    let protocol = h2::ext::Protocol::from_static("websocket");
    open.extensions_mut().insert(protocol);
    let headers = open.headers_mut();
    headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
    let (response, mut up) = client.begin(open).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200, "{}", case.name);
    let mut down = response.into_body();
    for piece in &case.pieces {
        send(&mut up, piece.clone().into()).await;
    }
    let mut up = Some(up);
    let mut bytes = Vec::new();
    loop {
        let Ok(more) = timeout(QUIET, down.data()).await else {
            return (bytes, "waits");
        };
        match more {
            None => return (bytes, "closed"),
            Some(Err(_)) => return (bytes, "reset"),
            Some(Ok(data)) => {
                down.flow_control().release_capacity(data.len()).unwrap();
                bytes.extend_from_slice(&data);
            }
        }
        if is_closed(&bytes)
            && let Some(mut up) = up.take()
        {
            // It may be over already.
            let _ = up.send_data(Bytes::new(), true);
        }
    }
}

/// As the window allows; gives up where the stream is reset.
async fn send(up: &mut SendStream<Bytes>, mut piece: Bytes) {
    while !piece.is_empty() {
        up.reserve_capacity(piece.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| up.poll_capacity(cx)).await else {
            return;
        };
        let part = piece.split_to(room.min(piece.len()));
        if up.send_data(part, false).is_err() {
            return;
        }
    }
}

/// What each way says that differs from what the server says directly.
async fn findings(server: &App) -> Vec<String> {
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let client = Client::connect(lastcall.address).await;
    // Its settings say whether it knows WebSockets: they have come with the first answer.
    assert!(client.get("/").await.is_ok());
    let mut findings = Vec::new();
    let mut waiting = 0;
    for case in cases() {
        let (direct, through) = tokio::task::block_in_place(|| {
            (
                by_http1(server.address, &case),
                by_http1(lastcall.address, &case),
            )
        });
        let over_http2 = by_http2(&client, &case).await;
        waiting += usize::from(direct.1 == "waits");
        for (way, said) in [("HTTP/1", through), ("HTTP/2", over_http2)] {
            if said != direct {
                findings.push(format!(
                    "{}, over {way}: {} {}, not {} {}",
                    case.name,
                    said.0.escape_ascii(),
                    said.1,
                    direct.0.escape_ascii(),
                    direct.1
                ));
            }
        }
    }
    // All but those whose length says that more is to come.
    assert!(waiting <= 1, "{waiting} have not ended");
    findings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_node_answers_to_any_frames_comes_through() {
    assert!(cases().len() > 100, "{}", cases().len());
    let found = findings(&App::start(&[])).await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_python_answers_to_any_frames_comes_through() {
    let server = App::run(&["venv/bin/python", "websockets_server.py"]);
    let found = findings(&server).await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}
