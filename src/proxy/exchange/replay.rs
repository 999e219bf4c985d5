//! What was read of a request's body, kept while it is short and no answer has begun, so that another endpoint
//! can be given the same (Law 7): a call of gRPC is never without a body.

use bytes::Bytes;

use super::piece::{Piece, Then};

/// Bytes of a request's body that are kept for another attempt.
const KEPT: usize = 32 * 1024;

/// What is kept of one body.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Replay {
    /// Its first piece: most bodies have one, which costs no copy.
    first: Option<Piece>,
    /// All that came behind it.
    rest: Option<Rest>,
    bytes: usize,
    /// The next of the two that this attempt is given.
    at: usize,
    /// A part was given away and not kept.
    lost: bool,
    /// No other attempt will be made.
    committed: bool,
}

/// Pieces joined to one. A client chooses how small they are, and each by itself would hold more memory than it has
/// content: its own place, and whatever it was read with.
#[derive(Debug)]
struct Rest {
    content: Vec<u8>,
    /// What comes after the last of them.
    then: Then,
}

impl Replay {
    /// The next piece that an earlier attempt was given, too.
    pub(in crate::proxy) fn next(&mut self) -> Option<Piece> {
        let piece = match self.at {
            0 => self.first.clone(),
            1 => self.rest.as_ref().map(|rest| Piece {
                data: Bytes::copy_from_slice(&rest.content),
                then: rest.then.clone(),
            }),
            _ => None,
        };
        self.at += usize::from(piece.is_some());
        piece
    }

    fn count(&self) -> usize {
        usize::from(self.first.is_some()) + usize::from(self.rest.is_some())
    }

    fn clear(&mut self) {
        self.first = None;
        self.rest = None;
        self.at = 0;
    }

    /// Whether this attempt was given all that earlier ones were.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.at >= self.count()
    }

    /// A piece that came, and that this attempt is given.
    pub(in crate::proxy) fn keep(&mut self, piece: &Piece) {
        if self.committed || self.lost {
            return;
        }
        self.bytes += piece.data.len();
        if self.bytes <= KEPT {
            if self.first.is_none() {
                self.first = Some(piece.clone());
            } else {
                self.join(piece);
            }
            self.at = self.count();
        } else {
            self.lost = true;
            self.clear();
        }
    }

    fn join(&mut self, piece: &Piece) {
        let rest = self.rest.get_or_insert(Rest {
            content: Vec::new(),
            then: Then::More,
        });
        rest.content.extend_from_slice(&piece.data);
        rest.then = piece.then.clone();
    }

    /// Another attempt begins.
    pub(in crate::proxy) fn rewind(&mut self) {
        self.at = 0;
    }

    /// Whether another attempt could be given the body from its start.
    pub(in crate::proxy) fn can_rewind(&self) -> bool {
        !self.lost
    }

    /// No other attempt will be made.
    pub(in crate::proxy) fn commit(&mut self) {
        self.committed = true;
        if self.is_over() {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(length: usize) -> Piece {
        Piece::more(Bytes::from(vec![b'x'; length]))
    }

    #[test]
    fn another_attempt_is_given_the_same() {
        let mut replay = Replay::default();
        assert!(replay.next().is_none());
        replay.keep(&piece(1));
        replay.keep(&piece(2));
        assert!(replay.next().is_none() && replay.is_over());
        replay.rewind();
        let again: Vec<_> = std::iter::from_fn(|| replay.next())
            .map(|p| p.data.len())
            .collect();
        assert_eq!(again, [1, 2]);
        replay.commit();
        replay.keep(&piece(3));
        assert!(replay.is_over() && replay.can_rewind());
    }

    #[test]
    fn a_body_in_tiny_pieces_takes_no_more_than_its_content() {
        let mut replay = Replay::default();
        let content: Vec<u8> = (0..=250).cycle().take(KEPT).collect();
        for byte in content.chunks(1) {
            replay.keep(&Piece::more(Bytes::copy_from_slice(byte)));
        }
        replay.keep(&Piece::END);
        assert!(replay.is_over() && replay.next().is_none());
        replay.rewind();
        let again: Vec<_> = std::iter::from_fn(|| replay.next()).collect();
        assert_eq!(again.len(), 2);
        assert_eq!([&*again[0].data, &again[1].data].concat(), content);
        assert!(!again[0].is_last() && again[1].is_last());
    }

    #[test]
    fn what_comes_after_another_attempt_began_is_kept_behind_the_rest() {
        let mut replay = Replay::default();
        for part in ["a", "b"] {
            replay.keep(&Piece::more(part.into()));
        }
        replay.rewind();
        while replay.next().is_some() {}
        replay.keep(&Piece::more("c".into()));
        assert!(replay.next().is_none());
        replay.rewind();
        let again: Vec<_> = std::iter::from_fn(|| replay.next()).collect();
        let again: Vec<_> = again.iter().map(|piece| &*piece.data).collect();
        assert_eq!(again.concat(), b"abc");
    }

    #[test]
    fn what_is_too_long_is_not_kept_and_not_sent_again() {
        let mut replay = Replay::default();
        replay.keep(&piece(KEPT));
        assert!(replay.can_rewind());
        replay.keep(&piece(1));
        assert!(!replay.can_rewind() && replay.next().is_none());
    }
}
