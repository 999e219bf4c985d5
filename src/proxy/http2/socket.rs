//! A client's socket as HTTP/2 uses it: what was read before HTTP/2 was known comes first, and closing does not
//! erase what the client has still to read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::buffer::Buffer;
use crate::proxy::linger::linger;
use crate::proxy::transport::Transport;
use crate::proxy::worker::Registered;

/// A socket and what was read from it. When it is dropped its last bytes are waited for (PITFALLS 42); until then the
/// connection counts as open, for limits and for lastcall's own end.
pub(in crate::proxy) struct Socket {
    read: Buffer,
    /// `None` only while it is dropped.
    open: Option<(Transport, Registered)>,
}

impl Socket {
    pub(in crate::proxy) fn new(
        transport: Transport,
        read: Buffer,
        registered: Registered,
    ) -> Self {
        Self {
            read,
            open: Some((transport, registered)),
        }
    }

    fn transport(&mut self) -> io::Result<Pin<&mut Transport>> {
        let open = self.open.as_mut();
        let (transport, _) = open.ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(transport))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            self.read.release_if_empty();
            return self.transport()?.poll_read(cx, out);
        }
        let count = self.read.filled().len().min(out.remaining());
        out.put_slice(&self.read.filled()[..count]);
        self.read.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.transport()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.transport()?.poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|(transport, _)| transport.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport()?.poll_shutdown(cx)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some((mut transport, registered)) = self.open.take() {
            tokio::task::spawn_local(async move {
                registered.control.follow().await;
                linger(&mut transport, registered.worker()).await;
            });
        }
    }
}
