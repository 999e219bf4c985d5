//! HTTP/2: clients that speak it, by TLS's ALPN or by prior knowledge, and endpoints that do (`H2C`, `GRPC`).
//!
//! Frames, HPACK and flow control are the h2 crate's, used on the worker's own thread: a local task for each
//! stream, which reads and writes by itself. What that costs was measured before it was chosen, as CPU time a
//! request beside an HTTP/1 exchange with the endpoint, 100 streams at once: h2 so 6.6 to 6.8 µs, hyper's
//! server 7.3 µs, HAProxy 8.4 µs bare and 11.2 with the fields that lastcall adds, nginx 12.6 and 14.5,
//! Envoy 31.
//!
//! Heads have one form inside, HTTP/1's (`request`, `response`): one reader refuses what must not come in, one
//! writer decides what goes out, and a request cannot be read differently behind us than here.
//!
//! - `server` is a client's connection, `stream` one of its requests, `requester` its two bodies; each `attempt`
//!   at it is an [`super::exchange::Exchange`]; `answer` is what we say ourselves.
//! - `pool` has the connections to endpoints that speak HTTP/2.

mod answer;
mod attempt;
mod names;
mod pool;
#[cfg(test)]
mod pool_tests;
mod request;
mod requester;
mod response;
mod server;
mod socket;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod trailers;

pub(super) use pool::{Http2Pool, Lease, Place};
pub use request::{Bootstrap, NormalRequest, Untranslatable, read_request, request_for_endpoint};
pub use response::{read_response, response_for_client};
pub(super) use server::{Client, serve};
pub(super) use socket::Socket;
pub use trailers::{retain_trailers, trailers};

/// Bytes of one body that may be on their way to us and not passed on yet.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all of a connection's bodies together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of memory that the small pieces of a connection's bodies may take beside their content, until those whom
/// they are for have read them. Small are those below 256 bytes, which is what the library holds for a piece of any
/// length; its list of them grows by doubling, so that twice as much may be resident. The end of a connection that
/// holds more is GOAWAY (`ENHANCE_YOUR_CALM`), and of all that is on it.
///
/// An honest peer does not come near it: the connection's whole window full of messages of 16 bytes takes 15 MiB,
/// a stream's window of gRPC's shortest (5 bytes) 13. And it is no more than the responses of one connection may hold
/// that wait for their client (256 streams of 64 KiB).
const SMALL_PIECES: usize = 16 * 1024 * 1024;
