//! HTTP/1.1: a small answer, a large one, a WebSocket that echoes, and how many connections there were.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Serve;
use crate::wire;

/// Room for a head, and for what was read behind it.
const BUFFER: usize = 16 * 1024;

/// Answers are made once.
pub struct Service {
    opened: Rc<Cell<u64>>,
    small: Rc<[u8]>,
    large: Rc<[u8]>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            opened: Rc::default(),
            small: wire::response("", wire::SMALL).into(),
            large: wire::response("", wire::LARGE).into(),
        }
    }
}

impl Serve for Service {
    fn serve(&self, stream: TcpStream) -> impl Future<Output = anyhow::Result<()>> + 'static {
        self.opened.set(self.opened.get() + 1);
        let connection = Connection {
            stream,
            opened: Rc::clone(&self.opened),
            small: Rc::clone(&self.small),
            large: Rc::clone(&self.large),
        };
        connection.run()
    }
}

struct Connection {
    stream: TcpStream,
    opened: Rc<Cell<u64>>,
    small: Rc<[u8]>,
    large: Rc<[u8]>,
}

impl Connection {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut buf = vec![0; BUFFER];
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut buf[filled..]).await?;
            if count == 0 {
                return Ok(());
            }
            filled += count;
            while let Some(length) = wire::head(&buf[..filled]) {
                let target = buf.strip_prefix(b"GET ").unwrap_or_default();
                if target.starts_with(b"/socket ") {
                    return self.echo().await;
                }
                if target.starts_with(wire::COUNT_TARGET.as_bytes()) {
                    let told = wire::response(&self.opened.get().to_string(), wire::SMALL);
                    self.stream.write_all(&told).await?;
                } else if target.starts_with(wire::LARGE_TARGET.as_bytes()) {
                    self.stream.write_all(&self.large).await?;
                } else {
                    self.stream.write_all(&self.small).await?;
                }
                buf.copy_within(length..filled, 0);
                filled -= length;
            }
        }
    }

    /// Sends back each message of a WebSocket; a client waits for the handshake's end before its first.
    async fn echo(mut self) -> anyhow::Result<()> {
        self.stream.write_all(&wire::upgraded()).await?;
        let (mut from_client, to_client) = (wire::frame_of_client(), wire::frame_of_server());
        loop {
            self.stream.read_exact(&mut from_client).await?;
            self.stream.write_all(&to_client).await?;
        }
    }
}

/// How many connections it was opened so far, that of this question among them.
pub fn connections(address: SocketAddr) -> anyhow::Result<u64> {
    let mut stream = std::net::TcpStream::connect(address).context("the backend is gone")?;
    stream.write_all(&wire::request("backend", wire::COUNT_TARGET, ""))?;
    let whole = wire::response("", wire::SMALL).len();
    let mut answer = vec![0; whole];
    stream
        .read_exact(&mut answer)
        .context("the backend broke off")?;
    let content = std::str::from_utf8(&answer[whole - wire::SMALL..])?;
    content.trim().parse().context("the backend told no number")
}
