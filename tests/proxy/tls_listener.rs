//! TLS that ends at a listener: which certificate is shown, which versions are spoken, clients that must prove who
//! they are or speak no TLS, and how connections end.

use std::io::{Read, Write};

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustix::process::Signal;
use rustls::{ProtocolVersion, SignatureScheme};

use crate::support::backend::{Gate, ok, slow};
use crate::support::tls::{Authority, ClientSetup, Issued, Understands};
use crate::support::{Backend, Config, End, Lastcall, RawClient};

/// A LoadBalancer whose listener has these certificates.
pub fn https(backend: &Backend, certificates: &[(&str, &Issued)], more: &str) -> Config {
    let references: Vec<String> = certificates
        .iter()
        .map(|(name, _)| format!("{{name: {name}}}"))
        .collect();
    let listener = format!(
        "protocol: HTTPS, tls: {{certificateRefs: [{}]{more}}}",
        references.join(", ")
    );
    let config = Config::new(&[backend.address]).listener(&listener);
    certificates
        .iter()
        .fold(config, |config, (name, issued)| with(config, name, issued))
}

pub fn with(config: Config, name: &str, issued: &Issued) -> Config {
    config
        .secret(&format!("{name}/tls.crt"), &issued.chain)
        .secret(&format!("{name}/tls.key"), &issued.key)
}

pub const HANDSHAKES_RESUMED: &str = "lastcall_tls_handshakes_total{result=\"resumed\"}";
pub const HANDSHAKES_FULL: &str = "lastcall_tls_handshakes_total{result=\"full\"}";
const HANDSHAKES_FAILED: &str = "lastcall_tls_handshakes_total{result=\"failed\"}";

#[test]
fn a_connection_over_the_limit_is_closed_and_costs_no_handshake() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let config = https(&backend, &[("shop", &own)], "");
    let lastcall = Lastcall::start(config.load_balancer("limits: {connections: 1}"));
    let setup = ClientSetup::new(&authority);
    let (_, mut first) = setup.get(lastcall.address, "shop.test", "/").unwrap();
    let second = setup.connect(lastcall.address, "shop.test");
    second.map(|_| ()).unwrap_err();
    assert_eq!(
        lastcall.metric("lastcall_refused_total{reason=\"connection\"}"),
        Some(1.0)
    );
    assert_eq!(lastcall.count(HANDSHAKES_FULL), Some(1));
    let again = first.ask("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert_eq!(again.unwrap().status(), 200);
}

#[test]
fn what_a_client_does_wrong_in_its_handshake_fills_no_log() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let lastcall = Lastcall::start(https(&backend, &[("shop", &own)], ""));
    // Data before any handshake: a record that is whole and out of place.
    for _ in 0..3 {
        RawClient::sending(lastcall.address, b"\x17\x03\x03\x00\x05hello").read_to_end();
    }
    lastcall.wait_for_metric(HANDSHAKES_FAILED, 3.0);
    let log = lastcall.log();
    assert!(!log.contains("WARN") && !log.contains("rustls"), "{log}");
}

/// RFC 8446 section 6.1.
#[test]
fn at_the_end_what_was_asked_is_answered_and_idle_connections_end_cleanly() {
    let gate = Gate::new();
    let held = gate.clone();
    let backend = Backend::start(move |seen| match seen.target() {
        "/slow" => slow(&held, "at last"),
        _ => ok("now"),
    });
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let mut lastcall = Lastcall::start(https(&backend, &[("shop", &own)], ""));
    let setup = ClientSetup::new(&authority);
    let (_, mut idle) = setup.get(lastcall.address, "shop.test", "/").unwrap();
    let mut busy = setup.connect(lastcall.address, "shop.test").unwrap();
    let request = "GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    busy.stream.write_all(request.as_bytes()).unwrap();
    backend.wait_for_requests(2);
    lastcall.signal(Signal::TERM);
    idle.read_to_end().1.unwrap();
    gate.open();
    assert_eq!(busy.read_response().unwrap().body_text(), "at last");
    busy.read_to_end().1.unwrap();
    assert!(lastcall.wait().success());
}

