//! Clients that exchange messages on a connection: of plain TCP, and of a WebSocket.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Client;
use crate::wire;

/// What is read at once of a large answer.
const BUFFER: usize = 64 * 1024;

/// Has its message sent back.
pub struct Echo(TcpStream);

impl Echo {
    /// By the proxy at `target`.
    pub async fn new(target: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(super::connect(target).await?))
    }
}

impl Client for Echo {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        let mut message = [b'm'; wire::MESSAGE];
        self.0.write_all(&message).await?;
        let read = self.0.read_exact(&mut message).await;
        read.context("the proxy ended the connection")?;
        Ok(())
    }
}

/// Asks for many bytes.
pub struct Bulk {
    stream: TcpStream,
    buf: Vec<u8>,
}

impl Bulk {
    /// By the proxy at `target`.
    pub async fn new(target: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            stream: super::connect(target).await?,
            buf: vec![0; BUFFER],
        })
    }
}

impl Client for Bulk {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        let message = [wire::ASKS_LARGE; wire::MESSAGE];
        self.stream.write_all(&message).await?;
        let mut left = wire::LARGE;
        while left > 0 {
            let room = left.min(BUFFER);
            let count = self.stream.read(&mut self.buf[..room]).await?;
            ensure!(count > 0, "the proxy ended the connection");
            left -= count;
        }
        Ok(())
    }
}

/// Has its message sent back, in frames.
pub struct WebSocket {
    stream: TcpStream,
    sent: Vec<u8>,
    expected: Vec<u8>,
    answer: Vec<u8>,
}

impl WebSocket {
    /// By the proxy at `target`.
    pub async fn new(target: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = super::connect(target).await?;
        stream
            .write_all(&wire::upgrade(&target.to_string()))
            .await?;
        // The backend says nothing before it was asked, so no byte behind the head is there yet.
        let mut head = Vec::new();
        while wire::head(&head).is_none() {
            let count = stream.read_buf(&mut head).await?;
            ensure!(count > 0, "the proxy closed the connection");
        }
        let text = String::from_utf8_lossy(&head);
        ensure!(
            text.starts_with("HTTP/1.1 101 "),
            "the proxy answered {text:?}"
        );
        let expected = wire::frame_of_server();
        Ok(Self {
            stream,
            sent: wire::frame_of_client(),
            answer: vec![0; expected.len()],
            expected,
        })
    }
}

impl Client for WebSocket {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.sent).await?;
        let read = self.stream.read_exact(&mut self.answer).await;
        read.context("the proxy ended the connection")?;
        ensure!(self.answer == self.expected, "the proxy changed a frame");
        Ok(())
    }
}
