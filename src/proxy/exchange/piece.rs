//! What bodies are made of on their way between two connections that do not both speak HTTP/1.

use bytes::Bytes;
use http::HeaderMap;

/// A part of a body.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Piece {
    /// Content; may be empty.
    pub(in crate::proxy) data: Bytes,
    /// What comes after it.
    pub(in crate::proxy) then: Then,
}

/// What comes after a piece.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Then {
    /// More of the body.
    More,
    /// Nothing: the body is whole.
    End,
    /// Trailers; with them the body is whole. Boxed: most pieces have none, and they are moved about.
    Trailers(Box<HeaderMap>),
}

impl Piece {
    /// The end of a body that had nothing more.
    pub(in crate::proxy) const END: Self = Self {
        data: Bytes::new(),
        then: Then::End,
    };

    /// Content, with more to come.
    pub(in crate::proxy) fn more(data: Bytes) -> Self {
        Self {
            data,
            then: Then::More,
        }
    }

    /// Whether the body is whole with it.
    pub(in crate::proxy) fn is_last(&self) -> bool {
        !matches!(self.then, Then::More)
    }
}
