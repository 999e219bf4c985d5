//! Attacks in HTTP/2 that mean to become two requests, or another one, in HTTP/1.

use crate::frames::{Pair, data, headers};
use crate::judge::{Attack, Came};

/// What must come of it.
#[derive(Clone, Copy)]
enum Expect {
    /// `RST_STREAM` or GOAWAY: HTTP/2's own rules forbid it.
    Malformed,
    Refused(u16),
    Served(&'static str),
}

use Expect::{Malformed, Refused, Served};

const ONE: Expect = Served("POST /attack");
const GET: Expect = Served("GET /attack");
const REQUEST: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn attack(name: &'static str, bytes: Vec<u8>, expect: Expect) -> Attack {
    let came = match expect {
        Malformed => Came::Closed,
        Refused(status) => Came::Refused(status),
        Served(line) => Came::Served(vec![line.to_owned()]),
    };
    Attack::http2(name, bytes, came)
}

const METHOD: Pair<'_> = (b":method", b"GET");
const POST: Pair<'_> = (b":method", b"POST");
const SCHEME: Pair<'_> = (b":scheme", b"http");
const AUTHORITY: Pair<'_> = (b":authority", b"a");
const PATH: Pair<'_> = (b":path", b"/attack");

/// GET with one more field.
fn field(name: &'static str, field: Pair<'_>, expect: Expect) -> Attack {
    let fields = [METHOD, SCHEME, AUTHORITY, PATH, field];
    attack(name, headers(1, true, &fields), expect)
}

/// GET with these pseudo-fields.
fn pseudo(name: &'static str, fields: &[Pair<'_>], expect: Expect) -> Attack {
    attack(name, headers(1, true, fields), expect)
}

/// POST with one more field, and this content.
fn body(name: &'static str, field: Pair<'_>, content: &[u8], expect: Expect) -> Attack {
    let fields = [POST, SCHEME, AUTHORITY, PATH, field];
    let bytes = [headers(1, false, &fields), data(1, true, content)].concat();
    attack(name, bytes, expect)
}

/// All of them.
pub fn attacks() -> Vec<Attack> {
    [in_fields(), in_pseudo_fields(), in_framing()].concat()
}

