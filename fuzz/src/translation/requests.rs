//! Requests.

use http::uri::{Scheme, Uri};
use http::{Method as HttpMethod, request};
use lastcall::model::Limits;
use lastcall::proxy::http1::{
    ForwardContext, FramingFault, HeadLimits, Method, RequestBody, RequestFault, RequestHead,
    Version, forward_request, is_websocket, parse_request,
};
use lastcall::proxy::http2::{Bootstrap, NormalRequest, read_request, request_for_endpoint};

use super::{Parsed, carried, lines, only_what_http2_has, sheet, values, without};
use crate::check::nothing_new;
use crate::reading::{context, stranger};

/// The key of a WebSocket that is opened by HTTP/2.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// A request that came by HTTP/2, where it is taken; `ends` where it has no body, `websocket` where it opens one.
pub fn request_of_http2(parts: &request::Parts, ends: bool, websocket: bool) {
    let NormalRequest { sheet, head } = match read(parts, ends, websocket) {
        Ok(read) => read,
        Err(fault) => return is_of_the_request(fault, parts),
    };
    let normal = one_request(&sheet.bytes);
    assert_eq!(head.version, Version::Http2);
    let mut as_http1 = head;
    as_http1.version = Version::Http11;
    assert_eq!(as_http1, normal.head, "read in two ways");
    assert_eq!(sheet.fields, normal.fields);
    says_the_same(&normal, parts, ends, websocket);
    let normal = Parsed { head, ..normal };
    passed_on(&normal, "");
}

/// A request is refused for what is in it, never for how we wrote it.
fn is_of_the_request(fault: RequestFault, parts: &request::Parts) {
    let ours = match fault {
        RequestFault::Framing(fault) => {
            fault != FramingFault::LengthInvalid && fault != FramingFault::LengthRepeated
        }
        RequestFault::HostRepeated => parts.uri.authority().is_some(),
        RequestFault::Syntax(_) => !parts.headers.keys().any(|name| name.as_str().contains('"')),
        RequestFault::LeadingLines
        | RequestFault::Version
        | RequestFault::ConnectionNamesFraming
        | RequestFault::TooManyFields
        | RequestFault::HeadTooLarge => true,
        _ => false,
    };
    assert!(!ours, "{fault:?}");
}

fn read(
    parts: &request::Parts,
    ends: bool,
    websocket: bool,
) -> Result<NormalRequest, RequestFault> {
    let bootstrap = if websocket {
        Bootstrap::WebSocket(KEY)
    } else {
        Bootstrap::None
    };
    read_request(parts, ends, bootstrap, &wide(), sheet())
}

/// The normal form has what came, and what HTTP/1 needs for it, each once.
fn says_the_same(
    normal: &Parsed<RequestHead>,
    parts: &request::Parts,
    ends: bool,
    websocket: bool,
) {
    let method = if websocket {
        "GET"
    } else {
        parts.method.as_str()
    };
    assert_eq!(method_of(normal), method.as_bytes());
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let (slash, rest) = normal.head.origin_form(&normal.bytes);
    assert_eq!([slash, rest].concat(), path.as_bytes());

    let came = carried(&parts.headers);
    let ours = [
        "host",
        "cookie",
        "te",
        "connection",
        "upgrade",
        "content-length",
        "transfer-encoding",
    ];
    let mut expected = without(came.clone(), &ours);
    if websocket {
        expected.push((b"sec-websocket-key".to_vec(), KEY.into()));
        expected = without(expected, &[]);
    }
    assert_eq!(without(normal.pairs(), &ours), expected);
    names_one_host(normal, &parts.uri, &values(&came, "host"));
    has_one_cookie(normal, &values(&came, "cookie"));
    asks_of_the_next_hop(normal, !values(&came, "te").is_empty(), websocket);
    ends_as_its_stream(normal, &values(&came, "content-length"), ends || websocket);
}

/// Two names of it are one (RFC 9113 section 8.3.1).
fn names_one_host(normal: &Parsed<RequestHead>, uri: &Uri, came: &[Vec<u8>]) {
    let hosts = normal.values("host");
    let Some(authority) = uri.authority() else {
        assert_eq!(hosts, came);
        return assert_eq!(hosts.len(), 1);
    };
    assert_eq!(hosts, [authority.as_str().as_bytes()]);
    let default_port = if uri.scheme() == Some(&Scheme::HTTPS) {
        b":443"
    } else {
        &b":80"[..]
    };
    let plain = |text: &[u8]| {
        let text = text.to_ascii_lowercase();
        text.strip_suffix(default_port)
            .map(<[u8]>::to_vec)
            .unwrap_or(text)
    };
    for other in came {
        assert_eq!(plain(other), plain(&hosts[0]), "two hosts");
    }
}

/// RFC 9113 section 8.2.3.
fn has_one_cookie(normal: &Parsed<RequestHead>, crumbs: &[Vec<u8>]) {
    let cookies = normal.values("cookie");
    assert_eq!(cookies.len(), usize::from(!crumbs.is_empty()));
    // White space around crumbs is nobody's.
    let plain = |text: Vec<u8>| -> Vec<u8> {
        let bytes = text.into_iter();
        bytes.filter(|byte| !matches!(byte, b' ' | b'\t')).collect()
    };
    let joined = crumbs.join(&b"; "[..]);
    assert_eq!(plain(cookies.concat()), plain(joined));
}

