//! HTTP in TLS towards endpoints: in the version that each endpoint chooses, which is known only after its handshake,
//! and gRPC.

use bytes::Bytes;
use http::Method;

use crate::LIMIT;
use crate::support::http2::{Client, request};
use crate::support::tls::{Authority, Ending, TlsServer};
use crate::support::tls_http::TlsHttpServer;
use crate::support::{Config, Lastcall, RawClient, wait_until_async};

const GET: &str = "GET /one HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Lastcall before one endpoint that speaks this, in TLS.
fn before(address: std::net::SocketAddr, protocol: &str, authority: &Authority) -> Lastcall {
    let config = Config::new(&[address])
        .backend("web", &format!("protocol: {protocol}"))
        .backend(
            "web",
            "tls: {serverName: web.test, caRef: {name: backends}}",
        )
        .secret("backends/ca.crt", &authority.pem);
    Lastcall::start(config)
}

async fn server(authority: &Authority, alpn: &[&str]) -> TlsHttpServer {
    TlsHttpServer::start(&authority.issue(&["web.test"]), alpn).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_chooses_http2_is_spoken_to_in_it_by_clients_of_either_version() {
    let authority = Authority::new();
    for protocol in ["HTTPS", "GRPC"] {
        let server = server(&authority, &["h2", "http/1.1"]).await;
        let lastcall = before(server.address, protocol, &authority);
        let much = Bytes::from(vec![7; 2_000_000]);
        for _ in 0..3 {
            let client = Client::connect(lastcall.address).await;
            assert_eq!(client.get("/two").await.unwrap().text(), "/two");
            let answer = client.post("/echo", much.clone()).await.unwrap();
            assert!(answer.body == much);
            let mut client = RawClient::connect(lastcall.address);
            assert_eq!(client.ask(GET).body_text(), "/one");
            let post = "POST /echo HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello";
            assert_eq!(client.ask(post).body_text(), "hello");
        }
        {
            let seen = server.seen();
            assert_eq!(seen.len(), 12);
            for one in &*seen {
                assert_eq!(one.head.uri.scheme_str(), Some("https"));
            }
        }
        let record = server.record();
        // One for each worker that was asked.
        let all = record.chosen.iter();
        assert!(all.clone().all(|chosen| chosen == "h2") && all.len() <= 2);
        assert_eq!(record.heads.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_chooses_http1_is_spoken_to_in_it_and_its_connections_are_kept() {
    let authority = Authority::new();
    // It may also know of no names at all.
    for alpn in [&["http/1.1"][..], &[]] {
        let server = server(&authority, alpn).await;
        let lastcall = before(server.address, "HTTPS", &authority);
        let client = Client::connect(lastcall.address).await;
        let mut raw = RawClient::connect(lastcall.address);
        for _ in 0..4 {
            assert_eq!(client.get("/two").await.unwrap().text(), "/two");
            assert_eq!(raw.ask(GET).body_text(), "/one");
        }
        let record = server.record();
        assert_eq!(record.heads.len(), 8);
        let all = record.chosen.len();
        assert!(all <= 2, "{all} connections");
        assert_eq!(server.seen().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_comes_before_anything_is_known_is_served_whatever_is_chosen() {
    let authority = Authority::new();
    for alpn in [&["h2", "http/1.1"][..], &["http/1.1"]] {
        let server = server(&authority, alpn).await;
        let lastcall = before(server.address, "HTTPS", &authority);
        let mut asked = tokio::task::JoinSet::new();
        let client = Client::connect(lastcall.address).await;
        for at in 0..40 {
            let send = client.send.clone();
            let address = lastcall.address;
            asked.spawn(async move {
                if at % 2 == 0 {
                    let answer = tokio::task::spawn_blocking(move || {
                        RawClient::connect(address).ask(GET).body_text()
                    });
                    return answer.await.unwrap();
                }
                let mut send = send.ready().await.unwrap();
                let (response, _) = send
                    .send_request(request(Method::GET, "/one"), true)
                    .unwrap();
                let response = response.await.unwrap();
                crate::support::http2::read(response).await.unwrap().text()
            });
        }
        while let Some(answer) = asked.join_next().await {
            assert_eq!(answer.unwrap(), "/one");
        }
        assert_eq!(
            lastcall.metric("lastcall_upstream_connect_failures_total"),
            Some(0.0)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_chooses_otherwise_later_is_understood() {
    let authority = Authority::new();
    let server = server(&authority, &["h2", "http/1.1"]).await;
    let lastcall = before(server.address, "HTTPS", &authority);
    let client = Client::connect(lastcall.address).await;
    let mut last = 0;
    for (round, alpn) in [
        &["h2", "http/1.1"][..],
        &["http/1.1"],
        &["h2"],
        &["http/1.1"],
    ]
    .into_iter()
    .enumerate()
    {
        server.choose_from(alpn);
        // The old connections are given up on both sides; what was lost with them is not what is looked at.
        wait_until_async("the new choice", LIMIT, async || {
            let mut raw = RawClient::connect(lastcall.address);
            let one = raw.ask(GET).status();
            let two = client.get("/two").await.map(|answer| answer.status);
            let chosen = server.record().chosen.clone();
            let is_new = chosen.len() > last && chosen.last().is_some_and(|name| name == alpn[0]);
            if one == 200 && matches!(two, Ok(200)) && is_new {
                return Ok(());
            }
            Err((one, format!("{two:?}"), chosen))
        })
        .await;
        last = server.record().chosen.len();
        for _ in 0..4 {
            let mut raw = RawClient::connect(lastcall.address);
            assert_eq!(raw.ask(GET).status(), 200, "round {round}");
            assert_eq!(client.get("/two").await.unwrap().status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_goes_in_http1_wherever_there_is_a_choice() {
    let authority = Authority::new();
    let server = server(&authority, &["h2", "http/1.1"]).await;
    let lastcall = before(server.address, "HTTPS", &authority);
    let client = Client::connect(lastcall.address).await;
    assert_eq!(client.get("/two").await.unwrap().text(), "/two");
    for _ in 0..3 {
        let mut raw = RawClient::connect(lastcall.address);
        assert_eq!(raw.ask(GET).status(), 200);
        let mut raw = RawClient::connect(lastcall.address);
        assert_eq!(raw.ask(UPGRADE).status(), 101);
        raw.send("ping");
        assert_eq!(raw.read_until("ping"), b"ping");
    }
    assert_eq!(server.record().heads.len(), 3);
}

/// RFC 9113 section 3.3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_in_tls_needs_an_endpoint_that_agrees_to_http2() {
    let authority = Authority::new();
    // One refuses the handshake, the other knows of no names.
    let other = TlsServer::start(&authority.issue(&["web.test"]), b"", Ending::No);
    let silent = server(&authority, &[]).await;
    for address in [other.address, silent.address] {
        let lastcall = before(address, "GRPC", &authority);
        let client = Client::connect(lastcall.address).await;
        assert_eq!(client.get("/two").await.unwrap().status, 502);
        wait_until_async("the log", LIMIT, async || {
            let log = lastcall.log();
            let said = log.contains("TLS handshake with an endpoint failed");
            said.then_some(()).ok_or(log)
        })
        .await;
    }
    assert_eq!(other.seen.lock().unwrap().heads.len(), 0);
    assert_eq!(silent.record().heads.len(), 0);
}

/// A connection of HTTP/2 would carry requests of many clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_of_the_client_is_spoken_to_in_http1() {
    let authority = Authority::new();
    let server = crate::support::tls_raw::TlsRawServer::start(
        &authority.issue(&["web.test"]),
        &[b"h2", b"http/1.1"],
    );
    let config = Config::new(&[server.address])
        .backend("web", "protocol: HTTPS")
        .backend("web", "sendProxyProtocol: V1")
        .backend(
            "web",
            "tls: {serverName: web.test, caRef: {name: backends}}",
        )
        .secret("backends/ca.crt", &authority.pem);
    let lastcall = Lastcall::start(config);
    let mut raw = RawClient::sending(lastcall.address, GET);
    let told = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        raw.local_address().port(),
        lastcall.address.port()
    );
    let answered = tokio::task::spawn_blocking(move || {
        let mut at_server = server.accept_behind(told.as_bytes());
        assert_eq!(at_server.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        crate::support::tls_raw::send(
            &mut at_server,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        );
        at_server
    });
    assert_eq!(raw.read_response().status(), 200);
    drop(answered.await.unwrap());
}
