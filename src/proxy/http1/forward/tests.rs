//! What goes to the next hop, by examples.

use std::net::IpAddr;

use super::super::{AskedBy, HeadLimits, Method, parse_request, parse_response};
use super::*;
use crate::model::Limits;

fn limits() -> HeadLimits {
    HeadLimits::from(&Limits::default())
}

fn request_by(client: &ClientFields, input: &str) -> String {
    let mut fields = Vec::new();
    let (head, consumed) = parse_request(input.as_bytes(), &limits(), &mut fields)
        .unwrap()
        .unwrap();
    assert_eq!(consumed, input.len());
    let context = ForwardContext {
        client,
        request_id: "fresh",
        default_host: "10.0.0.7:80",
        pass_expect: true,
        filtered: None,
    };
    let mut out = Vec::new();
    forward_request(&head, input.as_bytes(), &fields, &context, &mut out);
    String::from_utf8(out).unwrap()
}

fn stranger() -> ClientFields {
    ClientFields::new(IpAddr::from([192, 0, 2, 1]), "http", false)
}

fn friend() -> ClientFields {
    ClientFields::new("2001:db8::1".parse().unwrap(), "http", true)
}

/// The lines a stranger's request gets beside its own.
const ADDED: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.b\r\n\
    X-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1;proto=http;host=\"a.b\"\r\nVia: 1.1 lastcall\r\n";

#[test]
fn end_to_end_fields_pass_in_order_and_case() {
    assert_eq!(
        request_by(
            &stranger(),
            "GET /x?y HTTP/1.1\r\nAccept:  */*\r\nhOsT: a.b\r\nX-eMpty:\r\nCookie: a\r\nCookie: b \r\n\r\n"
        ),
        format!(
            "GET /x?y HTTP/1.1\r\nHost: a.b\r\nAccept: */*\r\nX-eMpty: \r\nCookie: a\r\nCookie: b\r\n\
             X-Request-Id: fresh\r\n{ADDED}\r\n"
        )
    );
}

#[test]
fn what_is_for_one_hop_stays_on_it() {
    let out = request_by(
        &stranger(),
        "POST / HTTP/1.1\r\nHost: a.b\r\nConnection: X-Secret, close, TE\r\nX-Secret: 1\r\n\
         Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers, gzip\r\nTrailer: X-Sum\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nProxy: evil\r\nProxy-Authorization: x\r\n\
         Transfer-Encoding: Chunked\r\nX-Request-Id: kept-1\r\nX-Request-Id: two\r\n\
         X_Forwarded_For: 6.6.6.6\r\nExpect: 100-Continue\r\n\r\n",
    );
    assert_eq!(
        out,
        format!(
            "POST / HTTP/1.1\r\nHost: a.b\r\nTrailer: X-Sum\r\nX-Request-Id: kept-1\r\n{ADDED}\
             Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
        )
    );
}

#[test]
fn connection_cannot_strip_what_the_proxy_says() {
    let out = request_by(
        &stranger(),
        "GET / HTTP/1.1\r\nHost: a.b\r\nConnection: X-Forwarded-For, Via, Forwarded, X-Real-IP\r\n\r\n",
    );
    assert!(out.contains(ADDED), "{out}");
}

#[test]
fn a_strangers_word_on_forwarding_is_replaced() {
    let out = request_by(
        &stranger(),
        "GET / HTTP/1.1\r\nHost: a.b\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\n\
         X-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
         X-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /evil\r\nX-Request-Id: a b\r\n\r\n",
    );
    assert_eq!(
        out,
        format!("GET / HTTP/1.1\r\nHost: a.b\r\nX-Request-Id: fresh\r\n{ADDED}\r\n")
    );
}

#[test]
fn a_trusted_proxys_word_is_kept_and_added_to() {
    let out = request_by(
        &friend(),
        "GET / HTTP/1.1\r\nHost: a.b:8080\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n\
         X-Forwarded-Host: shop\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n\
         X-Forwarded-Port: 443\r\nVia: 1.1 edge\r\n\r\n",
    );
    assert_eq!(
        out,
        "GET / HTTP/1.1\r\nHost: a.b:8080\r\nX-Forwarded-Port: 443\r\nVia: 1.1 edge\r\n\
         X-Request-Id: fresh\r\nX-Forwarded-For: 6.6.6.6, 7.7.7.7, 2001:db8::1\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\nX-Real-IP: 7.7.7.7\r\n\
         Forwarded: for=6.6.6.6, for=\"[2001:db8::1]\";proto=http;host=\"a.b:8080\"\r\n\
         Via: 1.1 lastcall\r\n\r\n"
    );
}

#[test]
fn targets_become_origin_form() {
    for (target, method, expected) in [
        ("http://a.b/x?y", "GET", "/x?y"),
        ("HTTP://a.B:80", "GET", "/"),
        ("http://a.b?y", "GET", "/?y"),
        ("http://a.b", "OPTIONS", "*"),
        ("http://a.b?y", "OPTIONS", "/?y"),
        ("*", "OPTIONS", "*"),
        ("//x/../y", "GET", "//x/../y"),
    ] {
        let out = request_by(
            &stranger(),
            &format!("{method} {target} HTTP/1.1\r\nHost: a.b\r\n\r\n"),
        );
        let line = format!("{method} {expected} HTTP/1.1\r\n");
        assert!(out.starts_with(&line), "{target}: {out}");
    }
}

