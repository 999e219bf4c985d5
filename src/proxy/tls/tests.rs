//! Both sides against `rustls`' own, over loopback: every byte, every end, and which certificate is shown.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zeroize::Zeroizing;

use super::*;
use crate::model::tls::{
    BackendTls, CaBundle, Certificate, KeyFormat, ListenerTls, PrivateKey, TlsVersion,
};
use crate::model::{EndpointProtocol, HostPattern, Protocol};
use crate::proxy::buffer::{Buffer, BufferPool};
use crate::proxy::transport::Transport;

/// A certificate for these hosts that is its own authority.
fn certificate(hosts: &[&str], key: &KeyPair) -> Arc<Certificate> {
    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let made = CertificateParams::new(names)
        .unwrap()
        .self_signed(key)
        .unwrap();
    Arc::new(Certificate {
        name: hosts.join(",").into(),
        chain: vec![made.der().to_vec().into()],
        key: PrivateKey {
            format: KeyFormat::Pkcs8,
            der: Zeroizing::new(key.serialize_der()),
        },
        hosts: hosts.iter().map(|host| HostPattern::new(host)).collect(),
        not_after: i64::MAX,
    })
}

fn ecdsa(hosts: &[&str]) -> Arc<Certificate> {
    certificate(hosts, &KeyPair::generate().unwrap())
}

fn ends(certificates: &[Arc<Certificate>]) -> Arc<ListenerTls> {
    Arc::new(ListenerTls {
        certificates: certificates.to_vec(),
        client_ca: None,
        min_version: TlsVersion::V12,
    })
}

/// A client that believes this certificate only.
fn client(certificate: &Certificate) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from(certificate.chain[0].to_vec());
    roots.add(der).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("a.test").unwrap()
}

/// Two ends of one connection.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

async fn shake(terminator: &Terminator, socket: TcpStream) -> Result<Transport, Refused> {
    let pool = Rc::new(BufferPool::default());
    let mut handshake = Handshake::new(terminator, socket, Buffer::new(&pool), &pool).unwrap();
    std::future::poll_fn(|cx| handshake.poll(cx)).await?;
    Ok(handshake.into_tls())
}

/// Our end of a listener's connection, and `rustls`' own client on the other.
async fn accepted() -> (Transport, tokio_rustls::client::TlsStream<TcpStream>) {
    let own = ecdsa(&["a.test"]);
    let terminator = Terminator::new(&ends(&[Arc::clone(&own)]), Protocol::Https, None).unwrap();
    let (near, far) = sockets().await;
    let connector = client(&own);
    let (ours, theirs) = tokio::join!(shake(&terminator, near), connector.connect(name(), far));
    (ours.unwrap(), theirs.unwrap())
}

/// `rustls`' own server, for this certificate.
fn server(certificate: &Certificate) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(certificate.key.der.to_vec()).unwrap();
    let chain = vec![CertificateDer::from(certificate.chain[0].to_vec())];
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.clone_key())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn believes(certificate: &Certificate) -> Arc<BackendTls> {
    Arc::new(BackendTls {
        ca: Some(Arc::new(CaBundle {
            name: "ca".into(),
            certificates: certificate.chain.clone(),
        })),
        server_name: "a.test".into(),
    })
}

/// Our end of an endpoint's connection, and `rustls`' own server on the other.
async fn connected() -> (Transport, tokio_rustls::server::TlsStream<TcpStream>) {
    let own = ecdsa(&["a.test"]);
    let acceptor = server(&own);
    let connector =
        Arc::new(Originator::new(&believes(&own), EndpointProtocol::Http1).unwrap()).connector();
    let (near, far) = sockets().await;
    let pool = Rc::new(BufferPool::default());
    let connecting = connector.begin(near, Offer::Any, &pool).unwrap();
    let (ours, theirs) = tokio::join!(connecting, acceptor.accept(far));
    (ours.unwrap(), theirs.unwrap())
}

