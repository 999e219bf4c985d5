//! HTTP/1, ours: a codec that knows no sockets, and the connections that are driven by it.
//!
//! The codec (everything but the drivers) is pure: bytes in, values and bytes out, no I/O and no clock,
//! so that it can be tested at every cut and fuzzed. httparse splits heads into lines; everything that
//! decides is here. Strict where request smuggling starts: what two readers could read in two ways is
//! refused, never repaired.
//!
//! - [`parse_request`] and [`parse_response`] read heads; [`BodyDecoder`] reads bodies.
//! - [`forward_request`] and [`forward_response`] write a head for the next hop; [`chunk_head`] and
//!   [`last_chunk`] frame a body anew.
//! - [`ClientConnection`] says what comes next on a client's connection; [`after_response`] whether a
//!   backend's can be used again.

mod body;
mod connection;
pub mod driver;
mod encode;
mod forward;
mod framing;
mod head;
mod known;
mod request;
mod response;
mod syntax;
mod trailers;
mod websocket;

pub use body::{BodyDecoder, BodyFault, Decoded};
pub use connection::{
    Answer, ClientConnection, Event, IllegalEvent, Next, Reuse, UpstreamEnd, after_response,
};
pub use encode::{CHUNK_END, chunk_head, last_chunk};
pub use forward::{
    ClientFields, ForwardContext, ResponseContext, ResponseFraming, forward_request,
    forward_response,
};
pub use framing::FramingFault;
pub use head::{Field, HeadLimits, Span, Version, may_complete};
pub use known::Known;
pub(super) use request::authority::Authority;
pub use request::{Method, RequestBody, RequestFault, RequestHead, TargetForm, parse_request};
pub use response::{AskedBy, ResponseBody, ResponseFault, ResponseHead, parse_response};
pub use syntax::Syntax;
pub use trailers::Trailers;
pub(super) use trailers::is_trailer;
pub use websocket::{WebSocketAccept, is_websocket};