fn asks_of_the_next_hop(normal: &Parsed<RequestHead>, te: bool, websocket: bool) {
    assert_eq!(normal.values("te"), lines(te, "trailers"));
    assert_eq!(normal.values("upgrade"), lines(websocket, "websocket"));
    let connection = match (te, websocket) {
        (true, true) => "te, upgrade",
        (true, false) => "te",
        (false, _) => "upgrade",
    };
    assert_eq!(
        normal.values("connection"),
        lines(te || websocket, connection)
    );
}

fn ends_as_its_stream(normal: &Parsed<RequestHead>, lengths: &[Vec<u8>], ends: bool) {
    let chunked = lengths.is_empty() && !ends;
    assert_eq!(
        normal.values("transfer-encoding"),
        lines(chunked, "chunked")
    );
    match normal.head.body {
        RequestBody::Chunked => assert!(chunked),
        RequestBody::Length(0) if lengths.is_empty() => assert!(ends),
        RequestBody::Length(length) => assert_eq!(lengths, [length.to_string().into_bytes()]),
        RequestBody::None => assert!(lengths.is_empty() && ends),
    }
}

/// Requests that came by HTTP/1, one after the other; of their bodies nothing is read.
pub fn requests_of_http1(mut input: &[u8]) {
    let limits = HeadLimits::from(&Limits::default());
    let mut fields = Vec::new();
    while let Ok(Some((mut head, consumed))) = parse_request(input, &limits, &mut fields) {
        let bytes = input[..consumed].to_vec();
        // HTTP/2 knows no other upgrade, so the driver asks for none.
        let asked = head.upgrade.map(|protocol| protocol.of(&bytes));
        if !asked.is_some_and(is_websocket) || head.method != Method::Get {
            head.upgrade = None;
        }
        let fields = fields.clone();
        let came = Parsed {
            head,
            bytes,
            fields,
        };
        passed_on(&came, "10.0.0.7:8080");
        input = &input[consumed..];
    }
}

/// What an endpoint gets, by HTTP/1 and by HTTP/2, is one plain request, the same in both, of what came.
fn passed_on(came: &Parsed<RequestHead>, default_host: &str) {
    let mut bytes = Vec::new();
    let client = stranger();
    let context = ForwardContext {
        default_host,
        ..context(&client)
    };
    forward_request(&came.head, &came.bytes, &came.fields, &context, &mut bytes);
    let plain = one_request(&bytes);
    same_request(came, &plain);
    nothing_new(&came.pairs(), &plain.pairs());

    let request = request_for_endpoint(&bytes, &Scheme::HTTP);
    let request = request.expect("a request that HTTP/2 can carry");
    let websocket = request.extensions().get::<h2::ext::Protocol>().is_some();
    let parts = request.into_parts().0;
    assert_eq!(websocket, plain.head.upgrade.is_some());
    assert_eq!(
        websocket,
        parts.method == HttpMethod::CONNECT && plain.head.method == Method::Get
    );
    only_what_http2_has(&parts.headers);
    let hop = [
        "host",
        "connection",
        "transfer-encoding",
        "upgrade",
        "sec-websocket-key",
    ];
    let sent = without(carried(&parts.headers), &[]);
    let mut expected = without(plain.pairs(), &hop[..4]);
    if websocket {
        expected = without(expected, &hop);
    }
    assert_eq!(sent, expected, "fields of HTTP/2");

    let ends = plain.head.body.is_empty();
    let back = read(&parts, ends, websocket).expect("what we send is what we take");
    let back = Parsed {
        head: back.head,
        bytes: back.sheet.bytes.clone(),
        fields: back.sheet.fields.clone(),
    };
    same_request(&plain, &back);
}

fn same_request(one: &Parsed<RequestHead>, other: &Parsed<RequestHead>) {
    assert_eq!(method_of(one), method_of(other));
    assert_eq!(target(one), target(other));
    let host = |parsed: &Parsed<RequestHead>| parsed.head.host.of(&parsed.bytes).to_vec();
    if !host(one).is_empty() {
        assert_eq!(host(one), host(other));
    }
    let facts = |head: &RequestHead| {
        (
            head.upgrade.is_some(),
            head.te_trailers,
            head.expects_continue,
            content(head.body),
        )
    };
    assert_eq!(facts(&one.head), facts(&other.head));
}

fn method_of(parsed: &Parsed<RequestHead>) -> &[u8] {
    parsed.head.method_text.of(&parsed.bytes)
}

/// A body of no bytes may be said in words or not.
fn content(body: RequestBody) -> RequestBody {
    if body == RequestBody::Length(0) {
        RequestBody::None
    } else {
        body
    }
}

/// In origin form, and escaped as URIs are.
fn target(parsed: &Parsed<RequestHead>) -> Vec<u8> {
    let (slash, rest) = parsed.head.origin_form(&parsed.bytes);
    let mut escaped = Vec::new();
    for byte in [slash, rest].concat() {
        match byte {
            b'"' | b'<' | b'>' | b'`' => escaped.extend(format!("%{byte:02X}").bytes()),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Longer than what comes in, as it is passed on.
fn wide() -> HeadLimits {
    let mut limits = HeadLimits::from(&Limits::default());
    limits.head_bytes += 4096;
    limits.header_count += 16;
    limits
}

/// Reads what was written, which has to be one head and nothing else.
#[track_caller]
fn one_request(bytes: &[u8]) -> Parsed<RequestHead> {
    let mut fields = Vec::new();
    let parsed = parse_request(bytes, &wide(), &mut fields).expect("a head that HTTP/1 takes");
    let (head, consumed) = parsed.expect("a whole head");
    assert_eq!(consumed, bytes.len(), "bytes after the head");
    Parsed {
        head,
        bytes: bytes.to_vec(),
        fields,
    }
}
