//! Real clients through lastcall, in clear text and in TLS: each driver in tests/clients prints one JSON line with
//! a verdict for each of its checks ([`drivers`]). HTTP/1 ([`http1`]): curl, Python's requests and httpx, Node's
//! fetch and http, Go's net/http. HTTP/2 ([`http2`]): those that speak it, and Java's `HttpClient`. gRPC
//! ([`grpc`]): Python's grpcio and Go's, each as client and as server. `WebSocket`s, frame by frame
//! ([`websocket`]). And h2spec, which puts HTTP/2's rules to a server one by one ([`h2spec`]).
//!
//! The controls: without lastcall every check passes, and against an app that does each thing wrongly every
//! check fails.

mod drivers;
mod grpc;
mod h2spec;
mod http1;
mod http2;
#[path = "../proxy/support/mod.rs"]
mod support;
mod trust;
mod websocket;
mod websocket_frames;

/// How long a condition may take to come on a busy machine.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