fn bytes(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

/// Everything both ways at once, through ends that take as much as they like.
async fn all_arrives(
    mut ours: Transport,
    mut theirs: impl AsyncRead + AsyncWrite + Unpin,
    count: usize,
) {
    let sent = bytes(count);
    let theirs = async {
        let (mut read, mut write) = tokio::io::split(&mut theirs);
        let mut got = Vec::new();
        let writing = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let ((), read) = tokio::join!(writing, read.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent, "{} of {count}", got.len());
    };
    let ours = async {
        let (mut read, mut write) = tokio::io::split(&mut ours);
        let mut got = Vec::new();
        let writing = async {
            // As a response goes out: a head, a piece, and some more, in one write.
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let (head, more) = rest.split_at(rest.len().min(300));
                let (body, tail) = more.split_at(more.len().min(70_000));
                let parts = [head, body].map(io::IoSlice::new);
                let mut taken = write.write_vectored(&parts).await.unwrap();
                assert!(taken > 0);
                for part in [head, body] {
                    let out = taken.min(part.len());
                    write.write_all(&part[out..]).await.unwrap();
                    taken -= out;
                }
                rest = tail;
            }
            write.shutdown().await.unwrap();
        };
        let ((), read) = tokio::join!(writing, read.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent, "{} of {count}", got.len());
    };
    tokio::join!(ours, theirs);
}

#[tokio::test]
async fn every_byte_arrives_both_ways_at_once() {
    for count in [0, 1, 500, 16_384, 16_385, 3_000_000] {
        let (ours, theirs) = accepted().await;
        all_arrives(ours, theirs, count).await;
        let (ours, theirs) = connected().await;
        all_arrives(ours, theirs, count).await;
    }
}

async fn end_of(stream: &mut Transport) -> Result<usize, io::ErrorKind> {
    let mut got = Vec::new();
    let read = stream.read_to_end(&mut got).await;
    read.map_err(|error| error.kind())
}

/// RFC 8446 section 6.1.
#[tokio::test]
async fn an_end_without_close_notify_is_no_clean_end() {
    let (mut ours, mut theirs) = connected().await;
    theirs.write_all(b"half").await.unwrap();
    theirs.flush().await.unwrap();
    drop(theirs);
    assert_eq!(end_of(&mut ours).await, Err(io::ErrorKind::UnexpectedEof));

    let (mut ours, mut theirs) = connected().await;
    theirs.write_all(b"whole").await.unwrap();
    theirs.shutdown().await.unwrap();
    assert_eq!(end_of(&mut ours).await, Ok(5));
}

#[tokio::test]
async fn a_reset_says_no_close_notify() {
    let (mut ours, mut theirs) = accepted().await;
    ours.write_all(b"half").await.unwrap();
    ours.flush().await.unwrap();
    let mut four = [0; 4];
    theirs.read_exact(&mut four).await.unwrap();
    ours.reset();
    let _ = ours.shutdown().await;
    drop(ours);
    assert!(theirs.read(&mut four).await.is_err());
}

#[tokio::test]
async fn a_kept_connection_is_quiet_until_something_came() {
    let (mut ours, mut theirs) = connected().await;
    // Tickets came with the handshake: they are nobody's answer.
    let mut four = [0; 4];
    theirs.write_all(b"ping").await.unwrap();
    ours.read_exact(&mut four).await.unwrap();
    assert!(ours.is_quiet());
    theirs.write_all(b"x").await.unwrap();
    let noisy = std::future::poll_fn(|cx| {
        if !ours.is_quiet() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    let noisy = async {
        tokio::task::unconstrained(noisy).await;
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), noisy)
        .await
        .unwrap();
}

/// What keeps connections small: nothing of a pool is held while nothing is on its way.
#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let (mut ours, mut theirs) = accepted().await;
    let mut four = [0; 4];
    for _ in 0..3 {
        theirs.write_all(b"ping").await.unwrap();
        ours.read_exact(&mut four).await.unwrap();
        ours.write_all(b"pong").await.unwrap();
        ours.flush().await.unwrap();
        theirs.read_exact(&mut four).await.unwrap();
    }
    let mut cx = Context::from_waker(Waker::noop());
    let read = Pin::new(&mut ours).poll_read(&mut cx, &mut ReadBuf::new(&mut four));
    assert!(read.is_pending());
    let Transport::Tls(tls) = &ours else {
        panic!("not TLS");
    };
    assert!(tls.holds_nothing());
}

#[tokio::test]
async fn clear_text_is_told_from_tls() {
    let terminator = Terminator::new(&ends(&[ecdsa(&["a.test"])]), Protocol::Https, None).unwrap();
    for (sent, clear) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], true),
        (b"\x16\x03\x01\x00\x04\xff\0\0\0", false),
    ] {
        let (near, mut far) = sockets().await;
        far.write_all(sent).await.unwrap();
        let refused = shake(&terminator, near).await.unwrap_err();
        assert_eq!(matches!(refused, Refused::ClearText), clear, "{refused:?}");
    }
}

