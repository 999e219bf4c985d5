//! Calls of gRPC: the status of every error that is lastcall's own, and calls that stream both ways.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use crate::LIMIT;
use crate::support::http2::{Client, read, request, upload};
use crate::support::scripted::{Scripted, Stream, message, well};
use crate::support::{Config, Lastcall, free_port};

/// A call of gRPC.
fn call(path: &str, fields: &[(&'static str, &'static str)]) -> Request<()> {
    let mut call = request(Method::POST, path);
    let headers = call.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/grpc+proto"),
    );
    headers.insert("te", HeaderValue::from_static("trailers"));
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    call
}

/// Makes a call with this message; its HTTP status and the fields that end it.
async fn ended(client: &Client, call: Request<()>, content: &[u8]) -> (u16, HeaderMap) {
    let (response, mut stream) = client.begin(call).await;
    upload(&mut stream, message(content)).await;
    let answer = read(response.await.unwrap()).await.unwrap();
    (answer.status, answer.trailers.unwrap_or(answer.headers))
}

/// The next call that is none of those that were given up before it came.
async fn last(server: &mut Scripted) -> Stream {
    loop {
        let stream = server.next().await;
        if stream.path() == "/web/last" {
            return stream;
        }
    }
}

const ROUTES: &str = "routes:
- {matches: [{path: {value: /none}}], backends: [{name: none}]}
- {matches: [{path: {value: /closed}}], backends: [{name: closed}]}
- {matches: [{path: {value: /slow}}], timeouts: {request: 200ms}, backends: [{name: web}]}
- {matches: [{path: {value: /silent}}], timeouts: {responseHead: 200ms}, backends: [{name: web}]}
- {matches: [{path: {value: /few}}], filters: [{rateLimit: {requests: 1, interval: 1h}}], backends: [{name: none}]}
- {matches: [{path: {value: /web}}], backends: [{name: web}]}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_of_lastcalls_own_has_a_grpc_status() {
    let mut server = Scripted::start().await;
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = Config::new(&[server.address])
        .without_default_backend()
        .backend("web", "protocol: GRPC")
        .endpoints("none", &[])
        .endpoints("closed", &[closed])
        .backend("closed", "protocol: GRPC")
        .load_balancer("limits: {bodyBytes: 100, headerCount: 20}")
        .load_balancer("timeouts: {requestBody: 2s}")
        .load_balancer(ROUTES);
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    // What is over its rate, from the second on.
    ended(&client, call("/few", &[]), b"").await;
    let many: Vec<_> = (0..30).map(|_| ("x-many", "1")).collect();
    let timeout = [("grpc-timeout", "200m")];
    for (what, call, content, status) in [
        ("no route", call("/elsewhere", &[]), 1, "12"),
        ("no endpoint", call("/none", &[]), 1, "14"),
        (
            "an endpoint that cannot be reached",
            call("/closed", &[]),
            1,
            "14",
        ),
        ("too long for the route", call("/slow", &[]), 1, "4"),
        ("too long for the call", call("/web", &timeout), 1, "4"),
        ("no answer in time", call("/silent", &[]), 1, "4"),
        ("too often", call("/few", &[]), 1, "14"),
        ("a message that is too long", call("/web", &[]), 101, "8"),
        (
            "a length that is too long",
            call("/web", &[("content-length", "106")]),
            101,
            "8",
        ),
        ("too many fields", call("/web", &many), 1, "13"),
        ("two hosts", call("/web", &[("host", "other")]), 1, "13"),
    ] {
        let (http, fields) = ended(&client, call, &vec![b'x'; content]).await;
        let said = fields
            .get("grpc-status")
            .and_then(|value| value.to_str().ok());
        assert_eq!((http, said), (200, Some(status)), "{what}: {fields:?}");
        let why = fields.get("grpc-message").map(HeaderValue::as_bytes);
        assert!(why.is_some_and(|why| !why.is_empty()), "{what}: {fields:?}");
        let kind = fields.get("content-type").map(HeaderValue::as_bytes);
        assert_eq!(kind, Some(&b"application/grpc"[..]), "{what}");
    }
    // A message that never comes, and an endpoint that refuses each call.
    let (response, _body) = client.begin(call("/web", &[])).await;
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(
        answer.field("grpc-status"),
        Some("4"),
        "a body that took too long"
    );
    let (response, mut body) = client.begin(call("/web/last", &[])).await;
    body.send_data(message(b"x"), true).unwrap();
    last(&mut server).await.refuse();
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(answer.field("grpc-status"), Some("14"), "it was refused");
    // The control: the endpoint's own status is passed on.
    let (response, mut body) = client.begin(call("/web/last", &[])).await;
    body.send_data(message(b"x"), true).unwrap();
    let mut stream = last(&mut server).await;
    let mut own = HeaderMap::new();
    own.insert("grpc-status", HeaderValue::from_static("5"));
    stream.begin(200).send_trailers(own.clone()).unwrap();
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(answer.trailers, Some(own));
    // An endpoint that is no more.
    let (response, mut body) = client.begin(call("/web/last", &[])).await;
    body.send_data(message(b"x"), true).unwrap();
    let unanswered = last(&mut server).await;
    drop(server);
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(
        answer.field("grpc-status"),
        Some("14"),
        "it was not answered"
    );
    drop(unanswered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_reset_ends_with_the_status_of_its_code() {
    let mut server = Scripted::start().await;
    let config = Config::new(&[server.address]).backend("web", "protocol: GRPC");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let asked = async |fields| {
        let (response, mut body) = client.begin(call("/web", fields)).await;
        body.send_data(message(b"x"), true).unwrap();
        [response]
    };
    for (code, status) in [
        (Reason::NO_ERROR, "13"),
        (Reason::INTERNAL_ERROR, "13"),
        (Reason::CANCEL, "1"),
        (Reason::ENHANCE_YOUR_CALM, "8"),
        (Reason::INADEQUATE_SECURITY, "7"),
    ] {
        let [response] = asked(&[]).await;
        server.next().await.reset(code);
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.field("grpc-status"), Some(status), "{code:?}");
        // Between two messages.
        let [response] = asked(&[]).await;
        let mut stream = server.next().await;
        let mut reply = stream.begin(200);
        reply.send_data(message(b"one"), false).unwrap();
        let mut messages = response.await.unwrap().into_body();
        assert_eq!(messages.data().await.unwrap().unwrap(), message(b"one"));
        reply.send_reset(code);
        assert!(messages.data().await.is_none());
        let trailers = messages.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], status, "{code:?}");
    }
    // One that does not come to its end in time, which the endpoint does not care for.
    let [response] = asked(&[("grpc-timeout", "2S")]).await;
    let mut stream = server.next().await;
    let mut reply = stream.begin(200);
    reply.send_data(message(b"one"), false).unwrap();
    let mut messages = response.await.unwrap().into_body();
    assert_eq!(messages.data().await.unwrap().unwrap(), message(b"one"));
    assert!(messages.data().await.is_none());
    let trailers = messages.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_is_told_in_grpcs_words() {
    let server = Scripted::start().await;
    let config = Config::new(&[server.address])
        .backend("web", "protocol: GRPC")
        .load_balancer("allowedSources: [127.0.0.1/32]");
    let mut lastcall = Lastcall::start(config.clone());
    let client = Client::connect(lastcall.address).await;
    // From now on it may not.
    lastcall.reload(config.load_balancer("allowedSources: [10.0.0.0/8]"));
    crate::support::wait_until_async("the client to be refused", LIMIT, async || {
        let (response, mut body) = client.begin(call("/web", &[("grpc-timeout", "50m")])).await;
        body.send_data(message(b"x"), true).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        match answer.field("grpc-status") {
            Some("7") => Ok(()),
            other => Err(other.map(str::to_owned)),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_streams_both_ways_may_be_silent_and_an_upload_may_not() {
    let mut server = Scripted::start().await;
    let config = Config::new(&[server.address])
        .backend("web", "protocol: GRPC")
        .load_balancer("timeouts: {requestBody: 2s}");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let (response, mut body) = client.begin(call("/watch", &[])).await;
    body.send_data(message(b"watch"), false).unwrap();
    let mut stream = server.next().await;
    // The control: a body that pauses as long is given up, and says when that long is over.
    let (upload, mut half) = client.begin(request(Method::POST, "/upload")).await;
    half.send_data(Bytes::from_static(b"half"), false).unwrap();
    let mut at_server = server.next().await;
    let answer = read(upload.await.unwrap()).await.unwrap();
    assert_eq!(answer.status, 408);
    assert!(at_server.body.data().await.unwrap().is_ok());
    assert!(at_server.body.data().await.unwrap().is_err());
    // Then each may still speak.
    let mut reply = stream.begin(200);
    reply.send_data(message(b"event"), false).unwrap();
    let mut events = response.await.unwrap().into_body();
    assert_eq!(events.data().await.unwrap().unwrap(), message(b"event"));
    body.send_data(message(b"enough"), true).unwrap();
    assert_eq!(
        stream.read().await,
        [message(b"watch"), message(b"enough")].concat()
    );
    reply.send_trailers(well()).unwrap();
    assert!(events.data().await.is_none());
    assert_eq!(events.trailers().await.unwrap(), Some(well()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_which_nobody_speaks_is_ended_in_time() {
    let mut server = Scripted::start().await;
    let config = Config::new(&[server.address])
        .backend("web", "protocol: GRPC")
        .backend("web", "timeouts: {tunnelIdle: 2s}");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let (response, mut body) = client.begin(call("/watch", &[])).await;
    body.send_data(message(b"watch"), false).unwrap();
    let mut stream = server.next().await;
    let mut reply = stream.begin(200);
    reply.send_data(message(b"event"), false).unwrap();
    let mut events = response.await.unwrap().into_body();
    assert_eq!(events.data().await.unwrap().unwrap(), message(b"event"));
    assert!(events.data().await.is_none());
    let trailers = events.trailers().await.unwrap().unwrap();
    assert_eq!(trailers[HeaderName::from_static("grpc-status")], "14");
    lastcall.wait_for_in_flight(server.address, 0);
}
