//! Responses, as a backend writes them on a fresh connection, which it closes right after.

use super::Bytes::{self, Long, Plain};

/// One response.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is odd about it.
    pub name: &'static str,
    /// What was asked.
    pub asked: Asked,
    /// What the backend sends.
    pub bytes: Bytes,
    /// What must come of it.
    pub expect: Expect,
}

/// What was asked of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// GET
    Get,
    /// HEAD
    Head,
    /// GET with an upgrade to `websocket`.
    Upgrade,
}

/// What must come of a response. Unless a case says otherwise the connection to the backend is not used
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The client gets 502.
    BadGateway,
    /// The head is good, the body is not: the client gets what came before, and no complete response.
    Cut,
    /// The client gets this, whole; `kept`: were the backend to keep the connection open, it could be used
    /// again.
    Whole {
        status: u16,
        body: &'static str,
        kept: bool,
    },
    /// The client gets the 101, then these bytes by the tunnel.
    Tunnel(&'static str),
}

use Asked::{Get, Head, Upgrade};
use Expect::{BadGateway, Cut, Tunnel, Whole};

const fn case(name: &'static str, asked: Asked, bytes: &'static [u8], expect: Expect) -> Case {
    Case {
        name,
        asked,
        bytes: Plain(bytes),
        expect,
    }
}

const fn kept(status: u16, body: &'static str) -> Expect {
    Whole {
        status,
        body,
        kept: true,
    }
}

const fn last(status: u16, body: &'static str) -> Expect {
    Whole {
        status,
        body,
        kept: false,
    }
}

