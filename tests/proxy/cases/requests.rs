//! Requests, as a client writes them on one connection (which it leaves open unless a case says so).

use super::Bytes::{self, Long, Plain};

/// One connection's worth of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is odd about it.
    pub name: &'static str,
    /// What the client sends.
    pub bytes: Bytes,
    /// What must come of it.
    pub expect: Expect,
}

/// What must come of a request. Limits are the defaults of `model::Limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Refused with this status before any byte reaches a backend; the connection is closed after it, so
    /// what follows in the same bytes is never read as a request.
    Refused(u16),
    /// Closed without an answer: the client does not speak HTTP/1.
    Closed,
    /// The head is good, the body turns out not to be: no backend ever sees a complete request; the client
    /// gets this status where no answer has begun, and the connection is closed.
    Cut(u16),
    /// Never complete: no backend sees a complete request, the client gets nothing (or 408 in the end).
    Unfinished,
    /// Odd, but clear: backends see exactly these, in this order, each as its request line (origin form,
    /// HTTP/1.1) and its body.
    Served(&'static [(&'static str, &'static str)]),
}

use Expect::{Closed, Cut, Refused, Served, Unfinished};

const fn case(name: &'static str, bytes: &'static [u8], expect: Expect) -> Case {
    Case {
        name,
        bytes: Plain(bytes),
        expect,
    }
}

/// One request without a body.
const GET: &[(&str, &str)] = &[("GET / HTTP/1.1", "")];
/// One request with the body `hello`.
const HELLO: &[(&str, &str)] = &[("POST / HTTP/1.1", "hello")];

