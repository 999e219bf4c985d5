//! A connection to an endpoint, as an exchange uses it whose two sides do not both speak HTTP/1.

use std::io;
use std::task::{Context, Poll};

use super::http1_link::Http1Link;
use super::http2_link::Http2Link;
use super::piece::Piece;
use crate::proxy::http1::{AskedBy, Field, ResponseBody, ResponseHead};

/// What went wrong on the endpoint's side.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum LinkFault {
    /// The connection ended before an answer; the endpoint may have acted on what it got.
    #[error("the endpoint closed the connection without an answer")]
    Closed,
    /// The endpoint says that it has done nothing with the request (RFC 9113 section 8.7).
    #[error("the endpoint refused the stream")]
    Unprocessed,
    /// What it sent is no response.
    #[error("{0}")]
    Broken(String),
    /// The response broke off within its body.
    #[error("the response broke off")]
    Truncated,
}

/// The head of a response, read.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Received {
    pub(in crate::proxy) head: ResponseHead,
}

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
            // Only the endpoint's own word that it did nothing counts (`LinkFault::Unprocessed`).
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
    ) -> Poll<Result<Received, LinkFault>> {
        match self {
            Self::Http1(link) => link.poll_head(asked, cx),
            Self::Http2(link) => link.poll_head(asked.method, cx),
        }
    }

    /// The last head's bytes and fields.
    pub(in crate::proxy) fn head_parts(&self) -> (&[u8], &[Field]) {
        match self {
            Self::Http1(link) => (link.head_bytes(), &link.fields),
            Self::Http2(link) => (&link.bytes, &link.fields),
        }
    }

    /// The last head is done with. `body` follows it, where it was the final one.
    pub(in crate::proxy) fn consume_head(&mut self, body: Option<ResponseBody>) {
        if let Self::Http1(link) = self {
            link.consume_head(body);
        }
    }

    /// The next piece of the response's body.
    pub(in crate::proxy) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Piece, LinkFault>> {
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
