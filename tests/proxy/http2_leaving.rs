//! Endpoints of HTTP/2 that leave, and lastcall's own end, while streams are in flight.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderValue, Method, Request};
use rustix::process::Signal;

use crate::LIMIT;
use crate::support::http2::{Client, read, read_body, request};
use crate::support::lastcall::Hook;
use crate::support::scripted::{Scripted, Stream, message, well};
use crate::support::{Config, Lastcall};

const GRACE: Duration = Duration::from_mins(1);

/// Lastcall before three endpoints, and one client's connection.
struct Scene {
    lastcall: Lastcall,
    servers: Vec<Scripted>,
    client: Client,
}

/// A stream in flight on one of the endpoints.
struct Held {
    /// The endpoint's index.
    at: usize,
    stream: Stream,
    response: h2::client::ResponseFuture,
}

impl Scene {
    async fn start(protocol: &str, flags: &[&str]) -> Self {
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Scripted::start().await);
        }
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        let config = Config::new(&addresses).backend("web", protocol);
        let config = flags.iter().fold(config, |config, flag| config.flag(flag));
        let lastcall = Lastcall::start(config);
        let client = Client::connect(lastcall.address).await;
        Self {
            lastcall,
            servers,
            client,
        }
    }

    /// Sends a request, and waits until one of the endpoints has it.
    async fn hold(&mut self, request: Request<()>) -> Held {
        let (response, mut body) = self.client.begin(request).await;
        body.send_data(message(b"?"), true).unwrap();
        let [a, b, c] = &mut self.servers[..] else {
            unreachable!("there are three")
        };
        let (at, stream) = tokio::select! {
            stream = a.next() => (0, stream),
            stream = b.next() => (1, stream),
            stream = c.next() => (2, stream),
        };
        Held {
            at,
            stream,
            response,
        }
    }

    /// The hold of an endpoint, once lastcall has taken it.
    fn hook(&self, at: usize) -> Hook {
        let before = self.lastcall.metric("lastcall_holds").unwrap_or_default();
        let hook = self.lastcall.hold(self.servers[at].address, GRACE);
        self.lastcall
            .wait_for_metric("lastcall_holds", before + 1.0);
        hook
    }

    /// Serves requests of the same client's connection, and asserts that none comes to endpoint `at`.
    async fn others_serve(&mut self, at: usize) {
        for _ in 0..9 {
            let mut held = self.hold(request(Method::POST, "/other")).await;
            assert_ne!(held.at, at, "a stream came to an endpoint that leaves");
            held.stream.answer("other");
            let answer = read(held.response.await.unwrap()).await.unwrap();
            assert_eq!(answer.text(), "other");
        }
    }

    fn drop_client(self) -> (Lastcall, Vec<Scripted>) {
        drop(self.client.send);
        self.client.driver.abort();
        (self.lastcall, self.servers)
    }
}

/// A call of gRPC.
fn call(path: &str) -> Request<()> {
    let mut call = request(Method::POST, path);
    let headers = call.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    call
}

/// The next bytes of a body.
async fn next(body: &mut RecvStream) -> Bytes {
    end(body).await.unwrap().unwrap()
}

