//! Read buffers, lent by a pool of the worker: a connection that waits for bytes holds none, so that an
//! idle one costs no more than its task and its socket.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of the buffer a message starts with.
const SMALL: usize = 16 * 1024;
/// Bytes of the buffer that a message gets once it filled the small one.
const LARGE: usize = 64 * 1024;
/// Buffers of each size that are kept for the next.
const KEPT: usize = 256;

/// A worker's spare buffers, zeroed once and used again.
#[derive(Debug, Default)]
pub struct BufferPool {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
}

impl BufferPool {
    fn take(&self, size: usize) -> Box<[u8]> {
        let spare = match size {
            SMALL => self.small.borrow_mut().pop(),
            LARGE => self.large.borrow_mut().pop(),
            _ => None,
        };
        spare.unwrap_or_else(|| vec![0; size].into_boxed_slice())
    }

    fn give(&self, storage: Box<[u8]>) {
        let kept = match storage.len() {
            SMALL => &self.small,
            LARGE => &self.large,
            _ => return,
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < KEPT {
            kept.push(storage);
        }
    }
}

/// What was read from one connection and not used yet.
#[derive(Debug)]
pub struct Buffer {
    pool: Rc<BufferPool>,
    storage: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    /// The last read filled all the room there was: the sender has more than a small buffer's worth.
    filled_up: bool,
}

impl Buffer {
    /// An empty buffer, without storage until something is read.
    pub fn new(pool: &Rc<BufferPool>) -> Self {
        Self {
            pool: Rc::clone(pool),
            storage: None,
            start: 0,
            end: 0,
            filled_up: false,
        }
    }

    /// The bytes not used yet.
    pub fn filled(&self) -> &[u8] {
        self.storage
            .as_deref()
            .map_or(&[], |bytes| &bytes[self.start..self.end])
    }

    /// The same, for who works on them in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.storage
            .as_deref_mut()
            .map_or(&mut [], |bytes| &mut bytes[self.start..self.end])
    }

    /// Room for at least `wanted` bytes behind what is there; [`Buffer::put`] says how many were written to it.
    pub fn room(&mut self, wanted: usize) -> &mut [u8] {
        let needed = self.end - self.start + wanted;
        let size = self.storage.as_deref().map_or(0, <[u8]>::len);
        if size < needed {
            let class = if needed <= SMALL {
                SMALL
            } else {
                needed.max(LARGE)
            };
            let mut larger = self.pool.take(class);
            larger[..self.end - self.start].copy_from_slice(self.filled());
            if let Some(smaller) = self.storage.replace(larger) {
                self.pool.give(smaller);
            }
            (self.start, self.end) = (0, self.end - self.start);
        } else if size - self.end < wanted {
            if let Some(storage) = &mut self.storage {
                storage.copy_within(self.start..self.end, 0);
            }
            (self.start, self.end) = (0, self.end - self.start);
        }
        let end = self.end;
        self.storage
            .as_deref_mut()
            .map_or(&mut [], |bytes| &mut bytes[end..])
    }

    /// `count` bytes were written to [`Buffer::room`].
    pub fn put(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.storage.as_deref().map_or(0, <[u8]>::len));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The first `count` bytes are used.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Reads more behind what is there: the number of bytes, 0 at the end of the stream. Storage is
    /// taken only for bytes that have come, and grows where one message needs more.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        io: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let storage = self.storage.get_or_insert_with(|| self.pool.take(SMALL));
        let mut room = ReadBuf::new(&mut storage[self.end..]);
        let capacity = room.capacity();
        let polled = Pin::new(io).poll_read(cx, &mut room);
        let count = room.filled().len();
        if polled.is_pending() || count == 0 {
            self.release_if_empty();
        }
        ready!(polled)?;
        self.end += count;
        self.filled_up = count == capacity;
        Poll::Ready(Ok(count))
    }

    /// Whether the last read filled all the room there was: there is probably more.
    pub fn filled_up(&self) -> bool {
        self.filled_up
    }

    /// Gives the storage back to the pool where it holds nothing.
    pub fn release_if_empty(&mut self) {
        if self.is_empty()
            && let Some(storage) = self.storage.take()
        {
            self.pool.give(storage);
        }
    }

    #[cfg(test)]
    pub(in crate::proxy) fn has_no_storage(&self) -> bool {
        self.storage.is_none()
    }

    fn make_room(&mut self) {
        let empty = self.is_empty();
        let Some(storage) = &mut self.storage else {
            return;
        };
        if empty && self.filled_up && storage.len() < LARGE {
            let small = std::mem::replace(storage, self.pool.take(LARGE));
            self.pool.give(small);
        } else if self.end == storage.len() {
            if self.start > 0 {
                storage.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                let size = if storage.len() < LARGE {
                    LARGE
                } else {
                    storage.len() * 2
                };
                let mut larger = self.pool.take(size);
                larger[..self.end].copy_from_slice(&storage[..self.end]);
                self.pool.give(std::mem::replace(storage, larger));
            }
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(storage) = self.storage.take() {
            self.pool.give(storage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn fill(buffer: &mut Buffer, bytes: &[u8]) -> usize {
        let mut source = bytes;
        let mut cx = Context::from_waker(Waker::noop());
        match buffer.poll_fill(&mut source, &mut cx) {
            Poll::Ready(Ok(count)) => count,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in_however_the_buffer_grows() {
        let pool = Rc::new(BufferPool::default());
        let mut buffer = Buffer::new(&pool);
        let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let (mut at, mut seen) = (0, Vec::new());
        while at < sent.len() {
            at += fill(&mut buffer, &sent[at..]);
            // Use what there is but a rest, so that the buffer has to move and to grow.
            let keep = buffer.filled().len().min(5000);
            let used = buffer.filled().len() - keep;
            seen.extend_from_slice(&buffer.filled()[..used]);
            buffer.consume(used);
        }
        seen.extend_from_slice(buffer.filled());
        assert_eq!(seen, sent);
    }

    #[test]
    fn bytes_that_are_put_come_out_as_they_went_in_however_the_buffer_grows() {
        let pool = Rc::new(BufferPool::default());
        let mut buffer = Buffer::new(&pool);
        let (mut sent, mut seen) = (Vec::new(), Vec::new());
        for round in 0..40_u8 {
            let piece = vec![round; 1 + 997 * usize::from(round)];
            let room = buffer.room(piece.len());
            assert!(room.len() >= piece.len());
            room[..piece.len()].copy_from_slice(&piece);
            buffer.put(piece.len());
            sent.extend_from_slice(&piece);
            let used = buffer.filled().len() / 2;
            seen.extend_from_slice(&buffer.filled_mut()[..used]);
            buffer.consume(used);
        }
        seen.extend_from_slice(buffer.filled());
        assert_eq!(seen, sent);
    }

    #[test]
    fn an_empty_buffer_holds_no_storage() {
        let pool = Rc::new(BufferPool::default());
        let mut buffer = Buffer::new(&pool);
        assert_eq!(fill(&mut buffer, b""), 0);
        assert!(buffer.storage.is_none());
        fill(&mut buffer, b"abc");
        buffer.consume(3);
        buffer.release_if_empty();
        assert!(buffer.storage.is_none());
        assert_eq!(pool.small.borrow().len(), 1);
    }
}
