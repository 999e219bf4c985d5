//! `WebSocket`s of which one side, or both, speak HTTP/2 (RFC 8441).

use bytes::Bytes;
use http::{HeaderValue, Method, Request};

use crate::LIMIT;
use crate::support::backend::{self, Backend};
use crate::support::http2::{Client, request};
use crate::support::scripted::{Scripted, Stream};
use crate::support::{Config, End, Lastcall, RawClient};

/// RFC 6455's own example of a key, which is answered by `ACCEPT`.
const OPENING: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn before_http2(server: &Scripted, yaml: &str) -> Lastcall {
    let config = Config::new(&[server.address]).backend("web", "protocol: H2C");
    Lastcall::start(config.backend("web", yaml))
}

/// An extended CONNECT.
fn open() -> Request<()> {
    let mut open = request(Method::CONNECT, "/chat");
    let protocol = h2::ext::Protocol::from_static("websocket");
    open.extensions_mut().insert(protocol);
    let version = HeaderValue::from_static("13");
    open.headers_mut().insert("sec-websocket-version", version);
    open
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A client of HTTP/1 whose opening an endpoint has.
async fn opened(lastcall: &Lastcall, server: &mut Scripted) -> (RawClient, Stream) {
    let address = lastcall.address;
    let client = blocking(move || RawClient::sending(address, OPENING)).await;
    (client, server.next().await)
}

async fn read_until(mut client: RawClient, text: &'static str) -> RawClient {
    blocking(move || {
        client.read_until(text);
        client
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http1_opens_one_at_an_endpoint_of_http2() {
    let mut server = Scripted::with_websockets().await;
    let lastcall = before_http2(&server, "timeouts: {responseHead: 5s}");
    let (client, mut stream) = opened(&lastcall, &mut server).await;
    assert_eq!(
        (&stream.head.method, stream.path()),
        (&Method::CONNECT, "/chat")
    );
    let protocol = stream.head.extensions.get::<h2::ext::Protocol>();
    assert_eq!(protocol.map(h2::ext::Protocol::as_str), Some("websocket"));
    let fields = &stream.head.headers;
    assert_eq!(fields["sec-websocket-version"], "13");
    assert!(!fields.contains_key("sec-websocket-key") && !fields.contains_key("upgrade"));
    let mut down = stream.begin(200);
    let mut client = blocking(move || {
        let mut client = client;
        let head = client.read_head();
        assert_eq!(head.status(), 101);
        assert_eq!(head.fields("Sec-WebSocket-Accept"), [ACCEPT]);
        assert_eq!(head.fields("Upgrade"), ["websocket"]);
        assert_eq!(head.fields("Connection"), ["Upgrade"]);
        assert_eq!(
            head.field("Content-Length")
                .or(head.field("Transfer-Encoding")),
            None
        );
        client
    })
    .await;
    lastcall.wait_for_metric("lastcall_tunnels", 1.0);
    for word in ["one", "two"] {
        client.send(word);
        assert_eq!(stream.body.data().await.unwrap().unwrap(), word);
        let _ = stream.body.flow_control().release_capacity(word.len());
        down.send_data(Bytes::from_static(word.as_bytes()), false)
            .unwrap();
        client = read_until(client, word).await;
    }
    lastcall.wait_for_in_flight(server.address, 1);
    // One direction closes, and the other goes on.
    client.half_close();
    assert!(
        stream
            .body
            .data()
            .await
            .is_none_or(|end| end.unwrap().is_empty())
    );
    down.send_data(Bytes::from_static(b"last"), false).unwrap();
    client = read_until(client, "last").await;
    lastcall.wait_for_in_flight(server.address, 1);
    down.send_data(Bytes::new(), true).unwrap();
    assert_eq!(
        blocking(move || client.read_to_end()).await,
        (Vec::new(), End::Fin)
    );
    lastcall.wait_for_in_flight(server.address, 0);
    lastcall.wait_for_metric("lastcall_tunnels", 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_clean_is_reset_on_the_other_side() {
    let mut server = Scripted::with_websockets().await;
    let lastcall = before_http2(&server, "timeouts: {tunnelIdle: 1h}");
    // The endpoint breaks off.
    let (client, mut stream) = opened(&lastcall, &mut server).await;
    let mut down = stream.begin(200);
    let mut client = read_until(client, "\r\n\r\n").await;
    down.send_reset(h2::Reason::CANCEL);
    assert_eq!(blocking(move || client.read_to_end()).await.1, End::Reset);
    // The client does.
    let (client, mut stream) = opened(&lastcall, &mut server).await;
    let _down = stream.begin(200);
    read_until(client, "\r\n\r\n").await.reset();
    assert!(stream.body.data().await.unwrap().unwrap_err().is_reset());
    // Nobody speaks.
    let short = before_http2(&server, "timeouts: {tunnelIdle: 1s}");
    let (client, mut stream) = opened(&short, &mut server).await;
    let _down = stream.begin(200);
    let mut client = read_until(client, "\r\n\r\n").await;
    assert!(stream.body.data().await.unwrap().unwrap_err().is_reset());
    assert_eq!(blocking(move || client.read_to_end()).await.1, End::Reset);
    short.wait_for_in_flight(server.address, 0);
    assert_eq!(short.metric("lastcall_cuts_total"), Some(0.0));
    // It is cut.
    let (client, mut stream) = opened(&lastcall, &mut server).await;
    let _down = stream.begin(200);
    let mut client = read_until(client, "\r\n\r\n").await;
    assert!(lastcall.cli(&["disable", "be/web"]).status.success());
    assert!(stream.body.data().await.unwrap().unwrap_err().is_reset());
    assert_eq!(blocking(move || client.read_to_end()).await.1, End::Reset);
    lastcall.wait_for_metric("lastcall_cuts_total", 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_that_leads_nowhere_is_told_so() {
    let mut server = Scripted::with_websockets().await;
    let lastcall = before_http2(&server, "retry: {attempts: 0}");
    let (mut client, mut stream) = opened(&lastcall, &mut server).await;
    stream.answer_with(403);
    client = blocking(move || {
        assert_eq!(client.read_response().status(), 403);
        client
    })
    .await;
    // The connection goes on. A key that is none is refused here, and so is a second one.
    let client = blocking(move || {
        for key in [
            "",
            "Sec-WebSocket-Key: c2hvcnQ=\r\n",
            "Sec-WebSocket-Key: x\r\n",
        ] {
            let opening = OPENING.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", key);
            assert_eq!(client.ask(opening).status(), 400, "{key:?}");
        }
        client.send(OPENING.replace("WebSocket\r\n", "other/1\r\n"));
        client
    })
    .await;
    // What HTTP/2 has no word for is an ordinary request.
    let mut stream = server.next().await;
    assert_eq!(stream.head.method, Method::GET);
    assert!(!stream.head.headers.contains_key("upgrade"));
    stream.answer("plain");
    let mut client = client;
    let answer = blocking(move || client.read_response()).await;
    assert_eq!(
        (answer.status(), answer.body_text().as_str()),
        (200, "plain")
    );
    // And an endpoint may not know them at all.
    let server = Scripted::start().await;
    let lastcall = before_http2(&server, "retry: {attempts: 0}");
    let address = lastcall.address;
    let answer = blocking(move || RawClient::connect(address).ask(OPENING)).await;
    assert_eq!(answer.status(), 502);
    assert!(
        answer.body_text().contains("no WebSockets over HTTP/2"),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_content_of_an_opening_is_never_the_next_request() {
    let mut server = Scripted::with_websockets().await;
    let lastcall = before_http2(&server, "retry: {attempts: 0}");
    let address = lastcall.address;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    let fields = format!("\r\nContent-Length: {}\r\n\r\n", smuggled.len());
    let opening = OPENING.replace("\r\n\r\n", &fields);
    let client =
        blocking(move || RawClient::sending(address, format!("{opening}{smuggled}"))).await;
    // With content it opens nothing: an ordinary request.
    let mut stream = server.next().await;
    assert_eq!(
        (&stream.head.method, stream.path()),
        (&Method::GET, "/chat")
    );
    stream.answer_with(403);
    let client = blocking(move || {
        let mut client = client;
        assert_eq!(client.read_response().status(), 403);
        client.send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n");
        client
    })
    .await;
    let mut stream = server.next().await;
    assert_eq!(stream.path(), "/next");
    stream.answer("next");
    let mut client = client;
    let answer = blocking(move || client.read_response()).await;
    assert_eq!(answer.body_text(), "next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_http1_must_answer_the_key() {
    let server = Backend::start(|seen| {
        match seen.field("x-answer") {
        Some("wrong") => backend::websocket(),
        Some("none") => vec![backend::Step::Send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_vec(),
        )],
        Some(_) => backend::websocket_for(seen),
        None => backend::ok("plain"),
    }
    });
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let client = Client::connect(lastcall.address).await;
    // The endpoint's SETTINGS, which allow it, come first.
    assert!(client.get("/").await.is_ok());
    for (answer, status) in [("wrong", 502), ("none", 502), ("right", 200)] {
        let mut open = open();
        let value = HeaderValue::from_static(answer);
        open.headers_mut().insert("x-answer", value);
        let (response, mut up) = client.begin(open).await;
        let response = tokio::time::timeout(LIMIT, response)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(response.status(), status, "{answer}");
        if status == 200 {
            up.send_data(Bytes::from_static(b"word"), true).unwrap();
            assert_eq!(response.into_body().data().await.unwrap().unwrap(), "word");
        }
    }
    lastcall.wait_for_in_flight(server.address, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_http2_on_both_sides_may_be_silent_for_longer_than_a_body() {
    let mut server = Scripted::with_websockets().await;
    let config = Config::new(&[server.address])
        .backend("web", "protocol: H2C")
        .load_balancer("timeouts: {requestBody: 2s}");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    // The control: a body that pauses as long is given up.
    let (response, mut body) = client.begin(request(Method::POST, "/")).await;
    body.send_data(Bytes::from_static(b"x"), false).unwrap();
    let (opening, mut up) = client.begin(open()).await;
    let (first, second) = (server.next().await, server.next().await);
    let (_upload, mut stream) = if first.head.method == Method::CONNECT {
        (second, first)
    } else {
        (first, second)
    };
    let mut down = stream.begin(200);
    let mut got = opening.await.unwrap().into_body();
    assert_eq!(response.await.unwrap().status(), 408);
    up.send_data(Bytes::from_static(b"up"), true).unwrap();
    assert_eq!(stream.body.data().await.unwrap().unwrap(), "up");
    down.send_data(Bytes::from_static(b"down"), true).unwrap();
    assert_eq!(got.data().await.unwrap().unwrap(), "down");
    lastcall.wait_for_in_flight(server.address, 0);
}
