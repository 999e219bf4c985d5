//! What an endpoint of HTTP/2 refuses, by clients of HTTP/1 and HTTP/2: tried elsewhere while nothing of it is
//! missing, and told alike where there is nowhere else; and what is counted as refused by lastcall itself.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderValue, Method};

use crate::support::http2::{Client, Server, read, request, upload};
use crate::support::scripted::{Scripted, Stream};
use crate::support::{Backend, Config, Lastcall, RawClient};

fn before(addresses: &[std::net::SocketAddr]) -> Lastcall {
    Lastcall::start(Config::new(addresses).backend("web", "protocol: H2C"))
}

/// Whichever of the two gets the next request: its number, and the request.
async fn first(servers: &mut [Scripted; 2]) -> (usize, Stream) {
    let [a, b] = servers;
    tokio::select! {
        stream = a.next() => (0, stream),
        stream = b.next() => (1, stream),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_body_is_sent_once_more_and_a_long_one_is_not() {
    let mut servers = [Scripted::start().await, Scripted::start().await];
    let lastcall = before(&[servers[0].address, servers[1].address]);
    let client = Client::connect(lastcall.address).await;
    for (length, again) in [(32 * 1024, true), (32 * 1024 + 1, false)] {
        let content = Bytes::from(vec![b'x'; length]);
        let (response, mut body) = client.begin(request(Method::POST, "/")).await;
        upload(&mut body, content.clone()).await;
        let (at, mut stream) = first(&mut servers).await;
        assert!(stream.read().await == content);
        stream.refuse();
        if again {
            let mut stream = servers[1 - at].next().await;
            assert!(
                stream.read().await == content,
                "the other gets another body"
            );
            stream.answer("done");
        }
        let answer = read(response.await.unwrap()).await.unwrap();
        if again {
            assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
        } else {
            assert_eq!(
                (answer.status, answer.field("retry-after")),
                (503, Some("1"))
            );
            assert!(servers[1 - at].at_hand().is_none(), "half of it was sent");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_looked_at_is_told_alike_to_every_client() {
    let server = Server::start().await;
    let lastcall = before(&[server.address]);
    let client = Client::connect(lastcall.address).await;
    for method in [Method::GET, Method::POST] {
        let refused = client.ask(request(method, "/refuse"), "").await.unwrap();
        assert_eq!(
            (refused.status, refused.field("retry-after")),
            (503, Some("1"))
        );
    }
    let address = lastcall.address;
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = RawClient::connect(address);
        for request in [
            "GET /refuse HTTP/1.1\r\nHost: test\r\n\r\n",
            "POST /refuse HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi",
        ] {
            let refused = client.ask(request);
            assert_eq!(
                (refused.status(), refused.field("retry-after")),
                (503, Some("1"))
            );
        }
    });
    asked.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lastcall_refuses_itself_is_counted_as_refused() {
    let server = Backend::echo();
    let config = Config::new(&[server.address])
        .without_default_backend()
        .load_balancer("limits: {bodyBytes: 10, headerCount: 20}")
        .load_balancer("routes: [{matches: [{path: {value: /web}}], backends: [{name: web}]}]");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let refused = || {
        lastcall
            .count(r#"lastcall_refused_total{reason="request"}"#)
            .unwrap()
    };
    assert_eq!(client.post("/web", "fits").await.unwrap().status, 200);
    assert_eq!(refused(), 0);
    let mut two_hosts = request(Method::GET, "/web");
    let other = HeaderValue::from_static("other");
    two_hosts.headers_mut().insert("host", other.clone());
    let mut many = request(Method::GET, "/web");
    for _ in 0..30 {
        many.headers_mut().append("x-many", other.clone());
    }
    let mut unknown = request(Method::CONNECT, "/web");
    let protocol = h2::ext::Protocol::from_static("something");
    unknown.extensions_mut().insert(protocol);
    let long = request(Method::POST, "/web");
    for (count, (request, body, status)) in (1..).zip([
        (request(Method::GET, "/elsewhere"), 0, 404),
        (two_hosts, 0, 400),
        (many, 0, 431),
        (unknown, 0, 501),
        (long, 11, 413),
    ]) {
        let answer = client.ask(request, vec![b'x'; body]).await.unwrap();
        assert_eq!((answer.status, refused()), (status, count));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_an_endpoint_of_http1_gave_up_costs_a_get_nothing() {
    let served = std::sync::Mutex::new(Vec::new());
    let server = Backend::start(move |seen| {
        let mut served = served.lock().unwrap();
        if served.contains(&seen.connection) {
            return vec![crate::support::Step::Close];
        }
        served.push(seen.connection);
        crate::support::backend::ok("served")
    });
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let client = Client::connect(lastcall.address).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().text(), "served");
    }
    // One that may have been acted on is not sent twice.
    assert_eq!(client.post("/", "hello").await.unwrap().status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_a_stream_up_gives_it_up_at_the_endpoint() {
    let mut server = Scripted::start().await;
    let lastcall = before(&[server.address]);
    let client = Client::connect(lastcall.address).await;
    let (response, mut body) = client.begin(request(Method::POST, "/")).await;
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    let mut stream = server.next().await;
    assert_eq!(stream.body.data().await.unwrap().unwrap(), "half");
    body.send_reset(Reason::CANCEL);
    let error = stream.body.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL), "{error}");
    drop(response);
    lastcall.wait_for_in_flight(server.address, 0);
}
