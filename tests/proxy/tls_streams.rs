//! Bytes inside TLS that ends here, and TLS that begins here around bytes: every byte, which end is clean and which
//! is none, who is let in, and where connections go.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::LIMIT;
use crate::support::tls::{Authority, ClientSetup, Issued, TlsClient, Understands};
use crate::support::tls_raw::{TlsEnd, TlsRawServer, say_end, send, take, to_end};
use crate::support::{Config, End, Lastcall, RawClient, RawServer, wait_until};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// TLS that ends at the listener, before endpoints of bytes.
fn ending(own: &Issued, fields: &str, endpoints: &[SocketAddr]) -> Config {
    Config::new(endpoints)
        .listener(&format!(
            "protocol: TLS, tls: {{certificateRefs: [{{name: shop}}]{fields}}}"
        ))
        .backend("web", "protocol: TCP")
        .secret("shop/tls.crt", &own.chain)
        .secret("shop/tls.key", &own.key)
}

/// Endpoints that are spoken to in TLS, and believed by this authority.
fn beginning(config: Config, authority: &Authority) -> Config {
    config
        .backend("web", "protocol: TCP")
        .backend(
            "web",
            "tls: {serverName: web.test, caRef: {name: backends}}",
        )
        .secret("backends/ca.crt", &authority.pem)
}

fn with(authority: &Authority, version: &'static SupportedProtocolVersion) -> ClientSetup {
    let understands = Understands {
        version: Some(version),
        ..Understands::default()
    };
    ClientSetup::with(authority, understands, None)
}

fn ended(end: &str) -> String {
    format!("lastcall_tcp_connections_ended_total{{end=\"{end}\"}}")
}

fn bytes(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

/// A client and its connection at the server.
fn through(setup: &ClientSetup, lastcall: &Lastcall, server: &RawServer) -> (TlsClient, RawClient) {
    let client = setup.connect(lastcall.address, "shop.test").unwrap();
    (client, server.accept())
}

#[test]
fn what_is_inside_tls_reaches_the_endpoint_byte_for_byte_both_ways() {
    let authority = Authority::new();
    let server = RawServer::start();
    let own = authority.issue(&["shop.test"]);
    let lastcall = Lastcall::start(ending(&own, "", &[server.address]));
    for version in VERSIONS {
        let (mut client, mut at_server) = through(&with(&authority, version), &lastcall, &server);
        // Names that a client offers for what is inside are not ours to choose from, nor to refuse.
        assert_eq!(client.alpn(), None);
        lastcall.wait_for_in_flight(server.address, 1);
        // The server speaks first.
        at_server.send("220 ready\r\n");
        assert_eq!(take(&mut client.stream, 11), b"220 ready\r\n");
        let much = bytes(3_000_000);
        let mut sender = at_server.sender();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(&much));
            assert!(take(&mut client.stream, much.len()) == much);
        });
        std::thread::scope(|scope| {
            scope.spawn(|| send(&mut client.stream, &much));
            assert!(at_server.read_exactly(much.len()) == much);
        });
        drop((client, at_server));
        lastcall.wait_for_in_flight(server.address, 0);
    }
    assert_eq!(
        lastcall.metric("lastcall_tls_handshakes_total{result=\"full\"}"),
        Some(2.0)
    );
}

#[test]
fn each_side_may_end_first_with_close_notify_and_still_hears_the_other() {
    let authority = Authority::new();
    let server = RawServer::start();
    let own = authority.issue(&["shop.test"]);
    let lastcall = Lastcall::start(ending(&own, "", &[server.address]));
    for version in VERSIONS {
        let setup = with(&authority, version);
        let (mut client, mut at_server) = through(&setup, &lastcall, &server);
        send(&mut client.stream, "question");
        say_end(&mut client.stream);
        assert_eq!(at_server.read_to_end(), (b"question".to_vec(), End::Fin));
        at_server.send("an answer, later");
        assert_eq!(take(&mut client.stream, 16), b"an answer, later");
        lastcall.wait_for_in_flight(server.address, 1);
        drop(at_server);
        assert_eq!(to_end(&mut client.stream), (Vec::new(), TlsEnd::Clean));
        lastcall.wait_for_in_flight(server.address, 0);

        let (mut client, mut at_server) = through(&setup, &lastcall, &server);
        at_server.send("go on");
        at_server.half_close();
        assert_eq!(
            to_end(&mut client.stream),
            (b"go on".to_vec(), TlsEnd::Clean)
        );
        send(&mut client.stream, "last words");
        at_server.read_until("last words");
        say_end(&mut client.stream);
        assert_eq!(at_server.read_to_end(), (Vec::new(), End::Fin));
        lastcall.wait_for_in_flight(server.address, 0);
    }
    lastcall.wait_for_metric(&ended("closed"), 4.0);
}