#[test]
fn a_request_in_tls_reaches_the_backend_and_says_that_it_was() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let lastcall = Lastcall::start(https(&backend, &[("shop", &own)], ""));
    let setup = ClientSetup::new(&authority);
    let (_, mut client) = setup.get(lastcall.address, "shop.test", "/").unwrap();
    assert_eq!(client.alpn(), Some(&b"http/1.1"[..]));
    let body = "x".repeat(300_000);
    let request = format!(
        "POST /up HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // The same connection once more.
    assert_eq!(client.ask(&request).unwrap().body_text(), body);
    let seen = backend.seen();
    assert_eq!(seen[1].field("x-forwarded-proto"), Some("https"));
    let forwarded = seen[1].field("forwarded").unwrap();
    assert!(forwarded.contains("proto=https"), "{forwarded}");
    assert_eq!(backend.connections(), 1, "kept as for clear text");
}

#[test]
fn the_certificate_is_chosen_by_name_and_the_first_where_none_is_for_it() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let default = authority.issue(&["default.test"]);
    let wildcard = authority.issue(&["*.example.com"]);
    let exact = authority.issue(&["shop.example.com"]);
    let certificates = [("a", &default), ("b", &wildcard), ("c", &exact)];
    let lastcall = Lastcall::start(https(&backend, &certificates, ""));
    let setup = ClientSetup::new(&authority);
    for (host, issued) in [
        ("shop.example.com", &exact),
        ("other.example.com", &wildcard),
        ("default.test", &default),
    ] {
        let (answer, client) = setup.get(lastcall.address, host, "/").unwrap();
        assert_eq!(
            (answer.status(), client.shown()),
            (200, issued.der()),
            "{host}"
        );
    }
    let nameless = setup.without_sni();
    let (_, client) = nameless.get(lastcall.address, "default.test", "/").unwrap();
    assert_eq!(client.shown(), default.der());
    // The default is shown, and is not for that name: the client breaks off.
    setup
        .connect(lastcall.address, "nobody.test")
        .map(|_| ())
        .unwrap_err();
}

#[test]
fn a_client_is_shown_a_key_that_it_understands() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let rsa = authority.issue_with(&["shop.test"], &PKCS_RSA_SHA256, |_| ());
    let ecdsa = authority.issue_with(&["shop.test"], &PKCS_ECDSA_P256_SHA256, |_| ());
    let lastcall = Lastcall::start(https(&backend, &[("rsa", &rsa), ("ecdsa", &ecdsa)], ""));
    let shown = |signatures: Option<&'static [SignatureScheme]>, version| {
        let understands = Understands {
            version,
            signatures,
        };
        let setup = ClientSetup::with(&authority, understands, None);
        let (_, client) = setup.get(lastcall.address, "shop.test", "/").unwrap();
        client.shown()
    };
    // The authority's own signature is an ECDSA one: every client has to understand that.
    let only_rsa: &[SignatureScheme] = &[
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(shown(None, Some(version)), ecdsa.der());
        assert_eq!(shown(Some(only_rsa), Some(version)), rsa.der());
    }
}

#[test]
fn versions_below_the_lowest_are_not_spoken() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    for (more, low) in [("", true), (", minVersion: TLS1.3", false)] {
        let lastcall = Lastcall::start(https(&backend, &[("shop", &own)], more));
        for (version, wanted, spoken) in [
            (&rustls::version::TLS12, ProtocolVersion::TLSv1_2, low),
            (&rustls::version::TLS13, ProtocolVersion::TLSv1_3, true),
        ] {
            let understands = Understands {
                version: Some(version),
                signatures: None,
            };
            let setup = ClientSetup::with(&authority, understands, None);
            let got = setup.get(lastcall.address, "shop.test", "/");
            assert_eq!(got.is_ok(), spoken, "{wanted:?}");
            if let Ok((_, client)) = got {
                assert_eq!(client.version(), wanted);
            }
        }
        lastcall.wait_for_metric(HANDSHAKES_FAILED, if low { 0.0 } else { 1.0 });
    }
}

/// Law 4.
/// Law 4.
#[test]
fn clients_must_show_a_certificate_of_the_authority_that_is_named() {
    let backend = Backend::echo();
    let (authority, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let own = authority.issue(&["shop.test"]);
    let config = https(
        &backend,
        &[("shop", &own)],
        ", clientCARef: {name: clients}",
    );
    let lastcall = Lastcall::start(config.secret("clients/ca.crt", &clients.pem));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let ask = |shown: Option<&Issued>| {
            let understands = Understands {
                version: Some(version),
                signatures: None,
            };
            let setup = ClientSetup::with(&authority, understands, shown);
            let got = setup.get(lastcall.address, "shop.test", "/");
            got.map(|(answer, _)| answer.status())
        };
        assert_eq!(ask(Some(&clients.issue(&["ann"]))).unwrap(), 200);
        ask(Some(&others.issue(&["eve"]))).unwrap_err();
        ask(None).unwrap_err();
    }
    assert_eq!(backend.seen().len(), 2);
    lastcall.wait_for_metric(HANDSHAKES_FAILED, 4.0);
}

