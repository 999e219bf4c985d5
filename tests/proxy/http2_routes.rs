//! What routes do with requests, where a side of the exchange speaks HTTP/2.

use http::Method;

use crate::support::backend::{self, Backend, Seen};
use crate::support::http2::{Client, Server, request};
use crate::support::{Config, Lastcall, RawClient, wait_until};

/// A lastcall before `web` and `shadow`, with these routes.
fn serve(web: &Backend, shadow: &Backend, routes: &str) -> Lastcall {
    let config = Config::new(&[web.address])
        .endpoints("shadow", &[shadow.address])
        .load_balancer(&format!("routes:\n{routes}"));
    Lastcall::start(config)
}

/// The copies so far, once there are so many and all of them are whole.
fn copies(shadow: &Backend, count: usize) -> Vec<Seen> {
    wait_until("the copies", crate::LIMIT, || {
        let seen = shadow.seen();
        if seen.len() == count && seen.iter().all(|one| one.complete) {
            Ok(seen)
        } else {
            Err(seen)
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_hold_for_requests_of_http2() {
    let (web, shadow) = (Backend::echo(), Backend::echo());
    let lastcall = serve(
        &web,
        &shadow,
        "- matches: [{path: {value: /api}, method: POST, headers: [{name: X-A, value: one}], query: [{name: q, value: 'a b'}]}]\n  \
           filters:\n  \
           - requestHeaders: {set: [{name: X-Set, value: new}]}\n  \
           - responseHeaders: {set: [{name: X-Set, value: ours}]}\n  \
           - rewrite: {hostname: inner, path: {type: ReplacePrefixMatch, value: /v2}}\n  \
           backends: [{name: web}]\n\
         - {matches: [{path: {value: /old}}], filters: [{redirect: {scheme: https, statusCode: 301}}]}\n\
         - {matches: [{path: {value: /few}}], filters: [{rateLimit: {requests: 1, interval: 1h}}], backends: [{name: web}]}",
    );
    let client = Client::connect(lastcall.address).await;
    let mut post = request(Method::POST, "/api/x?q=a+b");
    let fields = post.headers_mut();
    fields.insert("x-a", http::HeaderValue::from_static("one"));
    fields.insert("x-set", http::HeaderValue::from_static("old"));
    let answer = client.ask(post, "hello").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.field("x-set"), Some("ours"));
    let seen = web.seen().pop().unwrap();
    assert_eq!(seen.target(), "/v2/x?q=a+b");
    assert_eq!(seen.fields("X-Set").collect::<Vec<_>>(), ["new"]);
    assert_eq!(seen.field("Host"), Some("inner"));
    assert_eq!(seen.field("X-Forwarded-Host"), Some("test"));

    let answer = client.get("/old/x?y").await.unwrap();
    assert_eq!(answer.status, 301);
    assert_eq!(answer.field("location"), Some("https://test/old/x?y"));
    assert_eq!(client.get("/few").await.unwrap().status, 200);
    let answer = client.get("/few").await.unwrap();
    assert_eq!(answer.status, 429);
    assert!(answer.field("retry-after").is_some());
    // A redirect refuses nothing, and what comes too soon is counted by itself.
    lastcall.wait_for_metric("lastcall_refused_total{reason=\"rate_limit\"}", 1.0);
    lastcall.wait_for_metric("lastcall_refused_total{reason=\"request\"}", 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_http2_have_the_copies_that_those_of_http1_have() {
    let (web, shadow) = (
        Backend::echo(),
        Backend::start(|_| backend::ok("thrown away")),
    );
    let routes = "- {filters: [{mirror: {backend: {name: shadow}}}], backends: [{name: web}]}";
    let lastcall = serve(&web, &shadow, routes);
    let client = Client::connect(lastcall.address).await;
    let sized = |length: usize| {
        let mut put = request(Method::PUT, "/sized");
        let fields = put.headers_mut();
        fields.insert("content-length", length.into());
        (put, "x".repeat(length))
    };
    let (put, body) = sized(60_000);
    for (at, (asked, body)) in [
        (request(Method::GET, "/a?b"), String::new()),
        (request(Method::POST, "/chunked"), "hello".to_owned()),
        (put, body),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(client.ask(asked, body).await.unwrap().status, 200);
        let copy = copies(&shadow, at + 1).pop().unwrap();
        let original = web.seen().pop().unwrap();
        assert_eq!((copy.head, copy.body), (original.head, original.body));
    }
    lastcall.wait_for_metric("lastcall_mirrored_total{result=\"answered\"}", 3.0);
    // Too long a body has no copy.
    let (put, body) = sized(70_000);
    assert_eq!(client.ask(put, body).await.unwrap().status, 200);
    lastcall.wait_for_metric("lastcall_mirrored_total{result=\"skipped\"}", 1.0);
    assert_eq!(shadow.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_to_an_endpoint_of_http2_has_copies_in_http1() {
    let server = Server::start().await;
    let shadow = Backend::start(|_| backend::ok(""));
    let config = Config::new(&[server.address])
        .backend("web", "protocol: H2C")
        .endpoints("shadow", &[shadow.address])
        .load_balancer(
            "routes: [{filters: [{mirror: {backend: {name: shadow}}}], backends: [{name: web}]}]",
        );
    let lastcall = Lastcall::start(config);
    let address = lastcall.address;
    let asked = tokio::task::spawn_blocking(move || {
        let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
        RawClient::connect(address).ask(post).body_text()
    });
    assert_eq!(asked.await.unwrap(), "hello");
    let client = Client::connect(address).await;
    let answer = client.post("/echo", "again").await.unwrap();
    assert_eq!(answer.text(), "again");
    let seen = copies(&shadow, 2);
    assert_eq!(
        (seen[0].target(), &seen[0].body[..]),
        ("/echo", &b"hello"[..])
    );
    assert_eq!(
        (seen[1].target(), &seen[1].body[..]),
        ("/echo", &b"again"[..])
    );
}

#[test]
fn an_endpoint_that_is_told_of_clients_is_told_whose_a_copy_is() {
    let web = Backend::echo();
    let shadow = Backend::start(|_| backend::ok(""));
    let config = Config::new(&[web.address])
        .endpoints("shadow", &[shadow.address])
        .backend("shadow", "sendProxyProtocol: V1")
        .load_balancer(
            "routes: [{filters: [{mirror: {backend: {name: shadow}}}], backends: [{name: web}]}]",
        );
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::connect(lastcall.address);
    client.ask("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    shadow.wait_for_requests(1);
    let head = shadow.seen().pop().unwrap().head;
    assert!(
        head.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{head}"
    );
    assert!(head.contains("GET /a HTTP/1.1\r\n"), "{head}");
}
