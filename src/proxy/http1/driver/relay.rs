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
        let piece = self.next(source.filled())?;
        if piece.data.is_empty() && !piece.finished && out.is_empty() {
            source.consume(piece.consumed);
            return Ok(None);
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
        // Behind a head even framing alone is used up only once the head is out: an attempt of which
        // nothing was sent leaves the body as it found it (Law 7).
        out.carry(piece.data, piece.consumed);
        Ok(Some(length))
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

#[cfg(test)]
mod tests {
    use super::super::super::RequestBody;
    use super::*;
    use crate::proxy::buffer::BufferPool;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    /// Reads what has come into `buffer`.
    fn come(buffer: &mut Buffer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(buffer.poll_fill(&mut bytes, &mut cx).is_ready());
        }
    }

    /// Writes `out` whole, as an endpoint gets it, and uses up what it carried.
    fn go(buffer: &mut Buffer, out: &mut Outgoing, got: &mut Vec<u8>) {
        let mut cx = Context::from_waker(Waker::noop());
        let written = out.poll_write(buffer.filled(), got, &mut cx);
        assert!(matches!(written, Poll::Ready(Ok(()))));
        buffer.consume(out.consumed());
        out.clear();
    }

    const HEAD: &str = "HEAD\r\n\r\n";

    fn head() -> Outgoing {
        let mut out = Outgoing::default();
        out.front.extend_from_slice(HEAD.as_bytes());
        out.seal();
        out
    }

    /// What an endpoint gets of a chunked body that comes in two segments, behind the head.
    fn sent_in_two(body: &str, cut: usize, attempts: usize) -> String {
        let mut buffer = Buffer::new(&Rc::new(BufferPool::default()));
        let mut out = head();
        come(&mut buffer, &body.as_bytes()[..cut]);
        // Attempts of which nothing was sent.
        for _ in 1..attempts {
            let mut relay = BodyRelay::new(RequestBody::Chunked, true);
            relay.frame(&mut buffer, &mut out).unwrap();
            out.rewind();
        }
        let mut relay = BodyRelay::new(RequestBody::Chunked, true);
        let mut got = Vec::new();
        relay.frame(&mut buffer, &mut out).unwrap();
        go(&mut buffer, &mut out, &mut got);
        come(&mut buffer, &body.as_bytes()[cut..]);
        while !relay.is_over() && relay.frame(&mut buffer, &mut out).unwrap().is_some() {
            go(&mut buffer, &mut out, &mut got);
        }
        assert!(relay.is_over() && buffer.is_empty());
        String::from_utf8(got).unwrap()
    }

    /// The content of what `sent_in_two` returns.
    fn content(sent: &str) -> String {
        let body = sent.strip_prefix(HEAD).unwrap();
        let mut decoder = BodyDecoder::from(RequestBody::Chunked);
        let (mut at, mut content) = (0, String::new());
        while !decoder.is_finished() {
            let piece = decoder.decode(&body.as_bytes()[at..]).unwrap();
            assert!(piece.consumed > 0, "{body:?}");
            content.push_str(&body[at..][piece.data]);
            at += piece.consumed;
        }
        assert_eq!(at, body.len(), "{body:?}");
        content
    }

    const BODY: &str = "5;a=b\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";

    #[test]
    fn a_body_arrives_whole_wherever_it_was_cut() {
        for cut in 1..BODY.len() {
            assert_eq!(content(&sent_in_two(BODY, cut, 1)), "hello world", "{cut}");
        }
    }

    #[test]
    fn an_attempt_of_which_nothing_was_sent_leaves_nothing_behind() {
        for cut in 1..BODY.len() {
            let once = sent_in_two(BODY, cut, 1);
            assert_eq!(sent_in_two(BODY, cut, 3), once, "cut at {cut}");
        }
    }

    #[test]
    fn the_end_of_a_body_goes_out_with_its_last_piece() {
        let mut buffer = Buffer::new(&Rc::new(BufferPool::default()));
        let mut relay = BodyRelay::new(RequestBody::Chunked, true);
        let (mut out, mut got) = (head(), Vec::new());
        come(&mut buffer, b"5\r\nhello\r\n0\r\n\r\nNEXT");
        assert_eq!(relay.frame(&mut buffer, &mut out), Ok(Some(5)));
        assert!(relay.is_over());
        go(&mut buffer, &mut out, &mut got);
        assert_eq!(got, b"HEAD\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(buffer.filled(), b"NEXT");
    }
}
