//! One direction of a tunnel: through a buffer, and through a pipe once it has proved to be bulk.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Side;
use crate::proxy::buffer::Buffer;
use crate::proxy::splice::{Lent, PipePool};

/// Bytes that a direction passes on before others of the worker get their turn.
const TURN: u64 = 1024 * 1024;

/// What a direction has to bring at once to stay bulk: a small buffer's worth. Below that a read and a write
/// cost less than two splices and the handling of pages.
const BULK: u64 = 16 * 1024;

/// One direction. Small exchanges go through a buffer, which costs two system calls and a copy of a few
/// bytes. A pipe costs as many calls and saves the copy, so it is worth it where there is much to copy: a
/// direction goes over to it when a read filled the buffer, and back when it brings little.
pub(super) struct Way<'a> {
    state: State,
    buffer: &'a mut Buffer,
    pipes: &'a Rc<PipePool>,
    /// Held while there is something in it that the sink does not take yet.
    pipe: Option<Lent>,
    is_bulk: bool,
    /// Bytes spliced since the source last had none.
    brought: u64,
    moved: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended; what is left is written, then the sink's side is closed.
    Ending,
    Over,
}

impl<'a> Way<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, pipes: &'a Rc<PipePool>) -> Self {
        Self {
            state: State::Open,
            buffer,
            pipes,
            pipe: None,
            is_bulk: false,
            brought: 0,
            moved: 0,
        }
    }

    /// Bytes that the sink has taken since this was last asked.
    pub(super) fn take_moved(&mut self) -> u64 {
        std::mem::take(&mut self.moved)
    }

    /// Moves what can be moved. Ready when the source has ended and the sink was told.
    pub(super) fn poll<S: Side, K: Side>(
        &mut self,
        source: &mut S,
        sink: &mut K,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.state != State::Over {
            ready!(self.poll_write_out(sink, cx))?;
            if self.state == State::Ending {
                ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                self.state = State::Over;
            } else if self.moved >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else if ready!(self.poll_read(source, sink, cx))? == 0 {
                self.state = State::Ending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes until nothing is held back.
    fn poll_write_out<K: Side>(
        &mut self,
        sink: &mut K,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let count = ready!(Pin::new(&mut *sink).poll_write(cx, self.buffer.filled()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.consume(count);
            self.moved += count as u64;
        }
        // What TLS has taken may still be with it.
        ready!(Pin::new(&mut *sink).poll_flush(cx))?;
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
            let sink = sink.socket();
            ready!(sink.poll_write_ready(cx))?;
            match sink.try_io(Interest::WRITABLE, || pipe.drain(sink)) {
                // It holds something, and the sink took none of it: that would go on for ever.
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.moved += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more, where nothing is held back: the number of bytes, 0 at the source's end.
    fn poll_read<S: Side, K: Side>(
        &mut self,
        source: &mut S,
        sink: &K,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_bulk
            && sink.plain().is_some()
            && let Some(socket) = source.plain()
        {
            match self.poll_splice(socket, cx) {
                Poll::Ready(Ok(Some(count))) => return Poll::Ready(Ok(count)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
                // No pipe: on with buffers.
                Poll::Ready(Ok(None)) => {}
            }
        }
        let count = ready!(self.buffer.poll_fill(source, cx))?;
        self.is_bulk = self.buffer.filled_up();
        Poll::Ready(Ok(count))
    }

    /// Fills a pipe; `None` where there is none to be had.
    fn poll_splice(
        &mut self,
        source: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        loop {
            if source.poll_read_ready(cx)?.is_pending() {
                self.pause();
                return Poll::Pending;
            }
            let pipe = match self.pipe.take() {
                Some(pipe) => Some(pipe),
                None => self.pipes.take(),
            };
            let Some(pipe) = pipe else {
                return Poll::Ready(Ok(None));
            };
            // What the buffer was lent is for others now.
            self.buffer.release_if_empty();
            let pipe = self.pipe.insert(pipe);
            match source.try_io(Interest::READABLE, || pipe.fill(source)) {
                Ok(0) => {
                    self.pipe = None;
                    return Poll::Ready(Ok(Some(0)));
                }
                Ok(count) => {
                    self.brought += count as u64;
                    return Poll::Ready(Ok(Some(count)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_refused(&error) => {
                    self.pipe = None;
                    self.pipes.rest();
                    return Poll::Ready(Ok(None));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The source has nothing now: its pipe, which is empty, is for others, and where it has brought little
    /// the next of it goes through the buffer.
    fn pause(&mut self) {
        self.pipe = None;
        let brought = std::mem::take(&mut self.brought);
        if (1..BULK).contains(&brought) {
            self.is_bulk = false;
        }
    }
}

/// Whether the kernel splices nothing of this kind, or nothing for us.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::buffer::BufferPool;
    use std::future::poll_fn;
    use std::io::{Read, Write};

    async fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        (near.await.unwrap(), listener.accept().unwrap().0)
    }

    /// Passes on what is sent in such pieces, each when the one before has arrived.
    async fn pass_on(pieces: &'static [usize], pipes: &Rc<PipePool>) {
        let buffers = Rc::new(BufferPool::default());
        let mut buffer = Buffer::new(&buffers);
        let ((mut source, mut sender), (mut sink, mut receiver)) = (pair().await, pair().await);
        let other_end = std::thread::spawn(move || {
            for (at, length) in pieces.iter().enumerate() {
                let byte = at.to_le_bytes()[0];
                std::thread::scope(|scope| {
                    scope.spawn(|| sender.write_all(&vec![byte; *length]).unwrap());
                    let mut got = vec![0; *length];
                    receiver.read_exact(&mut got).unwrap();
                    assert!(got.iter().all(|one| *one == byte), "piece {at}");
                });
            }
            drop(sender);
            assert_eq!(receiver.read(&mut [0]).unwrap(), 0);
        });
        let mut way = Way::new(&mut buffer, pipes);
        poll_fn(|cx| {
            let polled = way.poll(&mut source, &mut sink, cx);
            way.take_moved();
            polled
        })
        .await
        .unwrap();
        drop(way);
        other_end.join().unwrap();
    }

    #[tokio::test]
    async fn much_goes_through_a_pipe_and_small_exchanges_pay_for_none() {
        let pipes = Rc::new(PipePool::default());
        pass_on(&[1, 100, 5000, 16_000, 7], &pipes).await;
        assert_eq!(pipes.made(), 0);
        pass_on(&[1, 1_000_000, 3, 5_000_000, 9, 9], &pipes).await;
        assert_eq!(pipes.made(), 1);
    }

    #[tokio::test]
    async fn where_there_is_no_pipe_left_buffers_go_on() {
        let pipes = Rc::new(PipePool::default());
        let all: Vec<_> = std::iter::from_fn(|| pipes.take()).collect();
        let made = pipes.made();
        pass_on(&[1, 3_000_000, 3], &pipes).await;
        assert_eq!((pipes.made(), all.len()), (made, made));
    }
}
