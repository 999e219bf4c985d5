//! A TLS connection over a socket: records are read into and written from the worker's pooled buffers, in
//! reads and writes as large as those of a connection in clear text, and while it is idle it holds none.
//! (`rustls`' own buffers would stay with the connection, 4 KiB each, and are read into 4 KiB at a time.)
//!
//! A clean end is a `close_notify`. The end of the socket alone is an error: whoever cuts a connection must
//! not be able to pass off half of a response as a whole one (RFC 8446 section 6.1).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::session::Session;
use crate::proxy::buffer::{Buffer, BufferPool};

/// The longest record's plaintext (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;
/// More than a record is longer than its plaintext: header, explicit nonce, content type, tag.
const OVERHEAD: usize = 64;
/// Plaintext that is encrypted at once: with what its records add it fits a large buffer.
const MOST: usize = 4 * RECORD - 8 * OVERHEAD;
/// Plaintext that is gathered from several slices into one record, which fits a small buffer.
const GATHERED: usize = RECORD - OVERHEAD;

/// A TLS connection over a socket.
pub struct TlsStream<S> {
    socket: TcpStream,
    session: S,
    pool: Rc<BufferPool>,
    /// Records that were read and not decrypted yet.
    incoming: Buffer,
    /// Records that were made and not written yet.
    outgoing: Buffer,
    /// Decrypted and not taken yet.
    plain: Buffer,
    /// What is in `incoming` is no whole record.
    starved: bool,
    /// The peer has sent its `close_notify`.
    ended: bool,
    own_end: OwnEnd,
    /// Why nothing more is read, once what came before it was.
    failed: Option<io::Error>,
}

/// Whether something may still be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnEnd {
    Open,
    /// Our `close_notify` is made, or an alert: nothing follows.
    Said,
    /// Not even the end is said: a reset is to come.
    Silent,
}

/// What is to be done once the session may send.
#[derive(Clone, Copy)]
enum Wish<'a> {
    Nothing,
    Send(&'a [u8]),
    Close,
}

impl<S: Session> TlsStream<S> {
    /// A connection that has not shaken hands; `incoming` is what was read of it already.
    pub(super) fn new(
        socket: TcpStream,
        incoming: Buffer,
        session: S,
        pool: &Rc<BufferPool>,
    ) -> Self {
        Self {
            socket,
            session,
            pool: Rc::clone(pool),
            starved: false,
            incoming,
            outgoing: Buffer::new(pool),
            plain: Buffer::new(pool),
            ended: false,
            own_end: OwnEnd::Open,
            failed: None,
        }
    }

