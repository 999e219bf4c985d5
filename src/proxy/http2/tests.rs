//! Heads between HTTP/2 and HTTP/1's normal form.

use std::rc::Rc;

use http::uri::Scheme;
use http::{HeaderMap, Method as HttpMethod, Request, Version as HttpVersion};

use super::request::{Bootstrap, read_request, request_for_endpoint};
use super::response::{read_response, response_for_client};
use crate::model::Limits;
use crate::proxy::http1::{HeadLimits, Method, RequestBody, RequestFault, ResponseBody};
use crate::proxy::sheets::{Sheet, Sheets};

fn sheet() -> Sheet {
    Sheet::new(&Rc::new(Sheets::default()))
}

fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> http::request::Parts {
    let mut builder = Request::builder()
        .method(method)
        .uri(uri)
        .version(HttpVersion::HTTP_2);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

/// The normal form of a request, without its empty line.
fn text(
    method: &str,
    uri: &str,
    fields: &[(&str, &str)],
    ends: bool,
) -> Result<String, RequestFault> {
    let limits = HeadLimits::from(&Limits::default());
    let parts = parts(method, uri, fields);
    let read = read_request(&parts, ends, Bootstrap::None, &limits, sheet())?;
    let text = String::from_utf8(read.sheet.bytes.clone()).unwrap();
    Ok(text.strip_suffix("\r\n\r\n").unwrap().to_owned())
}

#[test]
fn a_request_has_the_form_of_http1() {
    for (method, uri, fields, ends, want) in [
        (
            "GET",
            "http://a.b/x?y",
            &[("accept", "*/*")][..],
            true,
            "GET /x?y HTTP/1.1\r\nhost: a.b\r\naccept: */*",
        ),
        (
            "POST",
            "http://a/",
            &[],
            true,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0",
        ),
        (
            "POST",
            "http://a/",
            &[],
            false,
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked",
        ),
        (
            "PUT",
            "http://a/",
            &[("content-length", "5")],
            false,
            "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5",
        ),
        (
            "GET",
            "http://a/",
            &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")],
            true,
            "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\ncookie: a=1; b=2",
        ),
        (
            "GET",
            "http://a/",
            &[("te", "trailers")],
            true,
            "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te",
        ),
        (
            "GET",
            "/x",
            &[("host", "a")],
            true,
            "GET /x HTTP/1.1\r\nhost: a",
        ),
        (
            "GET",
            "http://A:80/",
            &[("host", "a")],
            true,
            "GET / HTTP/1.1\r\nhost: A:80",
        ),
        (
            "GET",
            "https://a/",
            &[("host", "a:443")],
            true,
            "GET / HTTP/1.1\r\nhost: a",
        ),
    ] {
        assert_eq!(text(method, uri, fields, ends).as_deref(), Ok(want));
    }
}

#[test]
fn what_http1_refuses_does_not_come_in_by_http2() {
    for (method, uri, fields, fault) in [
        (
            "GET",
            "http://a/",
            &[("host", "b")][..],
            RequestFault::HostDisagrees,
        ),
        ("GET", "http://u@a/", &[], RequestFault::HostInvalid),
        ("GET", "/", &[], RequestFault::HostMissing),
        (
            "GET",
            "/",
            &[("host", "a"), ("host", "a")],
            RequestFault::HostRepeated,
        ),
        (
            "GET",
            "http://a/",
            &[("connection", "close")],
            RequestFault::ConnectionField,
        ),
        (
            "GET",
            "http://a/",
            &[("transfer-encoding", "chunked")],
            RequestFault::ConnectionField,
        ),
        (
            "GET",
            "http://a/",
            &[("upgrade", "websocket")],
            RequestFault::ConnectionField,
        ),
        (
            "GET",
            "http://a/",
            &[("expect", "a miracle")],
            RequestFault::ExpectUnknown,
        ),
    ] {
        assert_eq!(
            text(method, uri, fields, true),
            Err(fault),
            "{uri} {fields:?}"
        );
    }
    let connect = text("CONNECT", "a:443", &[], true);
    assert!(connect.is_err(), "{connect:?}");
    let large = "x".repeat(40_000);
    assert_eq!(
        text("GET", "http://a/", &[("x", &large)], true),
        Err(RequestFault::HeadTooLarge)
    );
}

#[test]
fn a_websocket_is_an_upgrade_to_http1() {
    let limits = HeadLimits::from(&Limits::default());
    let parts = parts(
        "CONNECT",
        "https://a/chat",
        &[("sec-websocket-version", "13")],
    );
    let read = read_request(&parts, true, Bootstrap::WebSocket("a2V5"), &limits, sheet());
    let read = read.unwrap();
    assert_eq!(
        String::from_utf8(read.sheet.bytes.clone()).unwrap(),
        "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\nupgrade: websocket\r\n\
         sec-websocket-key: a2V5\r\nconnection: upgrade\r\n\r\n"
    );
    assert!(read.head.upgrade.is_some());
    assert_eq!(read.head.body, RequestBody::None);
}

#[test]
fn a_head_for_an_endpoint_is_taken_apart() {
    let head =
        b"POST /x?y HTTP/1.1\r\nHost: a:81\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\
                 TE: trailers\r\nConnection: TE\r\n\r\n";
    let request = request_for_endpoint(head, &Scheme::HTTP).unwrap();
    assert_eq!(
        (request.method(), request.uri().to_string().as_str()),
        (&HttpMethod::POST, "http://a:81/x?y")
    );
    let fields: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    assert_eq!(
        fields,
        [("x-a", &b"1"[..]), ("x-a", b"2"), ("te", b"trailers")]
    );
    let websocket = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let request = request_for_endpoint(websocket, &Scheme::HTTP).unwrap();
    assert_eq!(request.method(), HttpMethod::CONNECT);
    assert_eq!(
        request
            .extensions()
            .get::<h2::ext::Protocol>()
            .unwrap()
            .as_str(),
        "websocket"
    );
    assert!(request.headers().is_empty());
}

#[test]
fn what_is_new_each_time_is_not_kept_in_the_table_of_fields() {
    let head =
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: 1\r\nTraceparent: 2\r\ngrpc-timeout: 3S\r\n\
                 X-Forwarded-For: 4\r\nVia: 5\r\n\r\n";
    let request = request_for_endpoint(head, &Scheme::HTTP).unwrap();
    let fields = request.headers().iter();
    let kept: Vec<_> = fields
        .filter(|(_, value)| !value.is_sensitive())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(kept, ["x-forwarded-for", "via"]);
    let head = b"HTTP/1.1 200 \r\nx-request-id: 1\r\nVia: 2\r\n\r\n";
    let response = response_for_client(head).unwrap();
    assert!(response.headers()["x-request-id"].is_sensitive());
    assert!(!response.headers()["via"].is_sensitive());
    assert_eq!(request.headers().len(), 5);
}

#[test]
fn a_response_has_the_form_of_http1() {
    for (status, fields, ends, method, body) in [
        (
            200,
            &[("content-length", "5")][..],
            false,
            Method::Get,
            ResponseBody::Length(5),
        ),
        (200, &[], false, Method::Get, ResponseBody::Chunked),
        (200, &[], true, Method::Get, ResponseBody::Length(0)),
        (
            200,
            &[("content-length", "5")],
            true,
            Method::Head,
            ResponseBody::None,
        ),
        (204, &[], true, Method::Get, ResponseBody::None),
        (304, &[], true, Method::Get, ResponseBody::None),
        (
            103,
            &[("link", "</x>")],
            false,
            Method::Get,
            ResponseBody::None,
        ),
    ] {
        let mut response = http::Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let parts = response.body(()).unwrap().into_parts().0;
        let head = read_response(&parts, ends, method, &mut sheet()).unwrap();
        assert_eq!((head.status, head.body), (status, body), "{fields:?}");
    }
}

#[test]
fn a_response_for_a_client_has_no_fields_of_the_connection() {
    let head = b"HTTP/1.1 418 I'm a teapot\r\nX-A: 1\r\nConnection: close\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n";
    let response = response_for_client(head).unwrap();
    assert_eq!(response.status(), 418);
    let mut want = HeaderMap::new();
    want.append("x-a", "1".parse().unwrap());
    want.append("set-cookie", "a".parse().unwrap());
    want.append("set-cookie", "b".parse().unwrap());
    assert_eq!(response.headers(), &want);
}
