//! What a head says, by examples; what is refused is in the tables of `tests/proxy/cases`.

use super::*;
use crate::model::Limits;

fn parse(input: &str) -> (RequestHead, Vec<Field>) {
    let mut fields = Vec::new();
    let limits = HeadLimits::from(&Limits::default());
    let (head, consumed) = parse_request(input.as_bytes(), &limits, &mut fields)
        .unwrap()
        .unwrap();
    assert_eq!(consumed, input.find("\r\n\r\n").unwrap() + 4);
    (head, fields)
}

#[test]
fn a_route_is_found_by_host_and_path() {
    for (target, host, name, port, path) in [
        ("/", "a", "a", None, "/"),
        (
            "/x/y?z=/",
            "Shop.Example.com:8080",
            "shop.example.com",
            Some(8080),
            "/x/y",
        ),
        ("/?", "rooted.example.", "rooted.example", None, "/"),
        ("http://A:81?q", "a:81", "a", Some(81), "/"),
        ("http://a/b?q", "a", "a", None, "/b"),
        ("//a/../b", "[::1]:80", "[::1]", Some(80), "//a/../b"),
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\nrest");
        let (head, _) = parse(&input);
        let buf = input.as_bytes();
        assert_eq!(head.host_name(buf), name);
        assert_eq!(head.port, port);
        assert_eq!(head.path(buf), path.as_bytes());
        assert_eq!(
            head.host_name(buf).is_empty() || matches!(head.host_name(buf), Cow::Borrowed(_)),
            !head.host.of(buf).iter().any(u8::is_ascii_uppercase)
        );
    }
}

#[test]
fn spans_count_from_the_start_of_the_buffer() {
    let input = "\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let mut fields = Vec::new();
    let limits = HeadLimits::from(&Limits::default());
    let (head, consumed) = parse_request(input.as_bytes(), &limits, &mut fields)
        .unwrap()
        .unwrap();
    assert_eq!(&input[consumed..], "abc");
    assert_eq!(head.method_text.of(input.as_bytes()), b"POST");
    assert_eq!(fields[1].value.of(input.as_bytes()), b"3");
}

#[test]
fn what_the_client_wants_of_the_connection_is_told() {
    for (version, fields, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        ("1.1", "Proxy-Connection: close\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let (head, _) = parse(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(head.keep_alive, keep_alive, "{version} {fields}");
    }
}

#[test]
fn an_expectation_needs_a_body_and_http11() {
    let expects = |version: &str, length: u32| {
        let fields = format!("Host: a\r\nContent-Length: {length}\r\nExpect: 100-Continue\r\n");
        parse(&format!("PUT / HTTP/{version}\r\n{fields}\r\n"))
            .0
            .expects_continue
    };
    assert!(expects("1.1", 5));
    assert!(!expects("1.1", 0) && !expects("1.0", 5));
}

#[test]
fn methods_are_sorted_by_what_may_be_repeated() {
    for (name, safe, idempotent) in [
        ("GET", true, true),
        ("HEAD", true, true),
        ("OPTIONS", true, true),
        ("TRACE", true, true),
        ("PUT", false, true),
        ("DELETE", false, true),
        ("POST", false, false),
        ("PATCH", false, false),
        ("get", false, false),
        ("PROPFIND", false, false),
    ] {
        let (head, _) = parse(&format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(
            (head.method.is_safe(), head.method.is_idempotent()),
            (safe, idempotent)
        );
    }
}

#[test]
fn limits_are_kept_to_the_byte() {
    let input = b"GET /abc HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let exact = HeadLimits {
        head_bytes: input.len(),
        header_count: 2,
        uri_bytes: 4,
    };
    let with = |limits: HeadLimits| {
        let parsed = parse_request(input, &limits, &mut Vec::new());
        parsed.map(|head| head.is_some())
    };
    assert_eq!(with(exact), Ok(true));
    for (limits, fault) in [
        (
            HeadLimits {
                head_bytes: input.len() - 1,
                ..exact
            },
            RequestFault::HeadTooLarge,
        ),
        (
            HeadLimits {
                header_count: 1,
                ..exact
            },
            RequestFault::TooManyFields,
        ),
        (
            HeadLimits {
                uri_bytes: 3,
                ..exact
            },
            RequestFault::TargetTooLong,
        ),
    ] {
        assert_eq!(with(limits), Err(fault));
    }
}

#[test]
fn more_fields_than_the_stack_has_room_for_are_read() {
    let input = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(300)
    );
    let limits = HeadLimits {
        header_count: 301,
        ..HeadLimits::from(&Limits::default())
    };
    let mut fields = Vec::new();
    assert!(
        parse_request(input.as_bytes(), &limits, &mut fields)
            .unwrap()
            .is_some()
    );
    assert_eq!(fields.len(), 301);
}