#[test]
fn clear_text_on_a_port_of_https_is_told_so() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let lastcall = Lastcall::start(https(&backend, &[("shop", &own)], ""));
    let mut client = RawClient::sending(
        lastcall.address,
        "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    );
    let answer = client.read_response();
    assert_eq!(answer.status(), 400);
    assert!(
        answer.body_text().contains("speaks HTTPS"),
        "{}",
        answer.body_text()
    );
    assert_eq!(client.read_to_end(), (vec![], End::Fin));
    assert_eq!(backend.seen().len(), 0);
}

#[test]
fn a_proxy_may_introduce_a_client_that_speaks_tls() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let config = https(&backend, &[("shop", &own)], "")
        .listener("protocol: HTTPS, proxyProtocol: true, tls: {certificateRefs: [{name: shop}]}");
    let lastcall = Lastcall::start(config);
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
    let setup = ClientSetup::new(&authority);
    let mut client = setup
        .connect_behind(lastcall.address, "shop.test", header)
        .unwrap();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert_eq!(answer.unwrap().status(), 200);
    let seen = backend.seen();
    assert_eq!(seen[0].field("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(seen[0].field("x-forwarded-proto"), Some("https"));
    let without = setup.connect(lastcall.address, "shop.test");
    without.map(|_| ()).unwrap_err();
}

#[test]
fn a_handshake_that_does_not_end_has_a_heads_time() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let config = https(&backend, &[("shop", &own)], "");
    let lastcall = Lastcall::start(config.load_balancer("timeouts: {requestHead: 300ms}"));
    // Nothing at all, and half of a hello.
    for sent in [&b""[..], b"\x16\x03\x01\x01\x00\x01"] {
        let mut client = RawClient::sending(lastcall.address, sent);
        client.read_to_end();
    }
    lastcall.wait_for_metric(HANDSHAKES_FAILED, 2.0);
}

/// RFC 8446 section 6.1: a client must be able to tell a whole response from one that was cut.
#[test]
fn a_response_that_ends_with_its_connection_ends_with_close_notify_or_is_cut() {
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let whole = Backend::raw("HTTP/1.1 200 OK\r\n\r\nall of it");
    let cut = Backend::start(|_| {
        use crate::support::Step;
        vec![
            Step::Send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n".to_vec(),
            ),
            Step::Reset,
        ]
    });
    for (backend, clean) in [(&whole, true), (&cut, false)] {
        let lastcall = Lastcall::start(https(backend, &[("shop", &own)], ""));
        let setup = ClientSetup::new(&authority);
        let mut client = setup.connect(lastcall.address, "shop.test").unwrap();
        client
            .stream
            .write_all(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n")
            .unwrap();
        let (got, end) = client.read_to_end();
        assert_eq!(end.is_ok(), clean, "{}", got.escape_ascii());
        assert!(!clean || got.ends_with(b"\r\n\r\nall of it"));
    }
}

#[test]
fn an_upgraded_connection_goes_through_tls_both_ways() {
    let backend = Backend::start(|_| crate::support::backend::websocket());
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let lastcall = Lastcall::start(https(&backend, &[("shop", &own)], ""));
    let setup = ClientSetup::new(&authority);
    let mut client = setup.connect(lastcall.address, "shop.test").unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(client.ask(upgrade).unwrap().status(), 101);
    for size in [1, 1000, 200_000] {
        let sent = vec![7_u8; size];
        let mut got = vec![0; size];
        client.stream.write_all(&sent).unwrap();
        client.stream.read_exact(&mut got).unwrap();
        assert_eq!(got, sent);
    }
}

#[test]
fn an_idle_connection_in_tls_is_small() {
    const CONNECTIONS: u32 = 1000;
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let lastcall = Lastcall::start(https(&backend, &[("shop", &own)], ""));
    let setup = ClientSetup::new(&authority);
    let open = |count: u32| -> Vec<_> {
        (0..count)
            .map(|_| setup.get(lastcall.address, "shop.test", "/").unwrap().1)
            .collect()
    };
    // What is made once.
    let _warm = open(100);
    let before = lastcall.memory();
    let _idle = open(CONNECTIONS);
    let each = lastcall.memory().saturating_sub(before) / u64::from(CONNECTIONS);
    eprintln!("{each} bytes for an idle connection in TLS");
    assert!(each < 16 * 1024, "{each} bytes");
}