/// What comes next of a body; `None` where it has ended clean.
async fn end(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let next = tokio::time::timeout(LIMIT, body.data()).await;
    next.expect("nothing came")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_waits_for_a_stream_in_flight_and_new_ones_go_elsewhere() {
    let mut scene = Scene::start("protocol: H2C", &[]).await;
    // Each endpoint has a connection by now.
    scene.others_serve(3).await;
    let mut held = scene.hold(request(Method::POST, "/held")).await;
    let mut hook = scene.hook(held.at);
    scene.others_serve(held.at).await;
    let mut body = held.stream.begin(200);
    body.send_data(Bytes::from_static(b"be"), false).unwrap();
    let mut got = held.response.await.unwrap().into_body();
    assert_eq!(next(&mut got).await, "be");
    let leaving = scene.servers[held.at].address;
    assert_eq!(scene.lastcall.in_flight(leaving), Some(1.0));
    // The control: a hold that has nothing to wait for is released meanwhile, so that this one would be, too.
    let idle = scene
        .lastcall
        .hold(scene.servers[(held.at + 1) % 3].address, GRACE);
    assert_eq!(idle.released(LIMIT).0, 0);
    assert!(hook.is_waiting(), "the stream is in flight");
    body.send_data(Bytes::from_static(b"gun"), true).unwrap();
    assert_eq!(read_body(&mut got).await.unwrap(), b"gun");
    let (code, said) = hook.released(LIMIT);
    assert_eq!(code, 0, "{said}");
    assert_eq!(scene.lastcall.metric("lastcall_cuts_total"), Some(0.0));
    assert_eq!(scene.lastcall.in_flight(leaving), Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_waits_for_a_streaming_call_to_its_trailers() {
    let mut scene = Scene::start("protocol: GRPC", &[]).await;
    let mut held = scene.hold(call("/held")).await;
    let mut body = held.stream.begin(200);
    body.send_data(message(b"one"), false).unwrap();
    let mut got = held.response.await.unwrap().into_body();
    assert_eq!(next(&mut got).await, message(b"one"));
    let mut hook = scene.hook(held.at);
    scene.others_serve(held.at).await;
    // All messages are here, and its status is not.
    body.send_data(message(b"two"), false).unwrap();
    assert_eq!(next(&mut got).await, message(b"two"));
    let idle = scene
        .lastcall
        .hold(scene.servers[(held.at + 1) % 3].address, GRACE);
    assert_eq!(idle.released(LIMIT).0, 0);
    assert!(hook.is_waiting(), "the call is in flight");
    body.send_trailers(well()).unwrap();
    assert!(read_body(&mut got).await.unwrap().is_empty());
    assert_eq!(got.trailers().await.unwrap(), Some(well()));
    assert_eq!(hook.released(LIMIT).0, 0);
    assert_eq!(scene.lastcall.metric("lastcall_cuts_total"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cut_at_the_deadline_ends_by_a_status_between_messages_and_by_a_reset_within_one()
 {
    let mut scene = Scene::start("protocol: GRPC", &[]).await;
    let mut calls = Vec::new();
    for sent in [message(b"whole"), message(b"half").slice(..7)] {
        let mut held = scene.hold(call("/stream")).await;
        let mut body = held.stream.begin(200);
        body.send_data(sent.clone(), false).unwrap();
        let mut got = held.response.await.unwrap().into_body();
        assert_eq!(next(&mut got).await, sent);
        calls.push((held.at, body, got));
    }
    // And one that has not begun, which may have been acted on.
    let unanswered = scene.hold(call("/stream")).await;
    let drained = scene.lastcall.cli(&["drain", "--timeout", "1s", "be/web"]);
    assert!(drained.status.success(), "{drained:?}");
    let [
        (_, _between_body, mut between),
        (_, _within_body, mut within),
    ] = calls.try_into().ok().unwrap();
    assert!(end(&mut between).await.is_none());
    let trailers = between.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "14", "{trailers:?}");
    let error = end(&mut within).await.unwrap().unwrap_err();
    assert!(error.is_reset(), "{error}");
    let answer = read(unanswered.response.await.unwrap()).await.unwrap();
    assert_eq!(
        (answer.status, answer.field("grpc-status")),
        (200, Some("14"))
    );
    scene.lastcall.wait_for_metric("lastcall_cuts_total", 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlives_lastcalls_own_end_is_reset_and_never_a_clean_end() {
    let mut scene = Scene::start("protocol: H2C", &["--shutdown-timeout=1s"]).await;
    let mut begun = scene.hold(request(Method::POST, "/begun")).await;
    let mut body = begun.stream.begin(200);
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    let mut got = begun.response.await.unwrap().into_body();
    assert_eq!(next(&mut got).await, "half");
    let mut within = scene.hold(call("/within")).await;
    let mut sent = within.stream.begin(200);
    sent.send_data(message(b"half").slice(..7), false).unwrap();
    let mut message = within.response.await.unwrap().into_body();
    next(&mut message).await;
    let unanswered = scene.hold(request(Method::POST, "/unanswered")).await;
    scene.lastcall.signal(Signal::TERM);
    for (name, body) in [("a response", &mut got), ("a message", &mut message)] {
        let end = end(body).await;
        let error = end.expect("it ended as if it were whole").unwrap_err();
        assert!(error.is_reset(), "{name}: {error}");
    }
    // Nothing of it was answered: so it is said.
    let answer = read(unanswered.response.await.unwrap()).await.unwrap();
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("1"))
    );
    let (mut lastcall, _servers) = scene.drop_client();
    lastcall.wait();
}
