//! Clients of HTTP/1.1: on a connection that is kept, clear or in TLS, and on one for each request.

use std::net::SocketAddr;

use anyhow::ensure;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Client;
use crate::wire;

/// Enough for a head, and for large content to be read in few pieces.
const BUFFER: usize = 64 * 1024;

/// Asks again and again on one connection.
pub struct Http1<S> {
    stream: S,
    request: Vec<u8>,
    content: usize,
    buf: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    /// Sends `request`, whose answer has so many bytes of content.
    pub fn new(stream: S, request: Vec<u8>, content: usize) -> Self {
        let buf = vec![0; BUFFER.min(content + 2048)];
        Self {
            stream,
            request,
            content,
            buf,
        }
    }

    /// One request and its answer, which must be the backend's.
    pub async fn ask(&mut self) -> anyhow::Result<()> {
        let Self {
            stream,
            request,
            content,
            buf,
        } = self;
        stream.write_all(request).await?;
        stream.flush().await?;
        let mut filled = 0;
        let head = loop {
            let count = stream.read(&mut buf[filled..]).await?;
            ensure!(count > 0, "the proxy closed the connection");
            filled += count;
            if let Some(head) = wire::head(&buf[..filled]) {
                break head;
            }
        };
        let text = || String::from_utf8_lossy(&buf[..head]).into_owned();
        ensure!(
            buf.starts_with(b"HTTP/1.1 200 "),
            "the proxy answered {:?}",
            text()
        );
        while filled < head + *content {
            let count = stream.read(buf).await?;
            ensure!(count > 0, "the proxy broke the answer off");
            filled += count;
        }
        ensure!(
            filled == head + *content,
            "the proxy answered {filled} bytes"
        );
        Ok(())
    }

    /// Reads the end of the connection, which the proxy was asked for.
    pub async fn end(mut self) -> anyhow::Result<()> {
        // An end without close_notify is one, too: there is nothing that it could cut short.
        let count = self.stream.read(&mut self.buf).await.unwrap_or(0);
        ensure!(count == 0, "the proxy sent {count} bytes after the answer");
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Client for Http1<S> {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        self.ask().await
    }
}

/// Opens a connection for each request, and asks for its end.
pub struct Closing {
    target: SocketAddr,
    request: Vec<u8>,
}

impl Closing {
    /// To the proxy at `target`.
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            request: wire::request(&target.to_string(), wire::SMALL_TARGET, "close"),
        }
    }
}

impl Client for Closing {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        let stream = super::connect(self.target).await?;
        let mut client = Http1::new(stream, self.request.clone(), wire::SMALL);
        client.ask().await?;
        client.end().await
    }
}
