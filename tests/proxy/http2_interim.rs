//! `Expect: 100-continue` where a side of the exchange speaks HTTP/2: who says 100, and that it is said once.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::ResponseFuture;
use http::{HeaderValue, Method, Request};

use crate::support::http2::{Client, read, request};
use crate::support::scripted::{Scripted, Stream};
use crate::support::{Backend, Config, End, Lastcall, RawClient};

const WAITING: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

fn waiting() -> Request<()> {
    let mut post = request(Method::POST, "/");
    let expect = HeaderValue::from_static("100-continue");
    post.headers_mut().insert("expect", expect);
    post
}

fn before(server: &Scripted) -> Lastcall {
    let config = Config::new(&[server.address]).backend("web", "protocol: H2C");
    Lastcall::start(config)
}

/// The status of the next interim response; `None` once the final one is there.
async fn interim(response: &mut ResponseFuture) -> Option<(u16, http::HeaderMap)> {
    let interim = poll_fn(|cx| response.poll_informational(cx)).await?;
    let (head, ()) = interim.unwrap().into_parts();
    Some((head.status.as_u16(), head.headers))
}

/// Does what blocks beside what the test does.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http1_that_waits_too_long_gets_lastcalls_100_and_no_other() {
    let mut server = Scripted::start().await;
    let lastcall = before(&server);
    let address = lastcall.address;
    let mut client = blocking(move || RawClient::sending(address, WAITING)).await;
    let mut stream: Stream = server.next().await;
    assert_eq!(stream.head.headers["expect"], "100-continue");
    let mut client = blocking(move || {
        assert_eq!(client.read_head().head, "HTTP/1.1 100 Continue\r\n\r\n");
        client
    })
    .await;
    // The endpoint's comes later.
    stream.interim(100, ("x-from", "server"));
    client.send("hello");
    assert_eq!(stream.read().await, b"hello");
    stream.answer("thanks");
    let (answer, client) = blocking(move || (client.read_head(), client)).await;
    assert_eq!(answer.status(), 200);
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http1_gets_the_endpoints_own_100_and_may_go_on() {
    let mut server = Scripted::start().await;
    let lastcall = before(&server);
    let address = lastcall.address;
    let mut client = blocking(move || RawClient::connect(address)).await;
    for _ in 0..2 {
        client.send(WAITING);
        let mut stream = server.next().await;
        stream.interim(100, ("x-from", "server"));
        client = blocking(move || {
            let head = client.read_head();
            assert_eq!((head.status(), head.field("x-from")), (100, Some("server")));
            client
        })
        .await;
        client.send("hello");
        assert_eq!(stream.read().await, b"hello");
        stream.answer("thanks");
        client = blocking(move || {
            assert_eq!(client.read_response().body_text(), "thanks");
            client
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http1_gets_the_endpoints_answer_in_place_of_a_100() {
    let mut server = Scripted::start().await;
    let lastcall = before(&server);
    let address = lastcall.address;
    let mut client = blocking(move || RawClient::sending(address, WAITING)).await;
    server.next().await.answer_with(401);
    blocking(move || {
        let answer = client.read_response();
        assert_eq!(answer.status(), 401);
        // Whether the body still comes nobody can know: what follows must not be read as a request.
        assert_eq!(answer.field("Connection"), Some("close"));
        let _ = client.try_send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    })
    .await;
    assert!(server.at_hand().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http2_that_waits_too_long_gets_lastcalls_100_and_no_other() {
    let mut server = Scripted::start().await;
    let lastcall = before(&server);
    let client = Client::connect(lastcall.address).await;
    let (mut response, mut body) = client.begin(waiting()).await;
    let mut stream = server.next().await;
    let (status, fields) = interim(&mut response).await.unwrap();
    assert_eq!((status, fields.contains_key("x-from")), (100, false));
    stream.interim(100, ("x-from", "server"));
    stream.interim(103, ("link", "x"));
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
    assert_eq!(stream.read().await, b"hello");
    stream.answer("thanks");
    // What is passed on comes in order: no other 100 came before it.
    assert_eq!(interim(&mut response).await.unwrap().0, 103);
    assert_eq!(
        read(response.await.unwrap()).await.unwrap().text(),
        "thanks"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http2_is_told_to_go_on_before_an_endpoint_of_http1() {
    // It reads the body before it says anything: without a 100 none would come.
    let server = Backend::echo();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let client = Client::connect(lastcall.address).await;
    let (mut response, mut body) = client.begin(waiting()).await;
    assert_eq!(interim(&mut response).await.unwrap().0, 100);
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
    assert_eq!(read(response.await.unwrap()).await.unwrap().text(), "hello");
    // The control: who waits for nothing is told nothing.
    let (mut response, mut body) = client.begin(request(Method::POST, "/")).await;
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
    assert!(interim(&mut response).await.is_none());
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_was_told_once_is_not_told_by_the_next_endpoint() {
    let mut servers = [Scripted::start().await, Scripted::start().await];
    let addresses = servers.each_ref().map(|server| server.address);
    let config = Config::new(&addresses).backend("web", "protocol: H2C");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let (mut response, mut body) = client.begin(waiting()).await;
    let [a, b] = &mut servers;
    let (mut stream, other) = tokio::select! {
        stream = a.next() => (stream, b),
        stream = b.next() => (stream, a),
    };
    stream.interim(100, ("x-from", "one"));
    assert_eq!(interim(&mut response).await.unwrap().0, 100);
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
    assert_eq!(stream.read().await, b"hello");
    stream.refuse();
    let mut stream = other.next().await;
    stream.interim(100, ("x-from", "two"));
    stream.interim(103, ("link", "x"));
    assert_eq!(stream.read().await, b"hello");
    stream.answer("thanks");
    assert_eq!(interim(&mut response).await.unwrap().0, 103);
    assert_eq!(
        read(response.await.unwrap()).await.unwrap().text(),
        "thanks"
    );
}