/// All of them.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // Where the body ends.
    case("length and coding", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),
    case("coding and length", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),
    case("length and coding, to HEAD", Head, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BadGateway),
    case("length and coding, 304", Get, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BadGateway),
    case("two unequal lengths", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", BadGateway),
    case("two equal lengths", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", BadGateway),
    case("a list of lengths", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", BadGateway),
    case("plus sign in the length", Get, b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", BadGateway),
    case("negative length", Get, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello", BadGateway),
    case("hex length", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", BadGateway),
    case("length with a space in it", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 1 5\r\n\r\nhello", BadGateway),
    case("empty length", Get, b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", BadGateway),
    case("length with leading zeros", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\nhello", BadGateway),
    case("length over 63 bits", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello", BadGateway),
    case("length over 64 bits", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello", BadGateway),
    case("length in words", Get, b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", BadGateway),
    case("bad length, to HEAD", Head, b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", BadGateway),
    case("gzip", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", BadGateway),
    case("gzip, then chunked", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),
    case("identity", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello", BadGateway),
    case("chunked twice", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),
    case("two codings", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),
    case("almost chunked", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),
    case("chunked in quotes", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \"chunked\"\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),
    case("empty coding", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nhello", BadGateway),
    case("chunked in HTTP/1.0", Get, b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),
    case("a folded coding", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BadGateway),

    // Lines.
    case("bare LF throughout", Get, b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", BadGateway),
    case("bare LF after the status line", Get, b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello", BadGateway),
    case("bare LF after a bare status", Get, b"HTTP/1.1 200\nContent-Length: 5\r\n\r\nhello", BadGateway),
    case("bare LF after a field", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5\nX: y\r\n\r\nhello", BadGateway),
    case("bare LF at the end", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello", BadGateway),
    case("bare CR in a value", Get, b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("bare CR in the reason", Get, b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("NUL in a value", Get, b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("NUL in the reason", Get, b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("DEL in a value", Get, b"HTTP/1.1 200 OK\r\nX: \x7f\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("a folded field", Get, b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("white space before the first field", Get, b"HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("a space before a colon", Get, b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", BadGateway),
    case("an empty name", Get, b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("a line without a colon", Get, b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("a name with a space", Get, b"HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("too many fields", Get, b"", BadGateway).filled(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 257, b"\r\n"),
    case("a head too large", Get, b"", BadGateway).filled(b"HTTP/1.1 200 OK\r\nX: ", b"y", 64 * 1024, b"\r\n\r\n"),
    case("a head that never ends", Get, b"", BadGateway).filled(b"HTTP/1.1 200 OK\r\nX: ", b"y", 100 * 1024, b""),

    // The status line.
    case("nothing at all", Get, b"", BadGateway),
    case("half a head", Get, b"HTTP/1.1 200 OK\r\nContent-Le", BadGateway),
    case("half a status line", Get, b"HTTP/1.1 2", BadGateway),
    case("no empty line", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", BadGateway),
    case("HTTP/0.9", Get, b"<html>hello</html>", BadGateway),
    case("HTTP/2.0", Get, b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("HTTP/1.2", Get, b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("http in lower case", Get, b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("an HTTP/2 frame", Get, b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", BadGateway),
    case("a TLS alert", Get, b"\x15\x03\x01\0\x02\x02\x46", BadGateway),
    case("a status of two digits", Get, b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("a status of four digits", Get, b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("a status in words", Get, b"HTTP/1.1 OK 200\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("status 000", Get, b"HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("status 099", Get, b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("status 600", Get, b"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("two spaces before the status", Get, b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("a sign before the status", Get, b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("an empty line first", Get, b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("bytes of another response first", Get, b"xHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),
    case("a request", Get, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", BadGateway),

    // Interim and switching.
    case("101 not asked for", Get, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", BadGateway),
    case("101 without Upgrade", Upgrade, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", BadGateway),
    case("101 without Connection", Upgrade, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", BadGateway),
    case("101 with two Upgrades", Upgrade, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", BadGateway),
    case("101 in HTTP/1.0", Upgrade, b"HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", BadGateway),
    case("100 in HTTP/1.0", Get, b"HTTP/1.0 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nhello", BadGateway),
    case("100 and nothing more", Get, b"HTTP/1.1 100 Continue\r\n\r\n", BadGateway),
    case("100 and half a head", Get, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", BadGateway),
    case("103 with a body", Get, b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", BadGateway),

    // Bodies that turn out bad.
    case("a body too short", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", Cut),
    case("no body", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Cut),
    case("a chunk size that is none", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", Cut),
    case("an unframed body called chunked", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", Cut),
    case("a chunk too short", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello", Cut),
    case("no last chunk", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Cut),
    case("no end after the last chunk", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Cut),
    case("a chunk longer than its size", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", Cut),
    case("bare LF after a chunk size", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", Cut),
    case("bare LF after a chunk", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", Cut),
    case("bare LF after the last chunk", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\n", Cut),
    case("bare CR after a chunk", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\rX0\r\n\r\n", Cut),
    case("a negative chunk size", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", Cut),
    case("a chunk size with 0x", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", Cut),
    case("a chunk size padded with spaces", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5   \r\nhello\r\n0\r\n\r\n", Cut),
    case("a chunk size that overflows", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", Cut),
    case("a chunk of 2^63 bytes", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8000000000000000\r\nhello", Cut),
    case("an extension too long", Get, b"", Cut).filled(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x", 300, b"\r\nhello\r\n0\r\n\r\n"),
    case("a folded trailer", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n", Cut),
    case("a response for a trailer section", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n", Cut),
    case("too many trailers", Get, b"", Cut).filled(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"X: y\r\n", 65, b"\r\n"),
    case("a response of 1 GiB that breaks off", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nhello", Cut),

    // Odd, but clear.
    case("bytes after the end", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", last(200, "hello")),
    case("bytes after the last chunk", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nx", last(200, "hello")),
    case("204 with a body", Get, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", last(204, "")),
    case("204 with a body, said nowhere", Get, b"HTTP/1.1 204 No Content\r\n\r\nhello", last(204, "")),
    case("204 with a chunked body", Get, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", last(204, "")),
    case("204 with a length to come", Get, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", last(204, "")),
    case("204 with length 0", Get, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", kept(204, "")),
    case("304 with a body", Get, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", last(304, "")),
    case("304 with a length", Get, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", kept(304, "")),
    case("HEAD with a body", Head, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", last(200, "")),
    case("HEAD with a length", Head, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", kept(200, "")),
    case("HEAD and chunked", Head, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", kept(200, "")),
    case("until close", Get, b"HTTP/1.1 200 OK\r\n\r\nhello", last(200, "hello")),
    case("until close, HTTP/1.0", Get, b"HTTP/1.0 200 OK\r\n\r\nhello", last(200, "hello")),
    case("until close, kept alive", Get, b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", last(200, "hello")),
    case("HTTP/1.0 kept alive", Get, b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello", kept(200, "hello")),
    case("HTTP/1.0", Get, b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", last(200, "hello")),
    case("close", Get, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", last(200, "hello")),
    case("keep-alive and close", Get, b"HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 5\r\n\r\nhello", last(200, "hello")),
    case("Connection names the coding", Get, b"HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", kept(200, "hello")),
    case("200 fields", Get, b"", kept(200, "")).filled(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b"X: y\r\n", 199, b"\r\n"),
    case("no reason", Get, b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", kept(200, "hello")),
    case("no space after the status", Get, b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", kept(200, "hello")),
    case("a reason outside ASCII", Get, b"HTTP/1.1 200 \xc3\xa4h\r\nContent-Length: 5\r\n\r\nhello", kept(200, "hello")),
    case("a status of its own", Get, b"HTTP/1.1 599 Hm\r\nContent-Length: 5\r\n\r\nhello", kept(599, "hello")),
    case("extensions and trailers", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nX: y\r\n\r\n", kept(200, "hello")),
    case("103, then 200", Get, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", kept(200, "hello")),
    case("100 twice, then 200", Get, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", kept(200, "hello")),
    case("an upgrade refused", Upgrade, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", kept(200, "hello")),
    case("an upgrade taken", Upgrade, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello", Tunnel("hello")),
    case("101 with a length", Upgrade, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhello", Tunnel("hello")),
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
