//! Against real clients of rustls, over loopback.

use std::time::Duration;

use axum::routing::get;
use rcgen::generate_simple_self_signed;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A certificate for `port.test`, and a client that believes it only.
fn certificate() -> (Arc<CertifiedKey>, TlsConnector) {
    let made = generate_simple_self_signed(["port.test".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = certified_key(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(key), TlsConnector::from(Arc::new(client)))
}

struct Running {
    address: SocketAddr,
    client: TlsConnector,
    certificate: watch::Sender<Arc<CertifiedKey>>,
    /// Lets `/held` answer.
    release: watch::Sender<bool>,
    /// Set when `/held` was asked.
    held: watch::Receiver<u32>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

async fn running(limits: Limits) -> Running {
    let (key, client) = certificate();
    let (certificate, shown) = watch::channel(key);
    let (release, released) = watch::channel(false);
    let (holding, held) = watch::channel(0);
    let router = Router::new()
        .route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        )
        .route(
            "/held",
            get(move || {
                let mut released = released.clone();
                holding.send_modify(|count| *count += 1);
                async move {
                    released.wait_for(|now| *now).await.unwrap();
                    "released"
                }
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let tls = server_config(shown).unwrap();
    let ended = tokio::spawn(serve(listener, tls, router, limits, async {
        let _ = stopped.await;
    }));
    Running {
        address,
        client,
        certificate,
        release,
        held,
        stop: Some(stop),
        ended,
    }
}

impl Running {
    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        self.client
            .connect(ServerName::try_from("port.test").unwrap(), stream)
            .await
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>, path: &str) -> std::io::Result<()> {
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: port.test\r\n\r\n").as_bytes())
        .await
}

/// Head and body of a response with a Content-Length.
async fn answer(stream: &mut TlsStream<TcpStream>) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(
            stream.read_buf(&mut bytes).await.unwrap(),
            0,
            "ended within a response"
        );
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() == length {
            return (head, body.to_owned());
        }
    }
}

async fn asked(stream: &mut TlsStream<TcpStream>, path: &str) -> (String, String) {
    ask(stream, path).await.unwrap();
    answer(stream).await
}

/// Whether the other side ends the connection without another byte.
async fn is_ended(stream: &mut TlsStream<TcpStream>) -> bool {
    stream.read(&mut [0; 1]).await.is_ok_and(|read| read == 0)
}

#[tokio::test]
async fn a_connection_is_kept_and_its_requests_know_their_peer() {
    let port = running(Limits::default()).await;
    let mut stream = port.connect().await.unwrap();
    let own = stream.get_ref().0.local_addr().unwrap().to_string();
    for _ in 0..3 {
        assert_eq!(asked(&mut stream, "/").await.1, own);
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let mut port = running(Limits::default()).await;
    let mut old = port.connect().await.unwrap();
    ask(&mut old, "/held").await.unwrap();
    port.held.wait_for(|held| *held == 1).await.unwrap();
    let (key, client) = certificate();
    port.certificate.send_replace(key);
    assert!(
        port.connect().await.is_err(),
        "the old certificate is shown"
    );
    port.client = client;
    let mut new = port.connect().await.unwrap();
    asked(&mut new, "/").await;
    port.release.send_replace(true);
    assert_eq!(answer(&mut old).await.1, "released");
    asked(&mut old, "/").await;
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_keeps_nobody_waiting_and_has_its_time() {
    let port = running(Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let mut silent: Vec<_> = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(port.address).await.unwrap());
    }
    asked(&mut port.connect().await.unwrap(), "/").await;
    for mut stream in silent {
        let read = stream.read(&mut [0; 1]).await;
        assert!(!matches!(read, Ok(1..)), "it was closed");
    }
}

#[tokio::test]
async fn a_head_that_is_not_finished_has_its_time() {
    let port = running(Limits {
        head: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let mut stream = port.connect().await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn over_the_limit_connections_wait_for_their_turn() {
    let port = running(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let mut first = port.connect().await.unwrap();
    asked(&mut first, "/").await;
    let mut second = Box::pin(async { asked(&mut port.connect().await.unwrap(), "/").await });
    tokio::select! {
        biased;
        _ = &mut second => panic!("there was no room"),
        _ = asked(&mut first, "/") => {}
    }
    drop(first);
    second.await;
}

#[tokio::test]
async fn at_the_end_what_was_asked_is_answered_and_idle_connections_are_closed() {
    let mut port = running(Limits::default()).await;
    let mut idle = port.connect().await.unwrap();
    asked(&mut idle, "/").await;
    let mut waiting = port.connect().await.unwrap();
    ask(&mut waiting, "/held").await.unwrap();
    port.held.wait_for(|held| *held == 1).await.unwrap();
    // Connected, and its question still on its way when the end comes.
    let mut late = port.connect().await.unwrap();
    port.stop();
    assert!(is_ended(&mut idle).await);
    let (head, _) = asked(&mut late, "/").await;
    assert!(head.contains("connection: close"), "{head}");
    assert!(is_ended(&mut late).await);
    assert!(!port.ended.is_finished());
    port.release.send_replace(true);
    let (head, body) = answer(&mut waiting).await;
    assert!(
        body == "released" && head.contains("connection: close"),
        "{head}"
    );
    port.ended.await.unwrap();
    assert!(TcpStream::connect(port.address).await.is_err());
}

#[tokio::test]
async fn the_end_waits_so_long_and_no_longer() {
    let mut port = running(Limits {
        end: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let mut waiting = port.connect().await.unwrap();
    ask(&mut waiting, "/held").await.unwrap();
    port.held.wait_for(|held| *held == 1).await.unwrap();
    port.stop();
    port.ended.await.unwrap();
    assert!(!matches!(waiting.read(&mut [0; 1]).await, Ok(1..)));
}

#[tokio::test]
async fn what_waits_in_the_queue_at_the_end_is_answered() {
    let mut port = running(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let mut first = port.connect().await.unwrap();
    asked(&mut first, "/").await;
    // Accepted by the kernel, and by nobody else.
    let queued = TcpStream::connect(port.address).await.unwrap();
    port.stop();
    let name = ServerName::try_from("port.test").unwrap();
    let mut queued = port.client.connect(name, queued).await.unwrap();
    asked(&mut queued, "/").await;
    port.ended.await.unwrap();
}

#[test]
fn a_key_that_is_another_certificates_is_refused() {
    let [one, two] =
        [(); 2].map(|()| generate_simple_self_signed(["port.test".to_owned()]).unwrap());
    let mixed = certified_key(&one.cert.pem(), &two.signing_key.serialize_pem());
    assert!(matches!(mixed, Err(CertificateFault::Key(_))));
    let junk = certified_key("junk", &two.signing_key.serialize_pem());
    assert!(junk.is_err());
}