/// RFC 8446 section 6.1: whoever can cut a connection must not be able to pass off half for the whole.
#[test]
fn what_ends_without_close_notify_ends_for_nobody_cleanly() {
    let authority = Authority::new();
    let server = RawServer::start();
    let own = authority.issue(&["shop.test"]);
    let lastcall = Lastcall::start(ending(&own, "", &[server.address]));
    let setup = ClientSetup::new(&authority);
    // The client's FIN is no end to the endpoint.
    let (mut client, mut at_server) = through(&setup, &lastcall, &server);
    send(&mut client.stream, "half");
    at_server.read_until("half");
    client.stream.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Reset));
    // Nor is the endpoint's reset one to the client.
    let (mut client, mut at_server) = through(&setup, &lastcall, &server);
    at_server.send("half");
    assert_eq!(take(&mut client.stream, 4), b"half");
    at_server.reset();
    assert_eq!(to_end(&mut client.stream), (Vec::new(), TlsEnd::Reset));
    lastcall.wait_for_metric(&ended("broken"), 2.0);

    // The same where TLS begins here.
    let server = TlsRawServer::start(&authority.issue(&["web.test"]), &[]);
    let config = beginning(Config::new(&[server.address]).tcp(), &authority);
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::connect(lastcall.address);
    let mut at_server = server.accept();
    send(&mut at_server, "half");
    client.read_until("half");
    at_server.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    let client = RawClient::connect(lastcall.address);
    let mut at_server = server.accept();
    client.reset();
    assert_eq!(to_end(&mut at_server), (Vec::new(), TlsEnd::Reset));
    lastcall.wait_for_metric(&ended("broken"), 2.0);
}

#[test]
fn bytes_are_put_into_tls_for_endpoints_that_want_it() {
    let authority = Authority::new();
    let server = TlsRawServer::start(&authority.issue(&["web.test"]), &[]);
    let own = authority.issue(&["shop.test"]);
    let plain = beginning(Config::new(&[server.address]).tcp(), &authority);
    let lastcall = Lastcall::start(plain);
    let much = bytes(2_000_000);
    let mut client = RawClient::connect(lastcall.address);
    let mut at_server = server.accept();
    assert_eq!(at_server.conn.server_name(), Some("web.test"));
    send(&mut at_server, "220 ready");
    client.read_until("220 ready");
    let mut sender = client.sender();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&much));
        assert!(take(&mut at_server, much.len()) == much);
    });
    std::thread::scope(|scope| {
        scope.spawn(|| send(&mut at_server, &much));
        assert!(client.read_exactly(much.len()) == much);
    });
    client.half_close();
    assert_eq!(to_end(&mut at_server), (Vec::new(), TlsEnd::Clean));
    send(&mut at_server, "bye");
    say_end(&mut at_server);
    assert_eq!(client.read_to_end(), (b"bye".to_vec(), End::Fin));
    lastcall.wait_for_metric(&ended("closed"), 1.0);

    // What came out of one TLS goes into another.
    let both = beginning(ending(&own, "", &[server.address]), &authority);
    let lastcall = Lastcall::start(both);
    let setup = ClientSetup::new(&authority);
    let mut client = setup.connect(lastcall.address, "shop.test").unwrap();
    let mut at_server = server.accept();
    send(&mut client.stream, "question");
    say_end(&mut client.stream);
    assert_eq!(
        to_end(&mut at_server),
        (b"question".to_vec(), TlsEnd::Clean)
    );
    send(&mut at_server, "answer");
    say_end(&mut at_server);
    assert_eq!(
        to_end(&mut client.stream),
        (b"answer".to_vec(), TlsEnd::Clean)
    );
    lastcall.wait_for_metric(&ended("closed"), 1.0);
}

