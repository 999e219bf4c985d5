//! TLS to endpoints: who is believed, what is asked for, and how an end is told from a cut.

use crate::LIMIT;
use crate::support::tls::{Authority, Ending, Issued, TlsServer};
use crate::support::{Config, Lastcall, RawClient, wait_until};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";

fn server(issued: &Issued) -> TlsServer {
    TlsServer::start(issued, ANSWER, Ending::No)
}

/// Endpoints that speak TLS and are believed by this authority.
fn config(servers: &[&TlsServer], authority: &Authority) -> Config {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    Config::new(&addresses)
        .backend("web", "protocol: HTTPS")
        .backend(
            "web",
            "tls: {serverName: web.test, caRef: {name: backends}}",
        )
        .secret("backends/ca.crt", &authority.pem)
}

#[test]
fn requests_go_to_endpoints_in_tls_and_connections_are_kept() {
    let authority = Authority::new();
    let server = server(&authority.issue(&["web.test"]));
    let lastcall = Lastcall::start(config(&[&server], &authority));
    let mut client = RawClient::connect(lastcall.address);
    for _ in 0..3 {
        let answer = client.ask(GET);
        assert_eq!((answer.status(), answer.body_text().as_str()), (200, "ok"));
    }
    let seen = server.seen.lock().unwrap();
    assert_eq!(
        (seen.handshakes, &seen.names[..]),
        (1, &["web.test".to_owned()][..])
    );
    assert!(
        seen.heads[0].contains("Host: shop.test"),
        "{}",
        seen.heads[0]
    );
}

#[test]
fn a_kept_connection_ends_with_close_notify() {
    let authority = Authority::new();
    let server = server(&authority.issue(&["web.test"]));
    let config = config(&[&server], &authority).backend("web", "timeouts: {backendIdle: 200ms}");
    let lastcall = Lastcall::start(config);
    assert_eq!(RawClient::connect(lastcall.address).ask(GET).status(), 200);
    wait_until("the end", LIMIT, || {
        match server.seen.lock().unwrap().clean_ends {
            1 => Ok(()),
            other => Err(other),
        }
    });
}

#[test]
fn a_new_connection_to_an_endpoint_resumes_a_session() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.issue(&["web.test"]), ANSWER, Ending::Clean);
    let lastcall = Lastcall::start(config(&[&server], &authority));
    for _ in 0..10 {
        assert_eq!(RawClient::connect(lastcall.address).ask(GET).status(), 200);
    }
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.handshakes, 10);
    // Each of the two workers begins once from nothing.
    assert!(seen.resumed >= 8, "{} were resumed", seen.resumed);
}

#[test]
fn who_cannot_prove_to_be_the_endpoint_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let expired = authority.issue_with(&["web.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    for (name, issued) in [
        ("another authority", other.issue(&["web.test"])),
        ("another name", authority.issue(&["other.test"])),
        ("expired", expired),
    ] {
        let server = server(&issued);
        let lastcall = Lastcall::start(config(&[&server], &authority));
        let answer = RawClient::connect(lastcall.address).ask(GET);
        assert_eq!(answer.status(), 502, "{name}");
        let seen = server.seen.lock().unwrap();
        assert_eq!(seen.heads.len(), 0, "{name}");
        drop(seen);
        assert_eq!(
            lastcall.metric("lastcall_upstream_connect_failures_total"),
            Some(1.0)
        );
        lastcall.wait_for_log("TLS handshake with an endpoint failed");
    }
}

/// Law 7.
#[test]
fn a_failed_handshake_sent_nothing_and_another_endpoint_is_asked_whatever_the_method() {
    let (authority, other) = (Authority::new(), Authority::new());
    let bad = server(&other.issue(&["web.test"]));
    let good = server(&authority.issue(&["web.test"]));
    let lastcall = Lastcall::start(config(&[&bad, &good], &authority));
    for _ in 0..6 {
        let post =
            "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(RawClient::connect(lastcall.address).ask(post).status(), 200);
    }
    assert_eq!(bad.seen.lock().unwrap().heads.len(), 0);
    assert_eq!(good.seen.lock().unwrap().heads.len(), 6);
}

/// RFC 8446 section 6.1.
#[test]
fn a_body_that_ends_with_its_connection_is_whole_only_after_close_notify() {
    let authority = Authority::new();
    let issued = authority.issue(&["web.test"]);
    for (ending, whole) in [(Ending::Clean, true), (Ending::Cut, false)] {
        let server = TlsServer::start(&issued, b"HTTP/1.1 200 OK\r\n\r\nall of it", ending);
        let lastcall = Lastcall::start(config(&[&server], &authority));
        let mut client = RawClient::sending(lastcall.address, GET);
        if whole {
            assert_eq!(client.read_response().body_text(), "all of it");
        } else {
            // It goes out in chunks, and the last chunk never comes.
            let (got, _) = client.read_to_end();
            assert!(!got.ends_with(b"0\r\n\r\n"), "{}", got.escape_ascii());
            assert!(got.starts_with(b"HTTP/1.1 200") || got.starts_with(b"HTTP/1.1 502"));
        }
    }
}

/// Law 4.
#[test]
fn a_backend_whose_authority_is_not_known_is_sent_nothing() {
    let authority = Authority::new();
    let server = server(&authority.issue(&["web.test"]));
    let config = Config::new(&[server.address])
        .backend("web", "protocol: HTTPS")
        .backend(
            "web",
            "tls: {serverName: web.test, caRef: {name: backends}}",
        );
    let mut lastcall = Lastcall::start(config.clone());
    assert_eq!(RawClient::connect(lastcall.address).ask(GET).status(), 502);
    lastcall.wait_for_log("there is no folder backends");
    lastcall.reload(config.secret("backends/ca.crt", &authority.pem));
    let address = lastcall.address;
    wait_until("the authority", LIMIT, || {
        match RawClient::connect(address).ask(GET).status() {
            200 => Ok(()),
            other => Err(other),
        }
    });
    assert_eq!(server.seen.lock().unwrap().handshakes, 1);
}