#[test]
fn an_old_client_without_host_gets_the_backends() {
    let out = request_by(&stranger(), "GET / HTTP/1.0\r\n\r\n");
    assert!(out.starts_with("GET / HTTP/1.1\r\nHost: 10.0.0.7:80\r\n"));
    assert!(out.contains("Via: 1.0 lastcall\r\n") && !out.contains("X-Forwarded-Host"));
}

#[test]
fn hops_are_counted_where_they_count() {
    let with = |method: &str| {
        request_by(
            &stranger(),
            &format!("{method} / HTTP/1.1\r\nHost: a.b\r\nMax-Forwards: 5\r\n\r\n"),
        )
    };
    assert!(with("OPTIONS").contains("Max-Forwards: 4\r\n"));
    assert!(with("TRACE").contains("Max-Forwards: 4\r\n"));
    assert!(with("GET").contains("Max-Forwards: 5\r\n"));
}

#[test]
fn an_upgrade_passes_by_the_rules_only() {
    let with = |fields: &str| {
        request_by(
            &stranger(),
            &format!("GET / HTTP/1.1\r\nHost: a.b\r\n{fields}\r\n"),
        )
        .contains("Upgrade: websocket\r\nConnection: Upgrade\r\n")
    };
    assert!(with(
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    ));
    assert!(!with("Upgrade: websocket\r\n"));
    assert!(!with("Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"));
    assert!(!with(
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"
    ));
    assert!(!with(
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n"
    ));
}

fn response(input: &str, asked: AskedBy, client: Version, close: bool) -> String {
    let mut fields = Vec::new();
    let (head, _) = parse_response(input.as_bytes(), asked, &HeadLimits::RESPONSE, &mut fields)
        .unwrap()
        .unwrap();
    let context = ResponseContext {
        client,
        close,
        framing: ResponseFraming::choose(&head, client),
        date: "now",
        edits: None,
    };
    let mut out = Vec::new();
    forward_response(&head, input.as_bytes(), &fields, &context, &mut out);
    String::from_utf8(out).unwrap()
}

const GET: AskedBy = AskedBy {
    method: Method::Get,
    upgrade: false,
};

#[test]
fn responses_are_framed_for_their_client() {
    use Version::{Http10, Http11};
    for (input, client, close, expected) in [
        (
            "200 OK\r\nContent-Length: 3\r\nDate: then\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nA: b\r\n",
            Http11,
            false,
            "200 OK\r\nDate: then\r\nA: b\r\nVia: 1.1 lastcall\r\nContent-Length: 3\r\n\r\n",
        ),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n",
            Http11,
            true,
            "200 OK\r\nTrailer: X\r\nDate: now\r\nVia: 1.1 lastcall\r\nTransfer-Encoding: chunked\r\n\
             Connection: close\r\n\r\n",
        ),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n",
            Http10,
            true,
            "200 OK\r\nDate: now\r\nVia: 1.1 lastcall\r\nConnection: close\r\n\r\n",
        ),
        (
            "200\r\n",
            Http11,
            false,
            "200 \r\nDate: now\r\nVia: 1.1 lastcall\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\n",
            Http10,
            false,
            "200 OK\r\nDate: now\r\nVia: 1.1 lastcall\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        ),
        (
            "304 Not Modified\r\nContent-Length: 9\r\n",
            Http11,
            false,
            "304 Not Modified\r\nDate: now\r\nVia: 1.1 lastcall\r\nContent-Length: 9\r\n\r\n",
        ),
        (
            "204 No Content\r\nContent-Length: 0\r\n",
            Http11,
            false,
            "204 No Content\r\nDate: now\r\nVia: 1.1 lastcall\r\n\r\n",
        ),
        (
            "103 Early Hints\r\nLink: x\r\n",
            Http11,
            false,
            "103 Early Hints\r\nLink: x\r\n\r\n",
        ),
        (
            "426 Upgrade Required\r\nUpgrade: TLS/1.0\r\nConnection: upgrade\r\nContent-Length: 0\r\n",
            Http11,
            false,
            "426 Upgrade Required\r\nUpgrade: TLS/1.0\r\nDate: now\r\nVia: 1.1 lastcall\r\n\
             Content-Length: 0\r\nConnection: Upgrade\r\n\r\n",
        ),
        (
            "200 OK\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 0\r\n",
            Http11,
            false,
            "200 OK\r\nDate: now\r\nVia: 1.1 lastcall\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let out = response(&format!("HTTP/1.1 {input}\r\n"), GET, client, close);
        assert_eq!(out, format!("HTTP/1.1 {expected}"), "{input}");
    }
}

#[test]
fn a_switch_of_protocols_keeps_its_upgrade() {
    let asked = AskedBy {
        method: Method::Get,
        upgrade: true,
    };
    let input = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: upgrade, x\r\n\
        Sec-WebSocket-Accept: x\r\n\r\n";
    assert_eq!(
        response(input, asked, Version::Http11, false),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\
         Connection: Upgrade\r\n\r\n"
    );
}

#[test]
fn a_head_request_learns_the_length() {
    let asked = AskedBy {
        method: Method::Head,
        upgrade: false,
    };
    let out = response(
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        asked,
        Version::Http11,
        false,
    );
    assert!(out.contains("Content-Length: 9\r\n"), "{out}");
    let out = response(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        asked,
        Version::Http11,
        false,
    );
    assert!(!out.contains("chunked"), "{out}");
}