/// Law 7.
#[test]
fn who_cannot_prove_to_be_the_endpoint_gets_nothing_and_another_is_asked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let bad = crate::support::tls::TlsServer::start(
        &other.issue(&["web.test"]),
        b"",
        crate::support::tls::Ending::No,
    );
    let good = TlsRawServer::start(&authority.issue(&["web.test"]), &[]);
    let config = Config::new(&[bad.address, good.address]).tcp();
    let lastcall = Lastcall::start(beginning(config, &authority));
    for _ in 0..4 {
        let mut client = RawClient::sending(lastcall.address, "secret");
        let mut at_server = good.accept();
        assert_eq!(take(&mut at_server, 6), b"secret");
        send(&mut at_server, "ok");
        client.read_until("ok");
    }
    assert_eq!(bad.seen.lock().unwrap().handshakes, 0);
    // Where there is no other the client is told by a reset.
    let config = beginning(Config::new(&[bad.address]).tcp(), &authority);
    let lastcall = Lastcall::start(config);
    assert!(RawClient::is_reset_at_once(lastcall.address));
    lastcall.wait_for_metric(&ended("unserved"), 1.0);
}

#[test]
fn the_host_that_a_client_asks_for_decides_where_its_bytes_go() {
    let authority = Authority::new();
    let own = authority.issue(&["*.example.com", "example.org"]);
    let (wild, exact) = (RawServer::start(), RawServer::start());
    let route = |host: &str, backend: &str| {
        format!("{{hostnames: ['{host}'], backends: [{{name: {backend}}}]}}")
    };
    let routes = [
        route("*.example.com", "wild"),
        route("a.example.com", "exact"),
        route("gone.example.com", "gone"),
    ];
    let config = ending(&own, "", &[])
        .without_default_backend()
        .load_balancer(&format!("routes: [{}]", routes.join(", ")))
        .endpoints("wild", &[wild.address])
        .backend("wild", "protocol: TCP")
        .endpoints("exact", &[exact.address])
        .backend("exact", "protocol: TCP");
    let lastcall = Lastcall::start(config);
    let setup = ClientSetup::new(&authority);
    for (host, server) in [
        ("a.example.com", &exact),
        ("A.Example.COM", &exact),
        ("b.example.com", &wild),
    ] {
        let mut client = setup.connect(lastcall.address, host).unwrap();
        let mut at_server = server.accept();
        at_server.send("welcome");
        assert_eq!(take(&mut client.stream, 7), b"welcome", "{host}");
    }
    for (host, alert) in [
        ("example.org", "UnrecognisedName"),
        // Law 4: a route whose Backend is not there does not fall to another one.
        ("gone.example.com", "InternalError"),
    ] {
        let refused = setup.connect(lastcall.address, host);
        let why = refused.err().map(|error| error.to_string());
        let why = why.unwrap_or_default();
        assert!(why.contains(alert), "{host}: {why}");
    }
    let refused = setup.without_sni().connect(lastcall.address, "example.org");
    assert!(refused.is_err());
    lastcall.wait_for_metric(&ended("refused"), 2.0);
    lastcall.wait_for_metric(&ended("unserved"), 1.0);
}

#[test]
fn who_must_show_a_certificate_reaches_no_endpoint_without() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = RawServer::start();
    let own = authority.issue(&["shop.test"]);
    let config = ending(&own, ", clientCARef: {name: clients}", &[server.address])
        .secret("clients/ca.crt", &authority.pem);
    let lastcall = Lastcall::start(config);
    let (good, bad) = (authority.issue(&["client"]), other.issue(&["client"]));
    let known = ClientSetup::with(&authority, Understands::default(), Some(&good));
    for unknown in [None, Some(&bad)] {
        let setup = ClientSetup::with(&authority, Understands::default(), unknown);
        // In TLS 1.3 a client is through before its server has looked at it.
        let refused = setup
            .connect(lastcall.address, "shop.test")
            .and_then(|mut client| client.read_to_end().1);
        let kind = refused.unwrap_err().kind();
        assert!(!matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut));
    }
    assert!(server.try_accept().is_none());
    let (mut client, mut at_server) = through(&known, &lastcall, &server);
    at_server.send("welcome");
    assert_eq!(take(&mut client.stream, 7), b"welcome");
}

#[test]
fn what_is_no_handshake_is_turned_away() {
    let authority = Authority::new();
    let server = RawServer::start();
    let own = authority.issue(&["shop.test"]);
    let config = ending(&own, ", minVersion: TLS1.3", &[server.address])
        .load_balancer("timeouts: {requestHead: 2s}");
    let lastcall = Lastcall::start(config);
    // HTTP in clear text, nothing at all, and half of a hello.
    for sent in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"",
        b"\x16\x03\x01\x01\x00\x01",
    ] {
        let mut client = RawClient::sending(lastcall.address, sent);
        assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    }
    let old = with(&authority, &TLS12).connect(lastcall.address, "shop.test");
    let why = old.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(why.contains("ProtocolVersion"), "{why}");
    assert!(server.try_accept().is_none());
    lastcall.wait_for_metric(&ended("refused"), 4.0);
}

