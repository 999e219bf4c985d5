//! Streams of many small messages, whose reader is slow: as many as a window holds wait for it, and nothing else on
//! their connection is any the worse.

use bytes::Bytes;
use http::Method;

use crate::support::http2::{Client, read, read_body, request};
use crate::support::scripted::{Scripted, Stream};
use crate::support::{Config, Lastcall};

const COUNT: usize = 10_000;
/// A slow reader's window: a hundred messages.
const WINDOW: u32 = 1000;

/// Message number `at`: ten bytes.
fn message(at: usize) -> String {
    format!("{at:09}\n")
}

fn all() -> Bytes {
    (0..COUNT).map(message).collect::<String>().into()
}

/// Sends each message in a frame of its own, and no end.
fn send(stream: &mut h2::SendStream<Bytes>) {
    for at in 0..COUNT {
        stream.send_data(message(at).into(), false).unwrap();
    }
}

/// Of one worker, so that all exchanges share one connection to the endpoint.
fn before(server: &Scripted) -> Lastcall {
    let config = Config::new(&[server.address])
        .backend("web", "protocol: H2C")
        .flag("--workers=1");
    Lastcall::start(config)
}

async fn begin(
    client: &Client,
    server: &mut Scripted,
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>, Stream) {
    let (response, body) = client.begin(request(Method::POST, "/")).await;
    (response, body, server.next().await)
}

/// Requests of others, which go by the same connections.
async fn serve_others(client: &Client, server: &mut Scripted) {
    for _ in 0..20 {
        let response = client.send("/other").await;
        server.next().await.answer("other");
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.text(), "other");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_small_messages_wait_for_a_slow_client() {
    let mut server = Scripted::start().await;
    let lastcall = before(&server);
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW);
    let client = Client::with(builder, lastcall.address).await;
    let (response, _body, mut stream) = begin(&client, &mut server).await;
    let mut down = stream.begin(200);
    let mut response = response.await.unwrap().into_body();
    send(&mut down);
    serve_others(&client, &mut server).await;
    down.send_data(Bytes::new(), true).unwrap();
    assert!(read_body(&mut response).await.unwrap() == all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_small_messages_wait_for_a_slow_endpoint() {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(WINDOW);
    let mut server = Scripted::with(builder).await;
    let lastcall = before(&server);
    let client = Client::connect(lastcall.address).await;
    let (response, mut body, mut stream) = begin(&client, &mut server).await;
    send(&mut body);
    serve_others(&client, &mut server).await;
    body.send_data(Bytes::new(), true).unwrap();
    assert!(stream.read().await == all());
    stream.answer("all");
    assert_eq!(read(response.await.unwrap()).await.unwrap().text(), "all");
}
