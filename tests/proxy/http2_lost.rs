//! Connections to an endpoint of HTTP/2 that end, or die without a word, while requests are given to them: where
//! there is no other endpoint, the same one is asked on a new connection.

use std::net::SocketAddr;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use http::Method;

use crate::support::http2::{Client, request};
use crate::support::raw_http2::RawHttp2;
use crate::support::scripted::Scripted;
use crate::support::{Config, Lastcall, RawClient, RawServer};

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    Http1,
    Http2,
}

const BOTH: [Speaks; 2] = [Speaks::Http1, Speaks::Http2];

impl Speaks {
    /// The status of the answer to a request of a new client.
    async fn ask(self, method: Method, address: SocketAddr) -> (u16, Option<String>) {
        if let Self::Http2 = self {
            let client = Client::connect(address).await;
            let body = if method == Method::POST { "hi" } else { "" };
            let answer = client.ask(request(method, "/"), body).await.unwrap();
            return (
                answer.status,
                answer.field("retry-after").map(str::to_owned),
            );
        }
        let asked = tokio::task::spawn_blocking(move || {
            let body = if method == Method::POST {
                "Content-Length: 2\r\n\r\nhi"
            } else {
                "\r\n"
            };
            let request = format!("{method} / HTTP/1.1\r\nHost: test\r\n{body}");
            let answer = RawClient::connect(address).ask(request);
            (
                answer.status(),
                answer.field("retry-after").map(str::to_owned),
            )
        });
        asked.await.unwrap()
    }
}

/// Before one endpoint, which does what `script` says; of one worker, so that requests share its connections.
fn before<T: Send + 'static>(
    timeouts: &str,
    script: impl FnOnce(RawServer) -> T + Send + 'static,
) -> (Lastcall, JoinHandle<T>) {
    let server = RawServer::start();
    let config = Config::new(&[server.address])
        .backend("web", "protocol: H2C")
        .backend("web", &format!("timeouts: {timeouts}"))
        .flag("--workers=1");
    (Lastcall::start(config), spawn(move || script(server)))
}

/// A connection on which one request was served.
fn used(server: &RawServer) -> (RawHttp2, u32) {
    let mut connection = RawHttp2::accept(server);
    let stream = connection.request();
    connection.answer(stream);
    (connection, stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goaway_in_one_step_costs_no_request() {
    for client in BOTH {
        let (lastcall, endpoint) = before("{}", |server| {
            let (mut first, served) = used(&server);
            first.request();
            first.go_away(served);
            (first, used(&server))
        });
        for _ in 0..2 {
            let (status, _) = client.ask(Method::POST, lastcall.address).await;
            assert_eq!(status, 200, "{client:?}");
        }
        endpoint.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_only_says_goaway_is_asked_twice_and_no_more() {
    for client in BOTH {
        let (lastcall, endpoint) = before("{}", |server| {
            for _ in 0..2 {
                let mut connection = RawHttp2::accept(&server);
                connection.request();
                connection.go_away(0);
            }
            server
        });
        let answer = client.ask(Method::POST, lastcall.address).await;
        assert_eq!(answer, (503, Some("1".to_owned())), "{client:?}");
        assert!(endpoint.join().unwrap().try_accept().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_its_endpoint_closed_costs_a_get_nothing() {
    for (client, method, status) in [
        (Speaks::Http1, Method::GET, 200),
        (Speaks::Http2, Method::GET, 200),
        // One that may have been acted on is not sent twice.
        (Speaks::Http1, Method::POST, 502),
        (Speaks::Http2, Method::POST, 502),
    ] {
        let (lastcall, endpoint) = before("{}", move |server| {
            let (mut first, _) = used(&server);
            first.request();
            drop(first);
            let second = (status == 200).then(|| used(&server));
            (server, second)
        });
        assert_eq!(client.ask(Method::GET, lastcall.address).await.0, 200);
        let (got, _) = client.ask(method, lastcall.address).await;
        assert_eq!(got, status, "{client:?}");
        endpoint.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_nothing_is_answered_is_used_no_more() {
    for client in BOTH {
        let (lastcall, endpoint) = before("{responseHead: 300ms}", |server| {
            let (mut dead, _) = used(&server);
            dead.request();
            (dead, used(&server))
        });
        for want in [200, 504, 200] {
            let (status, _) = client.ask(Method::GET, lastcall.address).await;
            assert_eq!(status, want, "{client:?}");
        }
        endpoint.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_give_up_before_we_do_are_not_led_into_silence_for_ever() {
    let (lastcall, endpoint) = before("{}", |server| {
        let (mut dead, _) = used(&server);
        dead.request();
        (dead, used(&server))
    });
    let client = Client::connect(lastcall.address).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let patience = Duration::from_millis(5200);
    let given_up = tokio::time::timeout(patience, client.get("/")).await;
    assert!(given_up.is_err(), "{given_up:?}");
    lastcall.wait_for_metric("lastcall_client_gone_total", 1.0);
    assert_eq!(client.get("/").await.unwrap().status, 200);
    endpoint.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_others_are_answered_goes_on() {
    let mut server = Scripted::start().await;
    let config = Config::new(&[server.address])
        .backend("web", "protocol: H2C")
        .backend("web", "timeouts: {responseHead: 500ms}")
        .flag("--workers=1");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let slow = client.send("/slow").await;
    let never = server.next().await;
    let other = client.send("/other").await;
    server.next().await.answer("other");
    assert_eq!(other.await.unwrap().status(), 200);
    assert_eq!(slow.await.unwrap().status(), 504);
    drop(never);
    let next = client.send("/next").await;
    server.next().await.answer("next");
    assert_eq!(next.await.unwrap().status(), 200);
    let connects = lastcall.count("lastcall_upstream_connects_total");
    assert_eq!(connects, Some(1));
}