#[test]
fn a_proxy_before_and_the_endpoint_behind_are_told_of_the_client_outside_of_tls() {
    const TOLD: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n";
    let authority = Authority::new();
    let server = TlsRawServer::start(&authority.issue(&["web.test"]), &[]);
    let own = authority.issue(&["shop.test"]);
    let config = beginning(ending(&own, "", &[server.address]), &authority)
        .listener("protocol: TLS, proxyProtocol: true, tls: {certificateRefs: [{name: shop}]}")
        .backend("web", "sendProxyProtocol: V1");
    let lastcall = Lastcall::start(config);
    let setup = ClientSetup::new(&authority);
    let mut client = setup
        .connect_behind(lastcall.address, "shop.test", TOLD)
        .unwrap();
    let mut at_server = server.accept_behind(TOLD);
    send(&mut at_server, "welcome");
    assert_eq!(take(&mut client.stream, 7), b"welcome");
}

#[test]
fn what_is_cut_or_idle_is_reset_on_both_sides_and_no_end_is_said() {
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let server = RawServer::start();
    let setup = ClientSetup::new(&authority);
    let config = ending(&own, "", &[server.address]);
    let lastcall = Lastcall::start(config.clone());
    let (mut client, mut at_server) = through(&setup, &lastcall, &server);
    at_server.send("half");
    assert_eq!(take(&mut client.stream, 4), b"half");
    let disabled = lastcall.cli(&["disable", &format!("be/web/{}", server.address)]);
    assert!(disabled.status.success(), "{disabled:?}");
    assert_eq!(to_end(&mut client.stream), (Vec::new(), TlsEnd::Reset));
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Reset));
    lastcall.wait_for_metric(&ended("cut"), 1.0);
    lastcall.wait_for_in_flight(server.address, 0);
    // They have the same port.
    drop(lastcall);

    let lastcall = Lastcall::start(config.backend("web", "timeouts: {tunnelIdle: 300ms}"));
    let (mut client, mut at_server) = through(&setup, &lastcall, &server);
    assert_eq!(to_end(&mut client.stream), (Vec::new(), TlsEnd::Reset));
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Reset));
    lastcall.wait_for_metric(&ended("idle"), 1.0);
}

#[test]
fn a_drain_waits_for_a_connection_in_tls_and_a_new_certificate_does_not_end_it() {
    let authority = Authority::new();
    let (own, next) = (
        authority.issue(&["shop.test"]),
        authority.issue(&["shop.test"]),
    );
    let server = RawServer::start();
    let setup = ClientSetup::new(&authority);
    let config = ending(&own, "", &[server.address]);
    let mut lastcall = Lastcall::start(config.clone());
    let (mut client, mut at_server) = through(&setup, &lastcall, &server);
    let config = config
        .secret("shop/tls.crt", &next.chain)
        .secret("shop/tls.key", &next.key);
    lastcall.reload(config);
    let address = lastcall.address;
    wait_until("the new certificate", LIMIT, || {
        // One that resumes no session: it would see what it saw before.
        let setup = ClientSetup::new(&authority);
        let client = setup.connect(address, "shop.test").unwrap();
        // Its connection ends with it.
        drop(server.accept());
        (client.shown() == next.der())
            .then_some(())
            .ok_or("the old")
    });
    let target = format!("be/web/{}", server.address);
    let drained = lastcall.cli(&["drain", &target]);
    assert!(drained.status.success(), "{drained:?}");
    send(&mut client.stream, "ping");
    at_server.read_until("ping");
    at_server.send("pong");
    assert_eq!(take(&mut client.stream, 4), b"pong");
    lastcall.wait_for_in_flight(server.address, 1);
    client.stream.flush().unwrap();
    say_end(&mut client.stream);
    drop(at_server);
    assert_eq!(to_end(&mut client.stream), (Vec::new(), TlsEnd::Clean));
    lastcall.wait_for_in_flight(server.address, 0);
    assert_eq!(lastcall.metric(&ended("cut")), Some(0.0));
}
