//! Targets that HTTP/1 clients send raw and that HTTP/2 cannot carry so.

use crate::support::scripted::Scripted;
use crate::support::{Config, Lastcall, RawClient};

const FAILURES: &str = "lastcall_upstream_connect_failures_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_no_target_may_have_are_escaped_towards_http2() {
    let mut server = Scripted::start().await;
    let config = Config::new(&[server.address]).backend("web", "protocol: H2C");
    let lastcall = Lastcall::start(config);
    let request = "GET /a\"<b>`?c=\"<d>`%22 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = RawClient::sending(lastcall.address, request);
    let mut stream = server.next().await;
    let target = stream.head.uri.path_and_query().unwrap().as_str();
    assert_eq!(target, "/a%22%3Cb%3E%60?c=%22%3Cd%3E%60%22");
    stream.answer("ok");
    let answer = tokio::task::block_in_place(|| client.read_response());
    assert_eq!((answer.status(), answer.body_text().as_str()), (200, "ok"));
    assert_eq!(lastcall.metric(FAILURES), Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_too_long_for_http2_is_the_clients_fault_and_nobody_is_asked() {
    let servers = [Scripted::start().await, Scripted::start().await];
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let config = Config::new(&addresses)
        .backend("web", "protocol: H2C")
        .load_balancer("limits: {uriBytes: 65536, headBytes: 131072}");
    let lastcall = Lastcall::start(config);
    // 65,534 bytes is all that the library takes.
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(65_535));
    let mut client = RawClient::connect(lastcall.address);
    let answer = tokio::task::block_in_place(|| client.ask(request));
    assert_eq!(answer.status(), 400, "{answer:?}");
    assert_eq!(lastcall.metric(FAILURES), Some(0.0));
    assert!(!lastcall.log().contains("ERROR"), "{}", lastcall.log());
}
