//! Fields on their way through: those for one hop stay on it, Via, Max-Forwards, and what servers are told
//! of the client.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::support::backend::{self, Backend, Step};
use crate::support::{Config, Lastcall, RawClient, Seen};

/// Who is believed in these tests, and who is not.
const FRIEND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 8));

fn serve(server: &Backend) -> Lastcall {
    let config = Config::new(&[server.address]).load_balancer("trustedProxies: [127.0.0.9/32]");
    Lastcall::start(config)
}

/// What the server sees of a request with these field lines, each with its end.
fn seen_by(server: &Backend, lastcall: &Lastcall, from: IpAddr, fields: &str) -> Seen {
    let before = server.seen().len();
    let mut client = RawClient::connect_from(from, lastcall.address);
    let request = format!("GET / HTTP/1.1\r\nHost: shop:8080\r\n{fields}\r\n");
    assert_eq!(client.ask(request).status(), 200);
    server.seen()[before].clone()
}

#[test]
fn what_is_for_one_hop_stays_on_it_in_both_directions() {
    let server = Backend::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nConnection: X-Theirs, keep-alive\r\nX-Theirs: 1\r\nX-Stays: 2\r\n\
                    Keep-Alive: timeout=60\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
        vec![Step::Send(head.as_bytes().to_vec())]
    });
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Ours, keep-alive\r\nx-ours: 1\r\nX-Stays: 2\r\n\
         Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
         Upgrade: h2c\r\nTE: gzip\r\n\r\n",
    );
    let seen = &server.seen()[0];
    for gone in [
        "X-Ours",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Upgrade",
        "TE",
    ] {
        assert_eq!(seen.field(gone), None, "{gone} of the request");
    }
    assert_eq!(seen.field("X-Stays"), Some("2"));
    for gone in ["X-Theirs", "Connection", "Keep-Alive", "Proxy-Authenticate"] {
        assert_eq!(answer.field(gone), None, "{gone} of the response");
    }
    assert_eq!(answer.field("X-Stays"), Some("2"));
}

#[test]
fn end_to_end_fields_pass_in_order_and_as_often_as_they_stand() {
    let server = Backend::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-A: 1\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n";
        vec![Step::Send(head.as_bytes().to_vec())]
    });
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nCookie: a=1\r\nX-A: 2\r\nX-Empty:\r\nCookie: b=2\r\n\r\n",
    );
    let seen = &server.seen()[0];
    let all = |name| seen.fields(name).collect::<Vec<_>>();
    assert_eq!(all("X-A"), ["1", "2"]);
    assert_eq!(all("Cookie"), ["a=1", "b=2"]);
    assert_eq!(all("X-Empty"), [""]);
    assert_eq!(answer.fields("Set-Cookie"), ["a=1", "b=2"]);
    assert!(
        answer
            .field("Date")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
}

#[test]
fn via_says_who_was_on_the_way_in_both_directions() {
    let server = Backend::start(|_| {
        let head = "HTTP/1.0 200 OK\r\nVia: 1.1 cache\r\nContent-Length: 0\r\n\r\n";
        vec![Step::Send(head.as_bytes().to_vec()), Step::Close]
    });
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 edge\r\n\r\n");
    assert_eq!(answer.fields("Via"), ["1.1 cache", "1.0 lastcall"]);
    let seen = &server.seen()[0];
    let via: Vec<_> = seen.fields("Via").collect();
    assert_eq!(via, ["1.0 edge", "1.1 lastcall"]);
}

#[test]
fn max_forwards_counts_down_and_ends_here() {
    let server = Backend::echo();
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    let mut ask = |method: &str, hops: u32| {
        client.ask(format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n"
        ))
    };
    let answer = ask("OPTIONS", 0);
    assert_eq!(
        (answer.status(), answer.field("Allow")),
        (200, Some("OPTIONS"))
    );
    assert_eq!(ask("TRACE", 0).status(), 405);
    assert_eq!(server.seen(), []);
    // It means something to these two methods only (RFC 9110 section 7.6.2).
    for (method, hops, passed) in [("OPTIONS", 7, "6"), ("TRACE", 1, "0"), ("GET", 0, "0")] {
        assert_eq!(ask(method, hops).status(), 200);
        let seen = server.seen();
        assert_eq!(
            seen.last().unwrap().field("Max-Forwards"),
            Some(passed),
            "{method}"
        );
    }
}

/// What anybody could claim.
const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: evil\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 6.6.6.6\r\n\
                      Forwarded: for=6.6.6.6\r\n";

#[test]
fn a_servers_word_on_its_client_is_lastcalls_own() {
    let server = Backend::echo();
    let lastcall = serve(&server);
    for fields in ["", CLAIMS] {
        let seen = seen_by(&server, &lastcall, STRANGER, fields);
        for (name, values) in [
            ("X-Forwarded-For", vec!["127.0.0.8"]),
            ("X-Forwarded-Proto", vec!["http"]),
            ("X-Forwarded-Host", vec!["shop:8080"]),
            ("X-Forwarded-Port", vec![]),
            ("X-Real-IP", vec!["127.0.0.8"]),
            (
                "Forwarded",
                vec!["for=127.0.0.8;proto=http;host=\"shop:8080\""],
            ),
            ("Host", vec!["shop:8080"]),
        ] {
            assert_eq!(seen.fields(name).collect::<Vec<_>>(), values, "{name}");
        }
    }
}

#[test]
fn a_trusted_proxys_word_is_kept_and_added_to() {
    let server = Backend::echo();
    let lastcall = serve(&server);
    let seen = seen_by(&server, &lastcall, FRIEND, CLAIMS);
    for (name, value) in [
        ("X-Forwarded-For", "6.6.6.6, 7.7.7.7, 127.0.0.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "443"),
        ("X-Real-IP", "6.6.6.6"),
        (
            "Forwarded",
            "for=6.6.6.6, for=127.0.0.9;proto=http;host=\"shop:8080\"",
        ),
    ] {
        assert_eq!(seen.fields(name).collect::<Vec<_>>(), [value], "{name}");
    }
    // One that claims nothing is a client like any other.
    let seen = seen_by(&server, &lastcall, FRIEND, "");
    assert_eq!(seen.field("X-Forwarded-For"), Some("127.0.0.9"));
    assert_eq!(seen.field("X-Real-IP"), Some("127.0.0.9"));
}

#[test]
fn every_request_has_one_request_id() {
    let server = Backend::start(|_| backend::ok(""));
    let lastcall = serve(&server);
    let given = seen_by(&server, &lastcall, STRANGER, "X-Request-Id: order-66.a\r\n");
    assert_eq!(
        given.fields("X-Request-Id").collect::<Vec<_>>(),
        ["order-66.a"]
    );
    let mut known = HashSet::new();
    for fields in ["", "", "X-Request-Id:\r\n", "X-Request-Id: a b<script>\r\n"] {
        let seen = seen_by(&server, &lastcall, STRANGER, fields);
        let ids: Vec<_> = seen.fields("X-Request-Id").collect();
        let [id] = ids[..] else { panic!("{ids:?}") };
        assert!(
            id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
        assert!(known.insert(id.to_owned()), "{id} twice");
    }
}
