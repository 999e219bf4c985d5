//! The admin API and the metrics on real TCP ports, with requests as they stand on the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::parts::Parts;
use super::routes::router;
use super::test_parts::Fake;
use super::{observe_router, serve_observe, serve_tcp};
use crate::model::AdminState;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn observed(parts: Arc<Parts>) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(serve_observe(listener, observe_router(parts)));
    address
}

async fn administered(fake: &Arc<Fake>) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(serve_tcp(listener, router(fake.parts())));
    address
}

/// Sends the text and reads the whole answer.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
    .await
}

fn post(host: &str, fields: &str, path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn readyz_says_what_is_missing_and_healthz_does_not_care() {
    let parts = Fake::new().parts();
    let address = observed(parts.clone()).await;
    let guard = parts.readiness.hold("listeners");
    let answer = get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.ends_with(r#"{"ready":false,"missing":["listeners"]}"#),
        "{answer}"
    );
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(
        get(address, "/metrics")
            .await
            .contains("\nlastcall_ready 0\n")
    );
    guard.ready();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    let metrics = get(address, "/metrics").await;
    assert!(
        metrics.contains("content-type: text/plain; version=0.0.4"),
        "{metrics}"
    );
    assert!(metrics.contains("\nlastcall_ready 1\n"), "{metrics}");
    assert!(
        metrics.contains(r#"lastcall_endpoint_in_flight{namespace="default",backend="web",endpoint="127.0.0.1:1"} 0"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn nothing_can_be_changed_on_the_metrics_port() {
    let fake = Fake::new();
    let address = observed(fake.parts()).await;
    for path in ["/v1/admin-state", "/v1/reload", "/v1/status"] {
        let json = "Content-Type: application/json\r\n";
        let answer = ask(address, &post("localhost", json, path, "{}")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_web_page_cannot_drain_but_a_program_can() {
    let fake = Fake::new();
    let address = administered(&fake).await;
    let own = address.to_string();
    let body = r#"{"target":"be/web","state":"Draining"}"#;
    let json = "Content-Type: application/json\r\n";
    let foreign = format!("{json}Origin: http://evil.example\r\n");
    for (host, fields, status) in [
        (own.as_str(), json, "200"),
        // A page whose name was rebound to this address.
        ("evil.example", json, "403"),
        // A page that calls the address itself.
        (own.as_str(), foreign.as_str(), "403"),
        // What a form can send without asking.
        (own.as_str(), "Content-Type: text/plain\r\n", "415"),
        (own.as_str(), "", "415"),
    ] {
        let answer = ask(address, &post(host, fields, "/v1/admin-state", body)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{host} {fields}: {answer}"
        );
    }
    let states = fake.states.lock().unwrap();
    assert_eq!(states.len(), 1, "a refused request changed something");
    assert_eq!(states[0].1, AdminState::Draining);
}

#[tokio::test]
async fn a_caller_that_vanishes_is_seen_to_have_vanished() {
    let fake = Fake::new();
    let address = administered(&fake).await;
    let body = r#"{"key":"k","targets":["be/web"]}"#;
    let request = post(
        &address.to_string(),
        "Content-Type: application/json\r\n",
        "/v1/hold",
        body,
    );
    let mut caller = TcpStream::connect(address).await.unwrap();
    // Without `Connection: close`, as a client that means to stay.
    let request = request.replace("Connection: close\r\n", "");
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    caller.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let updates = fake.holds.lock().unwrap()[0].1.clone();
    assert!(!updates.is_closed(), "the control");
    drop(caller);
    tokio::time::timeout(Duration::from_secs(20), updates.closed())
        .await
        .expect("the coordinator is told that the caller has gone");
}
