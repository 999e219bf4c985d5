//! Pipes that carry bulk data from one socket to another without copying it through the process: splice(2)
//! moves references to the kernel's pages. Lent by a pool of the worker to a direction of a tunnel, for as
//! long as there is something in them.
//!
//! The kernel limits the pages of all pipes of a user (`/proc/sys/fs/pipe-user-pages-soft`); beyond that a
//! new pipe holds next to nothing, and beyond the hard limit there is none. So a pool has a bound of its own,
//! and whoever gets no pipe goes on with buffers.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, pipe_with, splice};
use tokio::net::TcpStream;

/// Pipes that one worker has at most. One that is empty is given back at once, so these are connections
/// whose receiver is slow, all at the same time.
const MOST: usize = 128;
/// Pipes that are kept for the next: a worker moves one direction at a time.
const KEPT: usize = 16;
/// What a pipe must hold, in bytes: the kernel's default. One that holds less has met the user's limit.
const CAPACITY: usize = 64 * 1024;
/// Bytes that are asked for at once. What fits is up to the pipe: a slot of it takes a whole fragment of
/// what the network card or a peer's kernel wrote, which may be longer than a page.
const PIECE: usize = 1024 * 1024;
/// How many askers go away empty after a pipe was not to be had, before one is asked of the kernel again.
const PAUSE: u32 = 1024;

/// A worker's pipes.
#[derive(Debug, Default)]
pub struct PipePool {
    spare: RefCell<Vec<Pipe>>,
    made: Cell<usize>,
    pause: Cell<u32>,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe while it is used; goes back to its pool when dropped.
#[derive(Debug)]
pub struct Lent {
    pool: Rc<PipePool>,
    /// `None` once it was given back.
    pipe: Option<Pipe>,
    held: usize,
}

impl PipePool {
    /// An empty pipe; `None` where there is none to be had.
    pub fn take(self: &Rc<Self>) -> Option<Lent> {
        let spare = self.spare.borrow_mut().pop();
        let pipe = spare.or_else(|| self.make())?;
        Some(Lent {
            pool: Rc::clone(self),
            pipe: Some(pipe),
            held: 0,
        })
    }

    fn make(&self) -> Option<Pipe> {
        if self.made.get() >= MOST {
            return None;
        }
        if self.pause.get() > 0 {
            self.pause.set(self.pause.get() - 1);
            return None;
        }
        let made = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC);
        let large = made.ok().filter(|(read, _)| {
            fcntl_getpipe_size(read).is_ok_and(|capacity| capacity >= CAPACITY)
        });
        let Some((read, write)) = large else {
            self.pause.set(PAUSE);
            return None;
        };
        self.made.set(self.made.get() + 1);
        Some(Pipe { read, write })
    }

    /// Pipes that there are.
    #[cfg(test)]
    pub fn made(&self) -> usize {
        self.made.get()
    }

    /// Splicing does not work between these sockets, or at all (a sandbox may forbid it).
    pub fn rest(&self) {
        self.pause.set(PAUSE);
        let spare = self.spare.take();
        self.made.set(self.made.get() - spare.len());
    }
}

impl Lent {
    /// Bytes that are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes what the socket has. Only into an empty pipe: into one that is not, a full pipe and an empty
    /// socket could not be told apart, and its few free slots would make small pieces. 0 is the end.
    pub fn fill(&mut self, source: &TcpStream) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0);
        let Some(pipe) = &self.pipe else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        self.held = splice(source, None, &pipe.write, None, PIECE, flags)?;
        Ok(self.held)
    }

    /// Gives the socket what it takes; how many bytes that is.
    pub fn drain(&mut self, sink: &TcpStream) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = splice(&pipe.read, None, sink, None, self.held, flags)?;
        self.held -= count;
        Ok(count)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.pool.spare.borrow_mut();
        match self.pipe.take() {
            Some(pipe) if self.held == 0 && spare.len() < KEPT => spare.push(pipe),
            // What is in it is nobody's any more.
            _ => self.pool.made.set(self.pool.made.get() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    async fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        (near.await.unwrap(), listener.accept().unwrap().0)
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let pool = Rc::new(PipePool::default());
        let ((source, mut sender), (sink, mut receiver)) = (pair().await, pair().await);
        let mut pipe = pool.take().unwrap();
        let nothing = pipe.fill(&source).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        sender.write_all(b"hello").unwrap();
        source.readable().await.unwrap();
        assert_eq!(pipe.fill(&source).unwrap(), 5);
        assert_eq!(pipe.drain(&sink).unwrap(), 5);
        assert_eq!(pipe.held(), 0);
        let mut got = [0; 5];
        receiver.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        drop(sender);
        source.readable().await.unwrap();
        let ended = loop {
            match pipe.fill(&source) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                ended => break ended.unwrap(),
            }
        };
        assert_eq!(ended, 0);
    }

    #[tokio::test]
    async fn there_are_only_so_many_and_one_with_something_in_it_is_thrown_away() {
        let pool = Rc::new(PipePool::default());
        let mut lent: Vec<_> = (0..MOST).map(|_| pool.take().unwrap()).collect();
        assert!(pool.take().is_none());
        let (source, mut sender) = pair().await;
        sender.write_all(b"x").unwrap();
        source.readable().await.unwrap();
        lent[0].fill(&source).unwrap();
        drop(lent.remove(0));
        assert!(pool.spare.borrow().is_empty());
        drop(lent);
        let kept = pool.spare.borrow().len();
        assert_eq!((kept, pool.made.get()), (KEPT, KEPT));
        let again = pool.take().unwrap();
        assert_eq!((again.held(), pool.made.get()), (0, KEPT));
    }

    #[test]
    fn after_a_refusal_the_kernel_is_left_alone_for_a_while() {
        let pool = Rc::new(PipePool::default());
        drop(pool.take().unwrap());
        pool.rest();
        assert_eq!(pool.made.get(), 0);
        assert!((0..PAUSE).all(|_| pool.take().is_none()));
        assert!(pool.take().is_some());
    }
}
