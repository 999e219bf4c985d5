//! Endpoints that are to be spoken to otherwise from now on: what was connected under the configuration before serves
//! what it carries, and nothing after it.

use std::io::Read;
use std::net::TcpStream;

use rustls::{ServerConnection, StreamOwned};

use crate::LIMIT;
use crate::support::http2::{Client, read};
use crate::support::tls::Authority;
use crate::support::tls_raw::{TlsRawServer, send, to_end};
use crate::support::{Backend, Config, Lastcall, RawClient, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// An endpoint of a Backend to which TLS is spoken at first.
struct Scene {
    lastcall: Lastcall,
    server: TlsRawServer,
    authority: Authority,
    backend: &'static str,
}

impl Scene {
    fn start(backend: &'static str, config: impl FnOnce(Config) -> Config) -> Self {
        let authority = Authority::new();
        let server = TlsRawServer::start(&authority.issue(&["web.test"]), &[]);
        let tls = "tls: {serverName: web.test, caRef: {name: backends}}";
        let config = config(Config::new(&[server.address]))
            .endpoints(backend, &[server.address])
            .backend(backend, "protocol: HTTPS")
            .backend(backend, tls)
            .secret("backends/ca.crt", &authority.pem)
            .flag("--workers=1");
        Self {
            lastcall: Lastcall::start(config),
            server,
            authority,
            backend,
        }
    }

    /// A connection in TLS that a request is in flight on.
    fn asked(&self) -> Tls {
        let mut endpoint = self.server.accept();
        assert!(read_head(&mut endpoint).starts_with("GET / "));
        endpoint
    }

    /// Has lastcall speak to the endpoint in clear text, and the endpoint answer.
    fn change_and_answer(&mut self, endpoint: &mut Tls) {
        let config = self.lastcall.config();
        let config = config
            .backend(self.backend, "protocol: HTTP")
            .without(self.backend, "tls");
        reload(&mut self.lastcall, config);
        send(endpoint, ANSWER);
    }

    /// The next request comes in clear text, and the connection before has ended without it.
    fn assert_new(&self, before: &mut Tls) {
        let mut next = self.server.accept_clear();
        assert!(read_head(&mut next).starts_with("GET / "));
        assert_eq!(to_end(before).0, b"");
    }
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reloads, and waits until every worker serves by it.
fn reload(lastcall: &mut Lastcall, config: Config) {
    let served = |lastcall: &Lastcall| {
        let log = lastcall.log();
        log.matches("configuration in service").count()
    };
    let before = served(lastcall);
    lastcall.reload(config);
    wait_until("the configuration", LIMIT, || {
        let now = served(lastcall);
        (now > before).then_some(()).ok_or(now)
    });
}

#[test]
fn a_connection_that_a_request_was_in_flight_on_when_the_protocol_changed_gets_no_other() {
    let mut scene = Scene::start("web", |config| config);
    let mut client = RawClient::sending(scene.lastcall.address, GET);
    let mut endpoint = scene.asked();
    scene.change_and_answer(&mut endpoint);
    assert_eq!(client.read_response().body_text(), "ok");
    client.send(GET);
    scene.assert_new(&mut endpoint);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_where_its_client_speaks_http2() {
    let mut scene = Scene::start("web", |config| config);
    let client = Client::connect(scene.lastcall.address).await;
    let response = client.send("/").await;
    let mut endpoint = tokio::task::block_in_place(|| {
        let mut endpoint = scene.asked();
        scene.change_and_answer(&mut endpoint);
        endpoint
    });
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(answer.text(), "ok");
    let _second = client.send("/").await;
    tokio::task::block_in_place(|| scene.assert_new(&mut endpoint));
}

#[test]
fn nor_where_it_was_a_copy() {
    let web = Backend::echo();
    let routes =
        "routes: [{filters: [{mirror: {backend: {name: shadow}}}], backends: [{name: web}]}]";
    let mut scene = Scene::start("shadow", |config| {
        config
            .endpoints("web", &[web.address])
            .load_balancer(routes)
    });
    let mut client = RawClient::connect(scene.lastcall.address);
    assert_eq!(client.ask(GET).status(), 200);
    let mut endpoint = scene.asked();
    scene.change_and_answer(&mut endpoint);
    let answered = "lastcall_mirrored_total{result=\"answered\"}";
    scene.lastcall.wait_for_metric(answered, 1.0);
    assert_eq!(client.ask(GET).status(), 200);
    scene.assert_new(&mut endpoint);
}

#[test]
fn nor_when_others_are_believed() {
    let mut scene = Scene::start("web", |config| config);
    let mut first = RawClient::sending(scene.lastcall.address, GET);
    let mut before = scene.asked();
    // The same and another one, which is not the same.
    let both = [&scene.authority.pem[..], &Authority::new().pem].concat();
    let config = scene.lastcall.config().secret("backends/ca.crt", &both);
    reload(&mut scene.lastcall, config);
    send(&mut before, ANSWER);
    assert_eq!(first.read_response().body_text(), "ok");
    // What the endpoint speaks is asked anew; when that is known, what is kept would be used.
    first.send(GET);
    let _held = scene.asked();
    let _second = RawClient::sending(scene.lastcall.address, GET);
    let _new = scene.asked();
    assert_eq!(to_end(&mut before).0, b"");
}
