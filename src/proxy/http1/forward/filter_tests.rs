//! What a route's filters change of heads on their way, by examples.

use std::net::IpAddr;

use super::super::{AskedBy, HeadLimits, Method, parse_request, parse_response};
use super::*;
use crate::model::{Filters, Limits, PathChange, Rewrite};
use crate::proxy::filters::Filtered;

fn edits(dropped: &[&str], written: &[(&str, &str)]) -> FieldEdits {
    let pair = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
    FieldEdits {
        dropped: dropped.iter().map(|name| (*name).into()).collect(),
        written: written.iter().map(pair).collect(),
    }
}

/// The head that an endpoint gets, of a request by 192.0.2.1.
fn request(input: &str, filters: &Filters, prefix: usize) -> String {
    let mut fields = Vec::new();
    let limits = HeadLimits::from(&Limits::default());
    let parsed = parse_request(input.as_bytes(), &limits, &mut fields);
    let (head, _) = parsed.unwrap().unwrap();
    let client = ClientFields::new(IpAddr::from([192, 0, 2, 1]), "http", false);
    let context = ForwardContext {
        client: &client,
        request_id: "fresh",
        default_host: "10.0.0.7:80",
        pass_expect: true,
        filtered: Some(Filtered {
            filters,
            prefix,
            mirror_key: 0,
        }),
    };
    let mut out = Vec::new();
    forward_request(&head, input.as_bytes(), &fields, &context, &mut out);
    String::from_utf8(out).unwrap()
}

/// Its lines without those that every request gets.
fn lines(head: &str) -> Vec<&str> {
    let added = ["X-", "Forwarded: ", "Via: "];
    let lines = head.lines();
    lines
        .filter(|line| !line.is_empty() && !added.iter().any(|a| line.starts_with(a)))
        .collect()
}

#[test]
fn fields_are_set_added_and_removed_in_any_case() {
    let filters = Filters {
        request: Some(edits(
            &["set", "gone"],
            &[("Set", "new"), ("Add", "two"), ("Fresh", "1")],
        )),
        ..Filters::default()
    };
    let head = request(
        "GET /x HTTP/1.1\r\nHost: a.b\r\nSET: old\r\nset: older\r\nadd: one\r\nGone: 1\r\nStays: 1\r\n\r\n",
        &filters,
        0,
    );
    assert_eq!(
        lines(&head),
        [
            "GET /x HTTP/1.1",
            "Host: a.b",
            "add: one",
            "Stays: 1",
            "Set: new",
            "Add: two",
            "Fresh: 1"
        ]
    );
}

#[test]
fn what_connection_names_is_dropped_but_what_the_route_sets_stays() {
    let filters = Filters {
        request: Some(edits(&["a"], &[("A", "ours")])),
        ..Filters::default()
    };
    let head = request(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: A\r\nA: theirs\r\n\r\n",
        &filters,
        0,
    );
    assert_eq!(lines(&head), ["GET / HTTP/1.1", "Host: h", "A: ours"]);
}

#[test]
fn a_rewrite_changes_what_the_endpoint_gets_and_not_what_it_is_told_of_the_client() {
    let filters = Filters {
        rewrite: Some(Rewrite {
            hostname: Some("inner".into()),
            path: Some(PathChange::prefix("/v2")),
        }),
        ..Filters::default()
    };
    for (target, path) in [
        ("/api/x?q=/api", "/v2/x?q=/api"),
        ("/api", "/v2"),
        ("/api?", "/v2"),
        ("http://a.b/api/x?q", "/v2/x?q"),
    ] {
        let head = request(
            &format!("GET {target} HTTP/1.1\r\nHost: a.b\r\n\r\n"),
            &filters,
            "/api".len(),
        );
        let line = format!("GET {path} HTTP/1.1");
        assert_eq!(lines(&head), [line.as_str(), "Host: inner"]);
        assert!(head.contains("\r\nX-Forwarded-Host: a.b\r\n"), "{head}");
        assert!(head.contains(";host=\"a.b\"\r\n"), "{head}");
    }
}

#[test]
fn a_rewrite_of_the_path_alone_leaves_the_host_and_the_other_way_round() {
    let rewrite = |hostname: Option<&str>, path| Filters {
        rewrite: Some(Rewrite {
            hostname: hostname.map(Into::into),
            path,
        }),
        ..Filters::default()
    };
    let input = "OPTIONS * HTTP/1.1\r\nHost: a.b:81\r\n\r\n";
    let path = rewrite(None, Some(PathChange::Full("/x".into())));
    assert_eq!(
        lines(&request(input, &path, 0)),
        ["OPTIONS * HTTP/1.1", "Host: a.b:81"]
    );
    let host = rewrite(Some("inner"), None);
    assert_eq!(
        lines(&request("GET http://a.b?x HTTP/1.0\r\n\r\n", &host, 0)),
        ["GET /?x HTTP/1.1", "Host: inner"]
    );
}

#[test]
fn fields_of_a_final_response_are_changed_and_those_of_an_interim_one_are_not() {
    let edits = edits(
        &["server", "set"],
        &[("Set", "new"), ("Cache-Control", "b")],
    );
    let response = |input: &str| {
        let mut fields = Vec::new();
        let asked = AskedBy {
            method: Method::Get,
            upgrade: true,
        };
        let parsed = parse_response(input.as_bytes(), asked, &HeadLimits::RESPONSE, &mut fields);
        let (head, _) = parsed.unwrap().unwrap();
        let context = ResponseContext {
            client: Version::Http11,
            close: false,
            framing: ResponseFraming::choose(&head, Version::Http11),
            date: "now",
            edits: Some(&edits),
        };
        let mut out = Vec::new();
        forward_response(&head, input.as_bytes(), &fields, &context, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        response(
            "HTTP/1.1 200 OK\r\nServer: x\r\nset: 1\r\nCache-Control: a\r\nContent-Length: 2\r\n\r\n"
        ),
        "HTTP/1.1 200 OK\r\nCache-Control: a\r\nSet: new\r\nCache-Control: b\r\nDate: now\r\n\
         Via: 1.1 lastcall\r\nContent-Length: 2\r\n\r\n"
    );
    assert_eq!(
        response("HTTP/1.1 103 Early Hints\r\nServer: x\r\n\r\n"),
        "HTTP/1.1 103 Early Hints\r\nServer: x\r\n\r\n"
    );
}