#[tokio::test]
async fn who_is_not_believed_gets_nothing() {
    let (own, other) = (ecdsa(&["a.test"]), ecdsa(&["b.test"]));
    let expired = {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let made = params.self_signed(&key).unwrap();
        let mut certificate = (*certificate(&["a.test"], &key)).clone();
        certificate.chain = vec![made.der().to_vec().into()];
        certificate
    };
    for (shown, believed, good) in [
        (&*own, &*own, true),
        // Another authority, another name, too late.
        (&*own, &*other, false),
        (&*other, &*other, false),
        (&expired, &expired, false),
    ] {
        let originator =
            Arc::new(Originator::new(&believes(believed), EndpointProtocol::Http1).unwrap());
        let (near, far) = sockets().await;
        let pool = Rc::new(BufferPool::default());
        let connecting = originator
            .connector()
            .begin(near, Offer::Any, &pool)
            .unwrap();
        let acceptor = server(shown);
        let (ours, theirs) = tokio::join!(connecting, acceptor.accept(far));
        assert_eq!(ours.is_ok(), good, "{ours:?}");
        assert_eq!(theirs.is_ok(), good);
    }
}

/// Which of `certificates` is shown to a client that asks for `host`.
fn chosen(certificates: &[Arc<Certificate>], host: Option<&str>) -> Vec<String> {
    let own = certificates::Certificates::new(certificates, &provider()).unwrap();
    let number = |shown: &Arc<rustls::sign::CertifiedKey>| {
        let shown = certificates
            .iter()
            .find(|own| *own.chain[0] == *shown.cert[0]);
        shown.unwrap().name.to_string()
    };
    own.choose(host).map(number).collect()
}

#[test]
fn a_name_of_its_own_comes_before_a_wildcard_and_both_before_the_default() {
    let all = [
        ecdsa(&["default.test"]),
        ecdsa(&["*.example.com"]),
        ecdsa(&["shop.example.com", "other.test"]),
    ];
    for (host, first) in [
        (Some("shop.example.com"), "shop.example.com,other.test"),
        (Some("other.test"), "shop.example.com,other.test"),
        (Some("web.example.com"), "*.example.com"),
        // A wildcard is one label, and not none.
        (Some("a.b.example.com"), "default.test"),
        (Some("example.com"), "default.test"),
        (Some("nobody.test"), "default.test"),
        (Some("localhost"), "default.test"),
        (None, "default.test"),
    ] {
        assert_eq!(chosen(&all, host)[0], first, "{host:?}");
    }
}

#[test]
fn of_two_keys_for_a_host_the_cheaper_one_is_offered_first() {
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let (rsa, ecdsa) = (certificate(&["a.test"], &rsa), ecdsa(&["a.test", "b.test"]));
    assert_eq!(
        chosen(&[rsa, ecdsa], Some("a.test"))[..2],
        ["a.test,b.test", "a.test"]
    );
}

#[test]
fn a_configuration_that_has_not_changed_goes_on_and_tickets_outlive_a_certificate() {
    let (first, second) = (ends(&[ecdsa(&["a.test"])]), ends(&[ecdsa(&["a.test"])]));
    let guarded = Arc::new(ListenerTls {
        client_ca: Some(Arc::new(CaBundle {
            name: "ca".into(),
            certificates: second.certificates[0].chain.clone(),
        })),
        ..(*second).clone()
    });
    let one = Terminator::new(&first, Protocol::Https, None).unwrap();
    let same = Arc::new((*first).clone());
    assert!(one.is(&same, Protocol::Https) && !one.is(&second, Protocol::Https));
    // What is offered inside has changed.
    assert!(!one.is(&same, Protocol::Tls));
    let ticket = one.tickets().encrypt(b"session").unwrap();
    let two = Terminator::new(&second, Protocol::Https, Some(&one)).unwrap();
    assert_eq!(
        two.tickets().decrypt(&ticket).as_deref(),
        Some(&b"session"[..])
    );
    // Who must show a certificate now has not shown one then.
    let three = Terminator::new(&guarded, Protocol::Https, Some(&two)).unwrap();
    assert_eq!(three.tickets().decrypt(&ticket), None);
}
