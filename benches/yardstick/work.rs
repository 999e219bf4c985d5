//! The kinds of work that are measured: what clients ask, what the proxy must speak for it, and how much of it
//! there is at once. Read by everybody.

/// What the proxy under test listens for, and what it speaks to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 on both sides.
    Http,
    /// TLS towards clients, HTTP/1.1 in it and behind it.
    Https,
    /// HTTP/2 by prior knowledge towards clients, HTTP/1.1 behind it, as all do it unless told otherwise.
    Http2,
    /// HTTP/2 by prior knowledge on both sides.
    Grpc,
    /// TCP.
    Tcp,
}

/// What one exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A request with 65 bytes of answer, on a connection that is kept.
    Small,
    /// The same on a connection of its own.
    Close,
    /// A request with 256 KiB of answer, on a connection that is kept.
    Large,
    /// A connection with a handshake from nothing, a request, and the end.
    FullHandshake,
    /// The same, with a session that is resumed.
    ResumedHandshake,
    /// A request with 65 bytes of answer on a stream of its own.
    Stream,
    /// A unary call, 64 bytes each way.
    Call,
    /// A message of 64 bytes, sent back.
    Echo,
    /// A message of 64 bytes, answered by 256 KiB.
    Bulk,
    /// A WebSocket message of 64 bytes, sent back.
    WebSocket,
}

/// One kind of work.
#[derive(Debug)]
pub struct Work {
    /// Its name, in the report too.
    pub name: &'static str,
    /// The protocols of it.
    pub speaks: Speaks,
    /// What is measured, once over.
    pub ask: Ask,
    /// Client connections.
    pub connections: usize,
    /// Exchanges at once on each.
    pub streams: usize,
    /// For readers of the report.
    pub about: &'static str,
}

/// All of them, in the order of the report.
pub const WORKS: &[Work] = &[
    Work {
        name: "http1-small",
        speaks: Speaks::Http,
        ask: Ask::Small,
        connections: 32,
        streams: 1,
        about: "HTTP/1.1, 65 bytes of content, 32 keep-alive connections with one request at a time each",
    },
    Work {
        name: "http1-close",
        speaks: Speaks::Http,
        ask: Ask::Close,
        connections: 64,
        streams: 1,
        about: "The same with a connection for each request, 64 clients at once; connections to the backend are kept",
    },
    Work {
        name: "http1-256k",
        speaks: Speaks::Http,
        ask: Ask::Large,
        connections: 16,
        streams: 1,
        about: "HTTP/1.1, 256 KiB of content, 16 keep-alive connections",
    },
    Work {
        name: "tls-small",
        speaks: Speaks::Https,
        ask: Ask::Small,
        connections: 32,
        streams: 1,
        about: "As http1-small, in TLS 1.3 (AES-128-GCM) towards clients, on kept connections; clear text to the backend",
    },
    Work {
        name: "tls-handshake-full",
        speaks: Speaks::Https,
        ask: Ask::FullHandshake,
        connections: 32,
        streams: 1,
        about: "A connection, a TLS 1.3 handshake from nothing (X25519, a certificate with P-256), one request, the end",
    },
    Work {
        name: "tls-handshake-resumed",
        speaks: Speaks::Https,
        ask: Ask::ResumedHandshake,
        connections: 32,
        streams: 1,
        about: "The same, with the session of the connection before resumed",
    },
    Work {
        name: "http2-small",
        speaks: Speaks::Http2,
        ask: Ask::Stream,
        connections: 2,
        streams: 50,
        about: "HTTP/2 in clear text by prior knowledge, 100 streams at once on two connections, 65 bytes of content; HTTP/1.1 to the backend, as all of them do it unless told otherwise",
    },
    Work {
        name: "grpc-unary",
        speaks: Speaks::Grpc,
        ask: Ask::Call,
        connections: 2,
        streams: 50,
        about: "Unary calls, 64 bytes each way, 100 at once on two connections; HTTP/2 in clear text on both sides",
    },
    Work {
        name: "tcp-small",
        speaks: Speaks::Tcp,
        ask: Ask::Echo,
        connections: 32,
        streams: 1,
        about: "TCP, a message of 64 bytes and its echo, one at a time on each of 32 connections",
    },
    Work {
        name: "tcp-bulk",
        speaks: Speaks::Tcp,
        ask: Ask::Bulk,
        connections: 16,
        streams: 1,
        about: "TCP, 256 KiB for a message of 64 bytes, 16 connections; HAProxy with `option splice-response`",
    },
    Work {
        name: "ws-echo",
        speaks: Speaks::Http,
        ask: Ask::WebSocket,
        connections: 32,
        streams: 1,
        about: "WebSocket over HTTP/1.1, a message of 64 bytes and its echo, one at a time on each of 32 connections",
    },
];

/// Resident memory with idle connections of HTTP/1.1.
pub const HTTP1_IDLE: &str = "http1-idle";
/// The same in TLS.
pub const TLS_IDLE: &str = "tls-idle";
/// How connections fall to workers.
pub const SKEW: &str = "skew";
/// What the gate and the metrics cost.
pub const COSTS: &str = "costs";

/// What is measured besides.
pub const FIGURES: &[&str] = &[HTTP1_IDLE, TLS_IDLE, SKEW, COSTS];

/// The work of that name.
pub fn find(name: &str) -> Option<&'static Work> {
    WORKS.iter().find(|work| work.name == name)
}
