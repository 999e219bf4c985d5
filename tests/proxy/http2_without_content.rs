//! Responses of HTTP/2 that have no content by their status or their request, and whose endpoint sends some all the
//! same: no client may take it for its next response.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use crate::support::http2::{Client, request};
use crate::support::scripted::Scripted;
use crate::support::{Config, Lastcall, RawClient};

const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";

/// Method, status, and whether a length is said.
const CASES: [(Method, u16, bool); 5] = [
    (Method::GET, 204, false),
    (Method::POST, 204, false),
    (Method::GET, 304, false),
    (Method::GET, 304, true),
    (Method::HEAD, 200, false),
];

fn before(server: &Scripted) -> Lastcall {
    let config = Config::new(&[server.address])
        .backend("web", "protocol: H2C")
        .flag("--workers=1");
    Lastcall::start(config)
}

/// All of them, where the stream ends with that content and where it is left open.
fn cases() -> impl Iterator<Item = ((Method, u16, bool), bool)> {
    [true, false]
        .into_iter()
        .flat_map(|ends| CASES.map(|case| (case, ends)))
}

/// Answers the next request with content that must not be; then the one behind it well.
async fn answer(server: &mut Scripted, status: u16, length: bool, ends: bool) {
    let mut fields = HeaderMap::new();
    if length {
        fields.insert("content-length", HeaderValue::from(SMUGGLED.len()));
    }
    let mut stream = server.next().await;
    let mut down = stream.begin_with(status, fields);
    // Fails where the stream has been reset meanwhile: nobody waits for it.
    let _ = down.send_data(Bytes::from_static(SMUGGLED.as_bytes()), ends);
    let mut next = server.next().await;
    assert_eq!(next.path(), "/next");
    next.answer("next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http1_never_reads_it_as_a_response() {
    let mut server = Scripted::start().await;
    let lastcall = before(&server);
    for ((method, status, length), ends) in cases() {
        let case = format!("{method} {status} {length} {ends}");
        let address = lastcall.address;
        let asked = tokio::task::spawn_blocking(move || {
            let mut client = RawClient::connect(address);
            client.send(format!(
                "{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
            ));
            let first = client.read_head().status();
            let next = client.ask("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
            (first, next.status(), next.body_text())
        });
        answer(&mut server, status, length, ends).await;
        let got = asked.await.unwrap();
        assert_eq!(got, (status, 200, "next".to_owned()), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http2_gets_none_of_it() {
    let mut server = Scripted::start().await;
    let lastcall = before(&server);
    let client = Client::connect(lastcall.address).await;
    for ((method, status, length), ends) in cases() {
        let case = format!("{method} {status} {length} {ends}");
        let asked = async {
            let first = client.ask(request(method, "/"), "").await.unwrap();
            let next = client.ask(request(Method::GET, "/next"), "").await.unwrap();
            (first.status, first.body, next.text())
        };
        let (got, ()) = tokio::join!(asked, answer(&mut server, status, length, ends));
        assert_eq!(got, (status, Vec::new(), "next".to_owned()), "{case}");
    }
}