    /// The session, for what the handshake has come to.
    pub fn session(&self) -> &S {
        &self.session
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Says nothing more, not even that this is the end: what follows is a reset, and it must not look clean.
    pub fn silence(&mut self) {
        self.own_end = OwnEnd::Silent;
        self.outgoing = Buffer::new(&self.pool);
    }

    fn end(&mut self) {
        if self.own_end == OwnEnd::Open {
            self.own_end = OwnEnd::Said;
        }
    }

    /// Shakes hands.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.starved {
                self.advance(None, Wish::Nothing, cx)?;
                self.starved = true;
            }
            ready!(self.poll_drain(cx))?;
            if !self.session.state().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_more(cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                _ => self.starved = false,
            }
        }
    }

    /// Reads what is on the socket.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.incoming.poll_fill(&mut self.socket, cx)
    }

    /// Whether nothing of the pool is with this connection.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        let buffers = [&self.incoming, &self.outgoing, &self.plain];
        buffers.iter().all(|buffer| buffer.has_no_storage())
    }

    /// What was read and is not taken in.
    pub(super) fn unread(&self) -> &[u8] {
        self.incoming.filled()
    }

    /// The socket, for a connection that turned out to be no TLS.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// As [`TlsStream::drive`]; where it fails, tells the peer why as far as it takes it at once.
    fn advance(
        &mut self,
        sink: Option<&mut ReadBuf<'_>>,
        wish: Wish<'_>,
        cx: &mut Context<'_>,
    ) -> io::Result<bool> {
        let driven = self.drive(sink, wish);
        if driven.is_err() {
            self.collect_alert();
            let _ = self.poll_drain(cx);
            self.end();
        }
        driven
    }

    /// Has the session take in what has come, until it needs more of it or may send; then does what is wished,
    /// and says so. Plaintext goes to `sink` as far as there is room; what the session has to say, to
    /// `outgoing`.
    fn drive(&mut self, mut sink: Option<&mut ReadBuf<'_>>, wish: Wish<'_>) -> io::Result<bool> {
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.session.process(self.incoming.filled_mut());
            let mut done = None;
            match state.map_err(invalid)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        take(record.payload, sink.as_deref_mut(), &mut self.plain);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(&mut self.outgoing, |room| data.encode(room))?;
                }
                // It is: whoever drives writes it before anything else.
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::PeerClosed => self.ended = true,
                ConnectionState::Closed => {
                    self.ended = true;
                    done = Some(false);
                }
                ConnectionState::WriteTraffic(traffic) => {
                    fulfil(traffic, wish, &mut self.outgoing)?;
                    done = Some(true);
                }
                ConnectionState::BlockedHandshake => done = Some(false),
                _ => return Err(invalid("early data that was never allowed")),
            }
            self.incoming.consume(discard);
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// What the session wants to say about a failure.
    fn collect_alert(&mut self) {
        // One alert; bounded all the same.
        for _ in 0..4 {
            let status = self.session.process(self.incoming.filled_mut());
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else {
                return;
            };
            if encode(&mut self.outgoing, |room| data.encode(room)).is_err() {
                return;
            }
        }
    }

    /// Writes the records that were made.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, self.outgoing.filled());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outgoing.consume(count),
            }
        }
        self.outgoing.release_if_empty();
        Poll::Ready(Ok(()))
    }

    /// Makes records of as much of `parts` as goes out at once, and begins to write them.
    fn poll_send(
        &mut self,
        parts: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.own_end != OwnEnd::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // One batch at a time: what the socket does not take holds back who writes.
        ready!(self.poll_drain(cx))?;
        let mut taken = 0;
        for part in parts {
            let count = part.len().min(MOST - taken);
            if count > 0 {
                if !self.advance(None, Wish::Send(&part[..count]), cx)? {
                    return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                }
                taken += count;
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }
}

/// Plaintext, to who reads as far as there is room.
fn take(payload: &[u8], sink: Option<&mut ReadBuf<'_>>, kept: &mut Buffer) {
    let mut rest = payload;
    if let Some(sink) = sink
        && kept.is_empty()
    {
        let (now, later) = payload.split_at(payload.len().min(sink.remaining()));
        sink.put_slice(now);
        rest = later;
    }
    if !rest.is_empty() {
        kept.room(rest.len())[..rest.len()].copy_from_slice(rest);
        kept.put(rest.len());
    }
}

/// A handshake's record, behind what stands in `outgoing`.
fn encode(
    outgoing: &mut Buffer,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> io::Result<()> {
    let mut written = encode(outgoing.room(0));
    if let Err(EncodeError::InsufficientSize(short)) = written {
        written = encode(outgoing.room(short.required_size));
    }
    outgoing.put(written.map_err(invalid)?);
    Ok(())
}

/// Does what was wished, now that the session may send.
fn fulfil<D>(
    mut traffic: WriteTraffic<'_, D>,
    wish: Wish<'_>,
    outgoing: &mut Buffer,
) -> io::Result<()> {
    let mut attempt = |room: &mut [u8]| match wish {
        Wish::Nothing => Ok(0),
        Wish::Send(data) => traffic.encrypt(data, room),
        Wish::Close => traffic.queue_close_notify(room),
    };
    let wanted = match wish {
        Wish::Nothing => return Ok(()),
        Wish::Send(data) => data.len() + (data.len() / RECORD + 1) * OVERHEAD,
        Wish::Close => OVERHEAD,
    };
    let mut written = attempt(outgoing.room(wanted));
    if let Err(EncryptError::InsufficientSize(short)) = written {
        written = attempt(outgoing.room(short.required_size));
    }
    outgoing.put(written.map_err(invalid)?);
    Ok(())
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<S: Session + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.plain.is_empty() {
            let count = this.plain.filled().len().min(buf.remaining());
            buf.put_slice(&this.plain.filled()[..count]);
            this.plain.consume(count);
            this.plain.release_if_empty();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        loop {
            if !this.starved {
                this.starved = true;
                this.failed = this.advance(Some(buf), Wish::Nothing, cx).err();
                // Tickets, new keys: what the socket does not take now goes with the next write.
                if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
                    return Poll::Ready(Err(error));
                }
            }
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = this.failed.take() {
                return Poll::Ready(Err(error));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(this.poll_more(cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                _ => this.starved = false,
            }
        }
    }
}

impl<S: Session + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(&[IoSlice::new(buf)], cx)
    }

    /// A head and a short body make one record; of more, each slice makes its own, all in one write.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let total: usize = bufs.iter().map(|part| part.len()).sum();
        if total > GATHERED {
            return this.poll_send(bufs, cx);
        }
        // Before anything is copied: it may be asked again and again while the socket takes nothing.
        ready!(this.poll_drain(cx))?;
        let mut gathered = Buffer::new(&this.pool);
        for part in bufs {
            gathered.room(part.len())[..part.len()].copy_from_slice(part);
            gathered.put(part.len());
        }
        this.poll_send(&[IoSlice::new(gathered.filled())], cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.own_end == OwnEnd::Silent {
            return Poll::Ready(Ok(()));
        }
        if this.own_end == OwnEnd::Open && !this.session.state().is_handshaking() {
            this.advance(None, Wish::Close, cx)?;
        }
        this.end();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
