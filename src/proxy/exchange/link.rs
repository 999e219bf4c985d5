//! A connection to an endpoint, as an exchange uses it whose two sides do not both speak HTTP/1.

use std::io;
use std::task::{Context, Poll};

use super::http1_link::Http1Link;
use super::http2_link::Http2Link;
use super::piece::Piece;
use crate::proxy::attempts::{Truncated, Unanswered};
use crate::proxy::http1::{AskedBy, Field, ResponseBody, ResponseHead};

/// One exchange's use of a connection.
pub(in crate::proxy) enum Link {
    Http1(Box<Http1Link>),
    Http2(Box<Http2Link>),
}

impl Link {
    /// Whether any of the request may have reached the endpoint.
    pub(in crate::proxy) fn sent(&self) -> u64 {
        match self {
            Self::Http1(link) => link.sent(),
            // Only the endpoint's own word that it did nothing counts ([`Unanswered::is_unprocessed`]).
            Self::Http2(_) => 1,
        }
    }

    /// Takes a piece of the request's body, once the last one is flushed.
    pub(in crate::proxy) fn put(&mut self, piece: Piece) {
        match self {
            Self::Http1(link) => link.put(piece),
            Self::Http2(link) => link.put(piece),
        }
    }

    /// Ready once all that was put is on its way; the bytes of content that were.
    pub(in crate::proxy) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Http1(link) => link.poll_flush(cx),
            Self::Http2(link) => link.poll_flush(cx),
        }
    }

    /// Reads the next head of the response: interim ones, then the final one.
    pub(in crate::proxy) fn poll_head(
        &mut self,
        asked: AskedBy,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, Unanswered>> {
        match self {
            Self::Http1(link) => link.poll_head(asked, cx),
            Self::Http2(link) => link.poll_head(asked, cx),
        }
    }

    /// The last head's bytes and fields.
    pub(in crate::proxy) fn head_parts(&self) -> (&[u8], &[Field]) {
        match self {
            Self::Http1(link) => (link.head_bytes(), &link.sheet.fields),
            Self::Http2(link) => (&link.sheet.bytes, &link.sheet.fields),
        }
    }

    /// The last head is done with. `body` follows it, where it was the final one.
    pub(in crate::proxy) fn consume_head(&mut self, body: Option<ResponseBody>) {
        match self {
            Self::Http1(link) => link.consume_head(body),
            Self::Http2(link) => link.consume_head(body),
        }
    }

    /// The last head said that a `WebSocket` is open: its bytes follow, both ways.
    pub(in crate::proxy) fn open_tunnel(&mut self) {
        if let Self::Http1(link) = self {
            link.open_tunnel();
        }
    }

    /// Has the endpoint see that the end, which follows, is none.
    pub(in crate::proxy) fn reset(&mut self) {
        match self {
            Self::Http1(link) => link.reset(),
            Self::Http2(link) => link.reset(),
        }
    }

    /// The endpoint was silent for as long as is waited for it. A connection of HTTP/1 ends with that; one of
    /// HTTP/2 has others to serve.
    pub(in crate::proxy) fn doubt(&self) {
        if let Self::Http2(link) = self {
            link.doubt();
        }
    }

    /// The next piece of the response's body.
    pub(in crate::proxy) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Piece, Truncated>> {
        match self {
            Self::Http1(link) => link.poll_piece(cx),
            Self::Http2(link) => link.poll_piece(cx),
        }
    }

    /// Whether the response has no body, or all of it was read.
    pub(in crate::proxy) fn is_read(&self) -> bool {
        match self {
            Self::Http1(link) => link.is_read(),
            Self::Http2(link) => link.is_read(),
        }
    }
}