/// All of them.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // Where a body ends.
    case("length and coding", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("coding and length", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", Refused(400)),
    case("two unequal lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", Refused(400)),
    case("two equal lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Refused(400)),
    case("a list of equal lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", Refused(400)),
    case("a list of unequal lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,6\r\n\r\nhello!", Refused(400)),
    case("plus sign in the length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", Refused(400)),
    case("negative length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", Refused(400)),
    case("negative zero length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n", Refused(400)),
    case("hex length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", Refused(400)),
    case("bare hex length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: a\r\n\r\nhellohello", Refused(400)),
    case("length with a space in it", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 5\r\n\r\nhello", Refused(400)),
    case("length with a tab in it", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\t5\r\n\r\nhello", Refused(400)),
    case("empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", Refused(400)),
    case("length with leading zeros", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello", Refused(400)),
    case("fractional length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello", Refused(400)),
    case("length with an exponent", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1e1\r\n\r\nhello", Refused(400)),
    case("length with an underscore", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nhello", Refused(400)),
    case("length over 63 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", Refused(400)),
    case("length over 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", Refused(400)),
    case("length in quotes", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\nhello", Refused(400)),
    case("length with a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5;a=b\r\n\r\nhello", Refused(400)),
    case("gzip", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", Refused(501)),
    case("gzip, then chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused(501)),
    case("chunked, then identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", Refused(501)),
    case("identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", Refused(501)),
    case("almost chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused(501)),
    case("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("two codings", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("a coding, then another", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", Refused(400)),
    case("chunked in quotes", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused(400)),
    case("chunked with a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", Refused(400)),
    case("chunked after an empty member", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("empty coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello", Refused(400)),
    case("a vertical tab before chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("chunked in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("a space before the coding's colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("a tab before the length's colon", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\nhello", Refused(400)),
    case("a folded coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("Connection names the length", b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", Refused(400)),
    case("Connection names the coding", b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close, transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("Connection names Host", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n", Refused(400)),
    case("TRACE with a body", b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Refused(400)),

    // Lines.
    case("bare LF throughout", b"GET / HTTP/1.1\nHost: a\n\n", Refused(400)),
    case("bare LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", Refused(400)),
    case("bare LF after a field", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", Refused(400)),
    case("bare LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", Refused(400)),
    case("bare LF after the last field", b"GET / HTTP/1.1\r\nHost: a\n\r\n", Refused(400)),
    case("bare LF first", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n", Refused(400)),
    case("bare CR after the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", Refused(400)),
    case("CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Refused(400)),
    case("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Refused(400)),
    case("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", Refused(400)),
    case("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", Refused(400)),
    case("an escape byte in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[31m\r\n\r\n", Refused(400)),
    case("a folded field", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", Refused(400)),
    case("a field folded by a tab", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", Refused(400)),
    case("white space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refused(400)),
    case("a line of white space", b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", Refused(400)),
    case("an empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Refused(400)),
    case("a line without a colon", b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", Refused(400)),
    case("a name with a space", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", Refused(400)),
    case("a name with brackets", b"GET / HTTP/1.1\r\nHost: a\r\nX(Y): b\r\n\r\n", Refused(400)),
    case("a name outside ASCII", b"GET / HTTP/1.1\r\nHost: a\r\nX\xff: b\r\n\r\n", Refused(400)),
    case("three empty lines first", b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("too many fields", b"", Refused(431)).filled(b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n", 100, b"\r\n"),
    case("a head too large", b"", Refused(431)).filled(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"y", 32 * 1024, b"\r\n\r\n"),
    case("a head that never ends", b"", Refused(431)).filled(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"y", 64 * 1024, b""),

    // The request line.
    case("HTTP/0.9", b"GET /\r\n", Refused(400)),
    case("HTTP/0.9 in so many words", b"GET / HTTP/0.9\r\n\r\n", Refused(505)),
    case("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refused(505)),
    case("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refused(505)),
    case("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", Refused(400)),
    case("HTTP/1", b"GET / HTTP/1\r\nHost: a\r\n\r\n", Refused(400)),
    case("http/1.1 in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("something after the version", b"GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", Refused(400)),
    case("two spaces after the method", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("two spaces after the target", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a tab for a space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a space first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a method that is no token", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a method too long", b"", Refused(501)).filled(b"", b"X", 25, b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a method that never ends", b"", Refused(501)).filled(b"", b"X", 1000, b""),
    case("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Refused(501)),
    case("connect in lower case", b"connect a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Refused(501)),
    case("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Closed),
    case("a PROXY protocol header, binary", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Closed),
    case("a PROXY protocol header, text", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),

    // The target.
    case("a target too long", b"", Refused(414)).filled(b"GET /", b"a", 8 * 1024, b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a target that never ends", b"", Refused(414)).filled(b"GET /", b"a", 9 * 1024, b""),
    case("a fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("UTF-8 in the target", b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a stray byte in the target", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("DEL in the target", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a target without a slash", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a query alone", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("authority form", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("* for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("** for OPTIONS", b"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("a scheme and no host", b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("one slash", b"GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("user information", b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),

    // Host.
    case("no Host", b"GET / HTTP/1.1\r\n\r\n", Refused(400)),
    case("no Host, absolute form", b"GET http://a/ HTTP/1.1\r\n\r\n", Refused(400)),
    case("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused(400)),
    case("two equal Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Refused(400)),
    case("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Refused(400)),
    case("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)),
    case("a list of hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Refused(400)),
    case("a host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refused(400)),
    case("a host with user information", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Refused(400)),
    case("a host with a space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Refused(400)),
    case("a host outside ASCII", b"GET / HTTP/1.1\r\nHost: b\xc3\xa4r\r\n\r\n", Refused(400)),
    case("a port that is none", b"GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", Refused(400)),
    case("a port too large", b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", Refused(400)),
    case("an IPv6 address without brackets", b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", Refused(400)),
    case("half a bracket", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Refused(400)),
    case("target and Host disagree", b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", Refused(400)),
    case("target and Host disagree on the port", b"GET http://a/ HTTP/1.1\r\nHost: a:8080\r\n\r\n", Refused(400)),
    case("a scheme's port is not another's", b"GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", Refused(400)),
    case("Host after a line of another client", b"GET / HTTP/1.1\r\nX: y\r\n\r\nHost: a\r\n\r\n", Refused(400)),

    // Other fields.
    case("an expectation unknown", b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", Refused(417)),
    case("Max-Forwards that is none", b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n", Refused(400)),

    // Bodies that turn out bad.
    case("a chunk size that is none", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("an empty chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("a negative chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("a chunk size with 0x", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("a chunk size with a space", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("a space before a chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("a chunk size that overflows", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("a chunk size over 63 bits", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("bare LF after a chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", Cut(400)),
    case("bare LF in an extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n", Cut(400)),
    case("bare CR in an extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("NUL in an extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\0\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("an extension too long", b"", Cut(400)).filled(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x", 300, b"\r\nhello\r\n0\r\n\r\n"),
    case("a flood of extensions", b"", Cut(400)).filled(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n", 1000, b"0\r\n\r\n"),
    case("a chunk longer than its size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", Cut(400)),
    case("bare LF after a chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", Cut(400)),
    case("bare CR after a chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\rX0\r\n\r\n", Cut(400)),
    case("two bytes for a chunk's line end", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", Cut(400)),
    case("nothing after a chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n", Cut(400)),
    case("bare LF after the last chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\n", Cut(400)),
    case("a request for a trailer section", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /admin HTTP/1.1\r\n\r\n", Cut(400)),
    case("a folded trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n", Cut(400)),
    case("bare LF in the trailers", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\n\r\n", Cut(400)),
    case("too many trailers", b"", Cut(431)).filled(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n", 65, b"\r\n"),
    case("trailers too large", b"", Cut(431)).filled(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"y", 8 * 1024, b"\r\n\r\n"),
    case("a body too short", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhello", Unfinished),
    case("a chunk too short", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello", Unfinished),
    case("no last chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Unfinished),
    case("no end after the last chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Unfinished),
    case("half a head", b"GET / HTTP/1.1\r\nHost: a\r\n", Unfinished),
    case("half a request line", b"GET / HT", Unfinished),
    case("an empty line only", b"\r\n", Unfinished),

    // Odd, but clear.
    case("two empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Served(GET)),
    case("chunked in another case", b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Served(HELLO)),
    case("a length among spaces", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t 5 \t\r\n\r\nhello", Served(HELLO)),
    case("extensions and trailers", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b;c\"\r\nhe\r\n003\r\nllo\r\n000;last\r\nX: y\r\n\r\n", Served(HELLO)),
    case("absolute form", b"GET http://A:80/ HTTP/1.1\r\nHost: a\r\n\r\n", Served(GET)),
    case("absolute form without a path", b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", Served(GET)),
    case("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", Served(GET)),
    case("an empty value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", Served(GET)),
    case("Latin-1 in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe4\r\n\r\n", Served(GET)),
    case("no space after a colon", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", Served(GET)),
    case("a method of its own", b"brew / HTTP/1.1\r\nHost: a\r\n\r\n", Served(&[("brew / HTTP/1.1", "")])),
    case("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Served(&[("OPTIONS * HTTP/1.1", "")])),
    case("GET with a body", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Served(&[("GET / HTTP/1.1", "hello")])),
    case("an IPv6 host", b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", Served(GET)),
    case("two at once", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n", Served(&[("POST / HTTP/1.1", "hello"), ("GET / HTTP/1.1", "")])),
    case("one after a close", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", Served(GET)),
    case("one after HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", Served(GET)),
    case("Connection names what is ours", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For, Via\r\n\r\n", Served(GET)),
    case("an upgrade to HTTP/2", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n", Served(GET)),
];

impl Case {
    /// The same with a message too long to write out.
    const fn filled(
        self,
        before: &'static [u8],
        piece: &'static [u8],
        times: usize,
        after: &'static [u8],
    ) -> Self {
        Self {
            bytes: Long {
                before,
                piece,
                times,
                after,
            },
            ..self
        }
    }
}
