//! Attacks in HTTP/1.1. Each carries, where a careless reader would find it, a request for `/smuggled`.

use crate::judge::{Attack, Came};

/// The request that must never be seen.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// What must come of it.
#[derive(Clone, Copy)]
enum Expect {
    Refused(u16),
    Cut(u16),
    Served(&'static [&'static str]),
}

use Expect::{Cut, Refused, Served};

/// One request was meant, and one was served.
const ONE: Expect = Served(&["POST /attack"]);
/// The same, of GET.
const GET: Expect = Served(&["GET /attack"]);

/// An honest one.
pub fn honest() -> Attack {
    post("honest", "Content-Length: {}", "hello", ONE)
}

/// POST with these fields (`{}` stands for the body's length) and this body (`{}` stands for [`SMUGGLED`]).
fn post(name: &'static str, fields: &str, body: &str, expect: Expect) -> Attack {
    let body = body.replace("{}", SMUGGLED);
    let fields = fields.replace("{}", &body.len().to_string());
    let head = format!("POST /attack HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    raw(name, &(head + &body), expect)
}

/// All bytes as they are; `{}` stands for [`SMUGGLED`].
fn raw(name: &'static str, bytes: &str, expect: Expect) -> Attack {
    let came = match expect {
        Refused(status) => Came::Refused(status),
        Cut(status) => Came::Cut(status),
        Served(lines) => Came::Served(lines.iter().map(ToString::to_string).collect()),
    };
    // Each character is one byte, so that bytes outside ASCII can be written.
    let bytes = bytes.replace("{}", SMUGGLED);
    let bytes = bytes.chars().map(|c| u8::try_from(u32::from(c)).unwrap());
    Attack::http1(name, bytes.collect(), came)
}

/// All of them.
pub fn attacks() -> Vec<Attack> {
    [lengths(), codings(), chunks(), lines(), targets(), fields()].concat()
}

/// Length beside coding, and lengths that are read in several ways.
#[rustfmt::skip]
fn lengths() -> Vec<Attack> {
    let both = "Content-Length: {}\r\nTransfer-Encoding: chunked";
    let mut all = vec![
        post("CL.TE", both, "0\r\n\r\n{}", Refused(400)),
        post("CL.TE, a prefix", both, "0\r\n\r\nG", Refused(400)),
        post("CL.TE, the coding first", "Transfer-Encoding: chunked\r\nContent-Length: {}", "0\r\n\r\n{}", Refused(400)),
        post("TE.CL", "Content-Length: 4\r\nTransfer-Encoding: chunked", "23\r\n{}\r\n0\r\n\r\n", Refused(400)),
        post("CL.0 beside the coding", "Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n{}", Refused(400)),
        post("a coding unknown beside the length", "Content-Length: {}\r\nTransfer-Encoding: cow", "{}", Refused(501)),
        post("identity beside the length", "Content-Length: {}\r\nTransfer-Encoding: identity", "{}", Refused(501)),
        post("the coding in another name", "Content-Length: {}\r\nTransfer_Encoding: chunked", "0\r\n\r\n{}", ONE),
        post("the coding of the content", "Content-Length: {}\r\nContent-Encoding: chunked", "0\r\n\r\n{}", ONE),
        post("a length beside the length in another name", "Content-Length: {}\r\nContent_Length: 0", "{}", ONE),
        raw("GET with a body that is a request", "GET /attack HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n{}", GET),
        raw("GET with chunks that are a request", "GET /attack HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n{}\r\n0\r\n\r\n", GET),
        raw("HEAD with a body that is a request", "HEAD /attack HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n{}", Served(&["HEAD /attack"])),
        raw("DELETE with a body that is a request", "DELETE /attack HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n{}", Served(&["DELETE /attack"])),
        raw("POST without a length", "POST /attack HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n", Served(&["POST /attack", "GET /next"])),
    ];
    for (name, line) in [
        ("two lengths, the first short", "Content-Length: 0\r\nContent-Length: {}"),
        ("two lengths, the last short", "Content-Length: {}\r\nContent-Length: 0"),
        ("two equal lengths", "Content-Length: {}\r\nContent-Length: {}"),
        ("a list of lengths", "Content-Length: {}, 0"),
        ("a list of equal lengths", "Content-Length: {}, {}"),
        ("a sign before the length", "Content-Length: +{}"),
        ("a negative length", "Content-Length: -{}"),
        ("a length in hex", "Content-Length: 0x{}"),
        ("a length and a word", "Content-Length: 0 {}"),
        ("letters after the length", "Content-Length: 0a"),
        ("no length after its colon", "Content-Length: "),
        ("zeros before the length", "Content-Length: 00{}"),
        ("a length modulo 2^64", "Content-Length: 18446744073709551616"),
        ("a length modulo 2^32 and more", "Content-Length: 99999999999999999999999999999999"),
        ("a length with a fraction", "Content-Length: 0.0"),
        ("a length folded", "Content-Length: 0\r\n {}"),
        ("a folded length", "Content-Length:\r\n {}"),
        ("a space before the length's colon", "Content-Length : {}"),
        ("a tab before the length's colon", "Content-Length\t: {}"),
        ("a space before the length's name", " Content-Length: {}"),
        ("NUL after the length's name", "Content-Length\0: {}"),
        ("NUL after the length", "Content-Length: {}\0"),
        ("a vertical tab before the length", "Content-Length: \x0b{}"),
        ("a no-break space before the length", "Content-Length: \u{a0}{}"),
        ("a line feed alone before the length", "X: y\nContent-Length: {}"),
        ("a carriage return alone before the length", "X: y\rContent-Length: {}"),
    ] {
        all.push(post(name, line, "{}", Refused(400)));
    }
    all
}

/// TE.TE: codings that one reader sees and another does not.
#[rustfmt::skip]
fn codings() -> Vec<Attack> {
    let mut all = Vec::new();
    for (name, line, expect) in [
        ("TE.TE, a letter more", "Transfer-Encoding: xchunked", Refused(501)),
        ("TE.TE, a letter less", "Transfer-Encoding: chunke", Refused(501)),
        ("TE.TE, a second that is unknown", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", Refused(400)),
        ("TE.TE, a first that is unknown", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", Refused(501)),
        ("TE.TE, the same twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Refused(400)),
        ("TE.TE, a list with identity last", "Transfer-Encoding: chunked, identity", Refused(501)),
        ("TE.TE, a list with identity first", "Transfer-Encoding: identity, chunked", Refused(501)),
        ("TE.TE, a comma behind", "Transfer-Encoding: chunked,", Refused(400)),
        ("TE.TE, a comma before", "Transfer-Encoding: ,chunked", Refused(400)),
        ("TE.TE, in quotes", "Transfer-Encoding: \"chunked\"", Refused(400)),
        ("TE.TE, in single quotes", "Transfer-Encoding: 'chunked'", Refused(501)),
        ("TE.TE, a parameter", "Transfer-Encoding: chunked;a=b", Refused(400)),
        ("TE.TE, a vertical tab before", "Transfer-Encoding: \x0bchunked", Refused(400)),
        ("TE.TE, a form feed behind", "Transfer-Encoding: chunked\x0c", Refused(400)),
        ("TE.TE, NUL before", "Transfer-Encoding: \0chunked", Refused(400)),
        ("TE.TE, a no-break space before", "Transfer-Encoding: \u{a0}chunked", Refused(400)),
        ("TE.TE, a space before the colon", "Transfer-Encoding : chunked", Refused(400)),
        ("TE.TE, a tab before the colon", "Transfer-Encoding\t: chunked", Refused(400)),
        ("TE.TE, NUL after the name", "Transfer-Encoding\0: chunked", Refused(400)),
        ("TE.TE, a space before the name", " Transfer-Encoding: chunked", Refused(400)),
        ("TE.TE, folded", "Transfer-Encoding:\r\n chunked", Refused(400)),
        ("TE.TE, behind a fold", "X: y\r\n\tTransfer-Encoding: chunked", Refused(400)),
        ("TE.TE, behind a line feed alone", "X: y\nTransfer-Encoding: chunked", Refused(400)),
        ("TE.TE, behind a carriage return alone", "X: y\rTransfer-Encoding: chunked", Refused(400)),
        ("TE.TE, two carriage returns", "Transfer-Encoding: chunked\r", Refused(400)),
        ("TE.TE, no value", "Transfer-Encoding: ", Refused(400)),
        ("TE.TE, named by Connection", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", Refused(400)),
        ("a tab before the coding", "Transfer-Encoding:\tchunked", ONE),
        ("the coding in capitals", "TRANSFER-ENCODING: CHUNKED", ONE),
    ] {
        // Whoever takes the body for chunked reads a request in one chunk; whoever does not, one behind the head.
        all.push(post(name, line, "23\r\n{}\r\n0\r\n\r\n", expect));
    }
    all.push(raw("TE in HTTP/1.0", "POST /attack HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}", Refused(400)));
    all.push(raw("TE and CL in HTTP/1.0", "POST /attack HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}", Refused(400)));
    all
}

/// Chunks that are read in several ways.
#[rustfmt::skip]
fn chunks() -> Vec<Attack> {
    let mut all = Vec::new();
    for (name, body, expect) in [
        ("chunks that are a request", "23\r\n{}\r\n0\r\n\r\n", ONE),
        ("a chunk of 0x0", "0x0\r\n\r\n{}", Cut(400)),
        ("a chunk of +0", "+0\r\n\r\n{}", Cut(400)),
        ("a chunk of -0", "-0\r\n\r\n{}", Cut(400)),
        ("a chunk of -1", "-1\r\n\r\n{}", Cut(400)),
        ("a chunk of 0_0", "0_0\r\n\r\n{}", Cut(400)),
        ("a chunk size modulo 2^64", "10000000000000000\r\n\r\n{}", Cut(400)),
        ("a chunk size modulo 2^32", "100000000\r\n\r\n{}", Cut(408)),
        ("a space before a chunk size", " 0\r\n\r\n{}", Cut(400)),
        ("a space after a chunk size", "0 \r\n\r\n{}", Cut(400)),
        ("a tab after a chunk size", "0\t\r\n\r\n{}", Cut(400)),
        ("no chunk size", "\r\n0\r\n\r\n{}", Cut(400)),
        ("a comma after a chunk size", "0,\r\n\r\n{}", Cut(400)),
        ("a line feed alone in an extension", "0;a\n\r\n\r\n{}", Cut(400)),
        ("a line feed that ends an extension", "5;\nxx\r\n23\r\n{}\r\n0\r\n\r\n", Cut(400)),
        ("a carriage return alone in an extension", "0;a\rb\r\n\r\n{}", Cut(400)),
        ("an extension in quotes that are not closed", "0;a=\"\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n", Served(&["POST /attack", "GET /next"])),
        ("a line end in quotes", "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n{}", Cut(400)),
        ("a line feed alone after a chunk size", "0\n\n{}", Cut(400)),
        ("a line feed alone after the last chunk", "0\r\n\n{}", Cut(400)),
        ("a chunk that ends with other bytes", "5\r\nhelloXX0\r\n\r\n{}", Cut(400)),
        ("a chunk that ends with a line feed alone", "5\r\nhello\n0\r\n\r\n{}", Cut(400)),
        ("a chunk that ends with nothing", "5\r\nhello0\r\n\r\n{}", Cut(400)),
        ("a request for trailers", "0\r\n{}", Cut(400)),
        ("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n", Cut(400)),
        ("a space before a trailer's colon", "0\r\nX : y\r\n\r\n", Cut(400)),
        ("a length for a trailer", "0\r\nContent-Length: 35\r\n\r\n", ONE),
        ("a coding for a trailer", "0\r\nTransfer-Encoding: chunked\r\n\r\n", ONE),
        ("Host for a trailer", "0\r\nHost: b\r\n\r\n", ONE),
        ("zeros before a chunk size", "0000000023\r\n{}\r\n0000\r\n\r\n", ONE),
        ("an extension and its value", "23;a=b;c=\"d;e\"\r\n{}\r\n0;f\r\n\r\n", ONE),
    ] {
        all.push(post(name, "Transfer-Encoding: chunked", body, expect));
    }
    all
}

/// Where a line ends, and what is in it.
#[rustfmt::skip]
fn lines() -> Vec<Attack> {
    vec![
        raw("a head that ends in line feeds", "GET /attack HTTP/1.1\r\nHost: a\n\n{}", Refused(400)),
        raw("a head that ends in CR LF LF", "GET /attack HTTP/1.1\r\nHost: a\r\n\n{}", Refused(400)),
        raw("a head that ends in LF CR LF", "GET /attack HTTP/1.1\r\nHost: a\n\r\n{}", Refused(400)),
        raw("line feeds throughout", "GET /attack HTTP/1.1\nHost: a\n\n{}", Refused(400)),
        raw("carriage returns throughout", "GET /attack HTTP/1.1\rHost: a\r\r{}", Refused(400)),
        raw("two carriage returns before a line feed", "GET /attack HTTP/1.1\r\nHost: a\r\r\n\r\n{}", Refused(400)),
        raw("a line of a space before the end", "GET /attack HTTP/1.1\r\nHost: a\r\n \r\n{}", Refused(400)),
        raw("NUL in a value", "GET /attack HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n", Refused(400)),
        raw("a space in a name", "GET /attack HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", Refused(400)),
        raw("no name", "GET /attack HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n", Refused(400)),
        raw("no colon", "GET /attack HTTP/1.1\r\nHost: a\r\nGET /smuggled HTTP/1.1\r\n\r\n", Refused(400)),
        raw("a request folded into a value", "GET /attack HTTP/1.1\r\nHost: a\r\nX: y\r\n {}", Refused(400)),
        raw("a request in a value", "GET /attack HTTP/1.1\r\nHost: a\r\nX: GET /smuggled HTTP/1.1\r\n\r\n", GET),
        raw("a line end escaped in a value", "GET /attack HTTP/1.1\r\nHost: a\r\nX: %0d%0a%0d%0aGET /smuggled HTTP/1.1\r\n\r\n", GET),
        raw("an empty line before", "\r\nGET /attack HTTP/1.1\r\nHost: a\r\n\r\n", GET),
    ]
}

/// Request lines and targets, and whom they name.
#[rustfmt::skip]
fn targets() -> Vec<Attack> {
    vec![
        raw("HTTP/0.9", "GET /smuggled\r\n", Refused(400)),
        raw("HTTP/0.9 behind a body", "POST /attack HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /smuggled\r\n", Served(&["400 after [\"POST /attack\"]"])),
        raw("two requests in one line", "GET /attack HTTP/1.1 GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        raw("a space in the target", "GET /attack /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        raw("a tab between the words", "GET\t/attack HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        raw("HTTP/1.2", "GET /attack HTTP/1.2\r\nHost: a\r\n\r\n{}", Refused(505)),
        raw("another protocol", "GET /attack HTTPS/1.1\r\nHost: a\r\n\r\n{}", Refused(400)),
        raw("absolute form of another host", "GET http://b/attack HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        raw("absolute form with user information", "GET http://b@a/attack HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        raw("absolute form without Host", "GET http://a/attack HTTP/1.1\r\n\r\n", Refused(400)),
        raw("absolute form", "GET http://a/attack HTTP/1.1\r\nHost: a\r\n\r\n", GET),
        raw("two slashes for another host", "GET //b/attack HTTP/1.1\r\nHost: a\r\n\r\n", Served(&["GET //b/attack"])),
        raw("two Hosts", "GET /attack HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused(400)),
        raw("a space before the colon of Host", "GET /attack HTTP/1.1\r\nHost : a\r\n\r\n", Refused(400)),
        raw("a space before Host", "GET /attack HTTP/1.1\r\n Host: a\r\n\r\n", Refused(400)),
        raw("a second Host behind a fold", "GET /attack HTTP/1.1\r\nHost: a\r\n Host: b\r\n\r\n", Refused(400)),
        raw("a list of Hosts", "GET /attack HTTP/1.1\r\nHost: a, b\r\n\r\n", Refused(400)),
        raw("a Host with a path", "GET /attack HTTP/1.1\r\nHost: a/smuggled\r\n\r\n", Refused(400)),
        raw("CONNECT, and a request in its tunnel", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{}", Refused(501)),
        raw("TRACE with a body", "TRACE /attack HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n{}", Refused(400)),
    ]
}

/// Fields of the connection.
#[rustfmt::skip]
fn fields() -> Vec<Attack> {
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    vec![
        raw("an upgrade that is declined, and a request", &format!("GET /attack HTTP/1.1\r\nHost: a\r\n{websocket}\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"), Served(&["GET /attack", "GET /next"])),
        raw("an upgrade of a version unknown", "GET /attack HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n", GET),
        raw("an upgrade to HTTP/2", "GET /attack HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", GET),
        post("an upgrade with a body", &format!("{websocket}\r\nContent-Length: {{}}"), "{}", ONE),
        post("an expectation", "Expect: 100-continue\r\nContent-Length: {}", "{}", ONE),
        post("an expectation in chunks", "Expect: 100-continue\r\nTransfer-Encoding: chunked", "23\r\n{}\r\n0\r\n\r\n", ONE),
        post("an expectation unknown", "Expect: 100-continue, x\r\nContent-Length: {}", "{}", Refused(417)),
        post("an expectation folded", "Expect:\r\n 100-continue\r\nContent-Length: {}", "{}", Refused(400)),
        raw("an expectation without a body", "GET /attack HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", GET),
        post("Connection names the length", "Connection: Content-Length\r\nContent-Length: {}", "{}", Refused(400)),
        post("Connection names Host", "Connection: Host\r\nContent-Length: {}", "{}", Refused(400)),
        post("Connection names what is the client's", "Connection: X-Forwarded-For, Cookie\r\nCookie: a\r\nContent-Length: {}", "{}", ONE),
        raw("a request behind a close", "GET /attack HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{}", GET),
        raw("a request behind HTTP/1.0", "GET /attack HTTP/1.0\r\nHost: a\r\n\r\n{}", GET),
        post("Proxy-Connection", "Proxy-Connection: keep-alive\r\nContent-Length: {}", "{}", ONE),
        post("Max-Forwards that is none", "Max-Forwards: 0x1\r\nContent-Length: {}", "{}", ONE),
    ]
}
