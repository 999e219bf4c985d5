//! The client's side of an exchange: one request's body as it comes, and the response as it goes, whatever the
//! client's connection speaks.

use std::task::{Context, Poll};

use super::piece::Piece;
use crate::proxy::http1::{BodyFault, ResponseFraming, Version};

/// Why an exchange cannot go on with its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum CallerFault {
    /// It has given the request up, or its connection is gone.
    Gone,
    /// The request's body is malformed.
    Malformed(BodyFault),
}

/// The client's side of an exchange.
pub(in crate::proxy) trait Caller {
    /// What responses are written for.
    fn version(&self) -> Version;

    /// Whether the response's head, which goes out now, is to say that the connection closes.
    fn closes(&self, framing: ResponseFraming) -> bool;

    /// The next piece of the request's body; after its last, [`Piece::END`].
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, CallerFault>>;

    /// So many bytes of the body are with the endpoint: the client may send as many more.
    fn passed_on(&mut self, bytes: usize);

    /// Nothing more of the body is read.
    fn give_up_body(&mut self);

    /// Sends an interim response, as `forward_response` wrote it.
    fn interim(&mut self, head: &[u8]) -> Result<(), CallerFault>;

    /// Tells the client to send its body, by a 100 as `forward_response` wrote it; not where it was told before.
    fn proceed(&mut self, head: &[u8]) -> Result<(), CallerFault>;

    /// Whether the client was told to send its body, in this attempt or an earlier one.
    fn is_continued(&self) -> bool;

    /// Says that a `WebSocket` is open, as `forward_response` wrote it: what is read and sent from here on is its
    /// bytes, and the end of each direction its closing.
    fn switch(&mut self, head: &[u8]) -> Result<(), CallerFault>;

    /// Begins the response, as `forward_response` wrote its head; `ends` where it has no body.
    fn begin(
        &mut self,
        head: &[u8],
        framing: ResponseFraming,
        ends: bool,
    ) -> Result<(), CallerFault>;

    /// Whether the response has begun.
    fn has_begun(&self) -> bool;

    /// Gives the next piece of the response to the connection, once there is room.
    fn send(&mut self, piece: Piece) -> Result<(), CallerFault>;

    /// Ready once the connection has taken all that was given.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallerFault>>;

    /// Ready once another piece may be given: until then nothing more is read from the endpoint.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallerFault>>;

    /// Ready once the client has given the request up.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
