//! Room for the heads of HTTP/2 is used again: nothing of one request may be in another.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};

use crate::support::backend::{self, Backend};
use crate::support::http2::{Client, Server, request};
use crate::support::{Config, Lastcall};

/// An endpoint, which speaks HTTP/1 or HTTP/2.
enum Endpoint {
    Http1(Backend),
    Http2(Server),
}

impl Endpoint {
    /// Each kind, before which lastcall stands. The one of HTTP/1 has much to say to who asks for `/secret`.
    async fn each() -> [(Self, Lastcall); 2] {
        let http1 = Backend::start(|seen| match seen.target() {
            "/secret" => {
                let fields = "X-Said: secret\r\n".repeat(40);
                let head =
                    format!("HTTP/1.1 200 Secret\r\n{fields}Content-Length: 6\r\n\r\nsecret");
                vec![backend::Step::Send(head.into_bytes())]
            }
            _ => backend::ok(&seen.body),
        });
        let http2 = Server::start().await;
        let config = Config::new(&[http1.address]);
        let first = (Self::Http1(http1), Lastcall::start(config));
        let config = Config::new(&[http2.address]).backend("web", "protocol: H2C");
        [first, (Self::Http2(http2), Lastcall::start(config))]
    }

    /// The heads that came, in order: their lines in one form, without what is new in each.
    fn heads(&self) -> Vec<Vec<String>> {
        let told = |line: &String| !line.starts_with("x-request-id");
        match self {
            Self::Http1(server) => {
                let head = |seen: &backend::Seen| {
                    seen.head
                        .lines()
                        .map(str::to_lowercase)
                        .filter(told)
                        .collect()
                };
                server.seen().iter().map(head).collect()
            }
            Self::Http2(server) => {
                let lines = |seen: &crate::support::http2::Seen| {
                    let first = format!("{} {}", seen.head.method, seen.head.uri);
                    [first]
                        .into_iter()
                        .chain(fields(&seen.head.headers))
                        .filter(told)
                        .collect()
                };
                server.seen().iter().map(lines).collect()
            }
        }
    }
}

fn fields(map: &HeaderMap) -> impl Iterator<Item = String> {
    map.iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
}

/// Status, fields and content of what a client is answered.
async fn answer(client: &Client, request: Request<()>, body: &str) -> (u16, Vec<String>, String) {
    let answer = client
        .ask(request, Bytes::copy_from_slice(body.as_bytes()))
        .await
        .unwrap();
    let told = |line: &String| !line.starts_with("date:");
    (
        answer.status,
        fields(&answer.headers).filter(told).collect(),
        answer.text(),
    )
}

/// One that is refused by lastcall itself.
fn refused() -> Request<()> {
    let mut refused = request(Method::GET, "/");
    refused
        .headers_mut()
        .insert("host", HeaderValue::from_static("other"));
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_request_or_its_answer_is_in_the_next() {
    for (server, lastcall) in Endpoint::each().await {
        let client = Client::connect(lastcall.address).await;
        // As it is when nothing was used yet.
        let bare = || answer(&client, request(Method::GET, "/bare"), "");
        let (first, own) = (bare().await, answer(&client, refused(), "").await);
        assert_eq!((first.0, own.0), (200, 400));
        let as_first = server.heads().remove(0);
        for _ in 0..4 {
            let mut secret = request(Method::POST, "/secret");
            for _ in 0..40 {
                secret
                    .headers_mut()
                    .append("x-secret", HeaderValue::from_static("secret"));
            }
            answer(&client, secret, "secret").await;
            let came = server.heads();
            assert!(
                came.last()
                    .unwrap()
                    .iter()
                    .any(|line| line == "x-secret: secret")
            );
            assert_eq!(answer(&client, refused(), "").await, own);
            for _ in 0..4 {
                assert_eq!(bare().await, first);
                assert_eq!(server.heads().last(), Some(&as_first));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_each_has_its_own() {
    for (server, lastcall) in Endpoint::each().await {
        let client = Client::connect(lastcall.address).await;
        for round in 0..4 {
            let one = async |at: usize| {
                // Of all lengths up to what is used again.
                let token = format!("{round}-{at}-").repeat(1 + at * 2);
                let mut asked = request(Method::POST, &format!("/echo?{round}-{at}"));
                asked
                    .headers_mut()
                    .insert("x-token", HeaderValue::from_str(&token).unwrap());
                let (status, _, text) = answer(&client, asked, &token).await;
                assert!(
                    status == 200 && text == token,
                    "{round}-{at}: {status} {text}"
                );
            };
            futures_util::future::join_all((0..90).map(one)).await;
        }
        let heads = server.heads();
        assert_eq!(heads.len(), 4 * 90);
        for head in heads {
            let asked = head[0].split_once('?').unwrap().1;
            let asked = asked.split(' ').next().unwrap();
            let (_, at) = asked.split_once('-').unwrap();
            let token = format!("{asked}-").repeat(1 + at.parse::<usize>().unwrap() * 2);
            let said: Vec<_> = head
                .iter()
                .filter_map(|line| line.strip_prefix("x-token: "))
                .collect();
            assert_eq!(said, [token], "{asked}");
        }
    }
}