#[rustfmt::skip]
fn in_fields() -> Vec<Attack> {
    vec![
        field("CR LF in a value", (b"x", b"y\r\nz: w"), Malformed),
        field("CR LF and a request in a value", (b"x", b"y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), Malformed),
        field("LF in a value", (b"x", b"y\nz: w"), Malformed),
        field("CR in a value", (b"x", b"y\rz: w"), Malformed),
        field("NUL in a value", (b"x", b"y\0z"), Malformed),
        field("CR LF in a name", (b"x: y\r\nz", b"w"), Malformed),
        field("CR LF and a request in a name", (b"x: y\r\n\r\nGET /smuggled HTTP/1.1\r\nhost", b"a"), Malformed),
        field("a colon in a name", (b"transfer-encoding: chunked\r\nx", b"y"), Malformed),
        field("a colon behind a name", (b"transfer-encoding:", b"chunked"), Malformed),
        field("a space in a name", (b"x y", b"z"), Malformed),
        field("a space behind a name", (b"transfer-encoding ", b"chunked"), Malformed),
        field("a capital in a name", (b"Transfer-Encoding", b"chunked"), Malformed),
        field("no name", (b"", b"y"), Malformed),
        field("NUL in a name", (b"x\0", b"y"), Malformed),
        field("a byte outside ASCII in a name", (b"x\xff", b"y"), Malformed),
        field("a coding", (b"transfer-encoding", b"chunked"), Malformed),
        field("connection", (b"connection", b"keep-alive"), Malformed),
        field("keep-alive", (b"keep-alive", b"timeout=5"), Malformed),
        field("proxy-connection", (b"proxy-connection", b"keep-alive"), Malformed),
        field("upgrade", (b"upgrade", b"websocket"), Malformed),
        field("TE other than trailers", (b"te", b"chunked"), Malformed),
        field("CR LF in a cookie", (b"cookie", b"a=b\r\nx: y"), Malformed),
        field("a host that disagrees", (b"host", b"b"), Refused(400)),
        field("a list of hosts", (b"host", b"a, b"), Refused(400)),
        field("a host with CR LF", (b"host", b"a\r\nx: y"), Malformed),
        field("an expectation unknown", (b"expect", b"x"), Refused(417)),
        field("the coding in another name", (b"transfer_encoding", b"chunked"), GET),
        field("a line end escaped", (b"x", b"%0d%0a%0d%0aGET /smuggled HTTP/1.1"), GET),
    ]
}

#[rustfmt::skip]
fn in_pseudo_fields() -> Vec<Attack> {
    vec![
        pseudo("a request in the path", &[METHOD, SCHEME, AUTHORITY, (b":path", b"/attack HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled")], Malformed),
        pseudo("a space in the path", &[METHOD, SCHEME, AUTHORITY, (b":path", b"/attack HTTP/1.1")], Malformed),
        pseudo("a tab in the path", &[METHOD, SCHEME, AUTHORITY, (b":path", b"/attack\tx")], Malformed),
        pseudo("NUL in the path", &[METHOD, SCHEME, AUTHORITY, (b":path", b"/attack\0")], Malformed),
        // Read without it, by us and so by the server.
        pseudo("a fragment in the path", &[METHOD, SCHEME, AUTHORITY, (b":path", b"/attack#/smuggled")], GET),
        pseudo("no slash before the path", &[METHOD, SCHEME, AUTHORITY, (b":path", b"attack")], Malformed),
        pseudo("a path that names a host", &[METHOD, SCHEME, AUTHORITY, (b":path", b"http://b/attack")], Malformed),
        pseudo("an empty path", &[METHOD, SCHEME, AUTHORITY, (b":path", b"")], Malformed),
        pseudo("no path", &[METHOD, SCHEME, AUTHORITY], Malformed),
        pseudo("two paths", &[METHOD, SCHEME, AUTHORITY, PATH, (b":path", b"/smuggled")], Malformed),
        pseudo("* for GET", &[METHOD, SCHEME, AUTHORITY, (b":path", b"*")], Refused(400)),
        pseudo("a request in the method", &[(b":method", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET"), SCHEME, AUTHORITY, PATH], Malformed),
        pseudo("a space in the method", &[(b":method", b"GET /smuggled"), SCHEME, AUTHORITY, PATH], Malformed),
        pseudo("no method", &[SCHEME, AUTHORITY, PATH], Malformed),
        pseudo("an empty method", &[(b":method", b""), SCHEME, AUTHORITY, PATH], Malformed),
        pseudo("two methods", &[METHOD, (b":method", b"POST"), SCHEME, AUTHORITY, PATH], Malformed),
        pseudo("CONNECT", &[(b":method", b"CONNECT"), (b":authority", b"a:80")], Refused(501)),
        pseudo("CR LF in the authority", &[METHOD, SCHEME, (b":authority", b"a\r\nx: y"), PATH], Malformed),
        pseudo("a path in the authority", &[METHOD, SCHEME, (b":authority", b"a/smuggled"), PATH], Malformed),
        pseudo("user information in the authority", &[METHOD, SCHEME, (b":authority", b"b@a"), PATH], Refused(400)),
        pseudo("a space in the authority", &[METHOD, SCHEME, (b":authority", b"a b"), PATH], Malformed),
        pseudo("an empty authority", &[METHOD, SCHEME, (b":authority", b""), PATH], Malformed),
        pseudo("two authorities", &[METHOD, SCHEME, AUTHORITY, (b":authority", b"b"), PATH], Malformed),
        pseudo("neither authority nor host", &[METHOD, SCHEME, PATH], Refused(400)),
        pseudo("CR LF in the scheme", &[METHOD, (b":scheme", b"http\r\nx: y"), AUTHORITY, PATH], Malformed),
        pseudo("a host in the scheme", &[METHOD, (b":scheme", b"http://b/smuggled?"), AUTHORITY, PATH], Malformed),
        pseudo("no scheme", &[METHOD, AUTHORITY, PATH], Malformed),
        pseudo("two schemes", &[METHOD, SCHEME, (b":scheme", b"https"), AUTHORITY, PATH], Malformed),
        pseudo("a pseudo-field behind a field", &[METHOD, SCHEME, AUTHORITY, (b"x", b"y"), PATH], Malformed),
        pseudo("a pseudo-field that is none", &[METHOD, SCHEME, AUTHORITY, PATH, (b":smuggled", b"y")], Malformed),
        pseudo("a pseudo-field of responses", &[METHOD, SCHEME, AUTHORITY, PATH, (b":status", b"200")], Malformed),
        pseudo("a host in place of the authority", &[METHOD, SCHEME, PATH, (b"host", b"a")], GET),
    ]
}

#[rustfmt::skip]
fn in_framing() -> Vec<Attack> {
    let trailers = |field: Pair<'_>| {
        [headers(1, false, &[POST, SCHEME, AUTHORITY, PATH]), data(1, false, b"hello"), headers(1, true, &[field])].concat()
    };
    let lengths: [Pair<'_>; 2] = [(b"content-length", b"5"), (b"content-length", b"0")];
    vec![
        body("a length shorter than the content", (b"content-length", b"0"), REQUEST, Malformed),
        body("a length that is a little shorter", (b"content-length", b"5"), REQUEST, Malformed),
        body("a length longer than the content", (b"content-length", b"500"), REQUEST, Malformed),
        body("a negative length", (b"content-length", b"-1"), REQUEST, Malformed),
        body("a length with a sign", (b"content-length", b"+5"), b"hello", Malformed),
        body("a list of lengths", (b"content-length", b"5, 5"), b"hello", Malformed),
        body("a length over 64 bits", (b"content-length", b"18446744073709551621"), b"hello", Malformed),
        body("no length in a length", (b"content-length", b""), b"hello", Malformed),
        body("a request for a body", (b"x", b"y"), REQUEST, ONE),
        body("the last chunk and a request for a body", (b"x", b"y"), b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", ONE),
        body("an expectation", (b"expect", b"100-continue"), REQUEST, ONE),
        attack("a length without content", headers(1, true, &[METHOD, SCHEME, AUTHORITY, PATH, (b"content-length", b"35")]), Malformed),
        attack("two lengths", [headers(1, false, &[&[POST, SCHEME, AUTHORITY, PATH], &lengths[..]].concat()), data(1, true, b"hello")].concat(), Malformed),
        attack("GET with content", [headers(1, false, &[METHOD, SCHEME, AUTHORITY, PATH]), data(1, true, REQUEST)].concat(), GET),
        attack("CR LF in a trailer", trailers((b"x", b"y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")), Malformed),
        // The library drops it, so nobody behind it sees it.
        attack("a pseudo-field for a trailer", trailers((b":path", b"/smuggled")), ONE),
        attack("a length for a trailer", trailers((b"content-length", b"35")), ONE),
        attack("a coding for a trailer", trailers((b"transfer-encoding", b"chunked")), Malformed),
    ]
}
