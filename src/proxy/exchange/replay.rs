//! What was read of a request's body, kept while it is short and no answer has begun, so that another endpoint
//! can be given the same (Law 7): a call of gRPC is never without a body.

use super::piece::Piece;

/// Bytes of a request's body that are kept for another attempt.
const KEPT: usize = 32 * 1024;

/// The pieces of one body.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Replay {
    /// The first of what is kept: most bodies have one, which costs no list.
    first: Option<Piece>,
    more: Vec<Piece>,
    bytes: usize,
    /// The next of those that this attempt is given.
    at: usize,
    /// A part was given away and not kept.
    lost: bool,
    /// No other attempt will be made.
    committed: bool,
}

impl Replay {
    /// The next piece that an earlier attempt was given, too.
    pub(in crate::proxy) fn next(&mut self) -> Option<Piece> {
        let piece = match self.at.checked_sub(1) {
            None => self.first.as_ref(),
            Some(at) => self.more.get(at),
        };
        let piece = piece?.clone();
        self.at += 1;
        Some(piece)
    }

    fn count(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    fn clear(&mut self) {
        self.first = None;
        self.more = Vec::new();
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
                self.more.push(piece.clone());
            }
            self.at = self.count();
        } else {
            self.lost = true;
            self.clear();
        }
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
    use bytes::Bytes;

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
    fn what_is_too_long_is_not_kept_and_not_sent_again() {
        let mut replay = Replay::default();
        replay.keep(&piece(KEPT));
        assert!(replay.can_rewind());
        replay.keep(&piece(1));
        assert!(!replay.can_rewind() && replay.next().is_none());
    }
}
