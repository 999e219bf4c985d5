//! What is being written to one side: some bytes of our own, a piece of the other side's buffer, some
//! more of our own; in one system call where the kernel takes it all.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// One piece of a message on its way out.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Before the data: a head, or a chunk's line.
    pub front: Vec<u8>,
    /// The data, within the other side's unread bytes.
    data: Range<usize>,
    /// After the data: a chunk's end, the last chunk.
    pub back: Vec<u8>,
    /// How much of `front` belongs to every attempt at the message.
    sealed: usize,
    written: usize,
    consumed: usize,
    total: u64,
}

impl Outgoing {
    /// Empty, for a new message.
    pub fn reset(&mut self) {
        self.clear();
        self.total = 0;
    }

    /// Ready for the next piece of the same message.
    pub fn clear(&mut self) {
        self.front.clear();
        self.sealed = 0;
        self.back.clear();
        self.data = 0..0;
        self.written = 0;
        self.consumed = 0;
    }

    /// The head stands in `front`. What is put behind it from here on belongs to one attempt only.
    pub fn seal(&mut self) {
        self.sealed = self.front.len();
    }

    /// From the start again, with nothing but the head: another endpoint gets the same. What one attempt
    /// put behind it would shift the framing of the next one's body.
    pub fn rewind(&mut self) {
        self.front.truncate(self.sealed);
        self.back.clear();
        self.data = 0..0;
        self.written = 0;
        self.consumed = 0;
        self.total = 0;
    }

    /// The piece has this data, and uses up so many of the other side's unread bytes.
    pub fn carry(&mut self, data: Range<usize>, consumed: usize) {
        self.data = data;
        self.consumed = consumed;
    }

    /// The piece's data, within the other side's unread bytes.
    pub fn data<'s>(&self, source: &'s [u8]) -> &'s [u8] {
        &source[self.data.clone()]
    }

    /// The unread bytes that it uses up, once written.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// Bytes of this message that were written so far: Law 7 is decided by it.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether a part of the piece is out.
    pub fn has_begun(&self) -> bool {
        self.written > 0
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.written == self.front.len() + self.data.len() + self.back.len()
    }

    /// Writes until the whole piece is out, as far as the kernel. `source` are the other side's unread bytes.
    pub fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        source: &[u8],
        sink: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let mut skip = self.written;
            let mut slices = [IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
            let mut used = 0;
            for part in [&self.front[..], &source[self.data.clone()], &self.back[..]] {
                let rest = &part[skip.min(part.len())..];
                skip -= part.len() - rest.len();
                if !rest.is_empty() {
                    slices[used] = IoSlice::new(rest);
                    used += 1;
                }
            }
            let count = match &slices[..used] {
                [one] => ready!(Pin::new(&mut *sink).poll_write(cx, one))?,
                several => ready!(Pin::new(&mut *sink).poll_write_vectored(cx, several))?,
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.total += count as u64;
        }
        // What TLS has taken may still be with it.
        Pin::new(sink).poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes at most so many bytes a call.
    struct Slow(Vec<u8>, usize);

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.1);
            self.0.extend_from_slice(&buf[..count]);
            Poll::Ready(Ok(count))
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).collect();
            self.poll_write(cx, &all)
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn another_attempt_begins_with_the_head_alone() {
        let mut out = Outgoing::default();
        out.front.extend_from_slice(b"HEAD");
        out.seal();
        out.front.extend_from_slice(b"5\r\n");
        out.carry(0..5, 7);
        out.back.extend_from_slice(b"\r\n");
        out.rewind();
        let mut sink = Slow(Vec::new(), 99);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(out.poll_write(b"hello\r\n", &mut sink, &mut cx).is_ready());
        assert_eq!((&sink.0[..], out.consumed()), (&b"HEAD"[..], 0));
    }

    #[test]
    fn however_little_the_kernel_takes_the_bytes_come_out_in_order() {
        for step in 1..14 {
            let mut out = Outgoing::default();
            out.front.extend_from_slice(b"5\r\n");
            out.carry(2..7, 9);
            out.back.extend_from_slice(b"\r\n");
            let mut sink = Slow(Vec::new(), step);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(out.poll_write(b"..hello..", &mut sink, &mut cx).is_ready());
            assert_eq!(sink.0, b"5\r\nhello\r\n", "{step} bytes a time");
            assert_eq!((out.total(), out.is_empty(), out.consumed()), (10, true, 9));
        }
    }

    /// Takes everything at once, and has passed it on when it is asked for the second time: TLS before a
    /// socket that is full.
    #[derive(Default)]
    struct Holding {
        flushes: u32,
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            if self.flushes < 2 {
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_piece_is_out_when_it_was_passed_on_and_counts_as_sent_before() {
        let mut out = Outgoing::default();
        out.front.extend_from_slice(b"head");
        let mut sink = Holding::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(out.poll_write(b"", &mut sink, &mut cx).is_pending());
        assert_eq!(out.total(), 4);
        assert!(out.poll_write(b"", &mut sink, &mut cx).is_ready());
        assert_eq!(out.total(), 4);
    }
}
