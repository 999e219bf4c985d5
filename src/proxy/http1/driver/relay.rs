//! One body on its way from one side's buffer to the other side's socket: read piece by piece and framed
//! anew. The upload and the download of an exchange each own one.

use super::super::{BodyDecoder, BodyFault, CHUNK_END, Decoded, chunk_head, last_chunk};
use super::outgoing::Outgoing;
use crate::proxy::buffer::Buffer;

/// Reads a body and frames it for the other side.
#[derive(Debug)]
pub(super) struct BodyRelay {
    decoder: BodyDecoder,
    /// Whether it goes out in chunks, however it came.
    chunked: bool,
    /// Data that was found while the framing before it was read: the next piece.
    ahead: Option<Decoded>,
}

impl BodyRelay {
    pub(super) fn new(body: impl Into<BodyDecoder>, chunked: bool) -> Self {
        Self {
            decoder: body.into(),
            chunked,
            ahead: None,
        }
    }

    /// Whether the body was read to its end, and its last piece was framed.
    pub(super) fn is_over(&self) -> bool {
        self.is_read() && self.ahead.is_none()
    }

    /// Whether the body was read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.decoder.is_finished()
    }

    /// Bytes of the source that were read for the next piece: they are the body's, too.
    pub(super) fn ahead(&self) -> usize {
        self.ahead.as_ref().map_or(0, |piece| piece.consumed)
    }

    /// Frames the next piece that is in `source` behind what stands in `out`, and says how many bytes of
    /// content it has; `None` where there is nothing to send yet.
    pub(super) fn frame(
        &mut self,
        source: &mut Buffer,
        out: &mut Outgoing,
    ) -> Result<Option<usize>, BodyFault> {
        loop {
            let piece = self.next(source.filled())?;
            if piece.data.is_empty() && !piece.finished {
                source.consume(piece.consumed);
                if piece.consumed == 0 || source.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            let length = piece.data.len();
            if self.chunked {
                chunk_head(length as u64, &mut out.front);
                if length > 0 {
                    out.back.extend_from_slice(CHUNK_END);
                }
                if piece.finished {
                    last_chunk(self.decoder.trailers().iter(), &mut out.back);
                }
            }
            out.carry(piece.data, piece.consumed);
            return Ok(Some(length));
        }
    }

    /// The source has ended: frames the end of a body that may end so.
    pub(super) fn frame_end(&mut self, out: &mut Outgoing) -> Result<(), BodyFault> {
        self.decoder.finish_at_eof()?;
        if self.chunked {
            last_chunk(std::iter::empty(), &mut out.back);
        }
        Ok(())
    }

    /// The next piece. Framing that follows its data is joined to it, so that the end of a body goes out
    /// with its last piece; data that follows is kept for the next turn.
    fn next(&mut self, unread: &[u8]) -> Result<Decoded, BodyFault> {
        let mut piece = match self.ahead.take() {
            Some(piece) => piece,
            None => self.decoder.decode(unread)?,
        };
        if self.chunked && !piece.finished && !piece.data.is_empty() {
            let next = self.decoder.decode(&unread[piece.consumed..])?;
            if next.data.is_empty() {
                piece.consumed += next.consumed;
                piece.finished = next.finished;
            } else {
                self.ahead = Some(next);
            }
        }
        Ok(piece)
    }
}
