//! TCP: a message is sent back, or answered by many bytes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Serve;
use crate::wire;

/// Needs nothing.
pub struct Service;

impl Serve for Service {
    fn serve(&self, stream: TcpStream) -> impl Future<Output = anyhow::Result<()>> + 'static {
        answer(stream)
    }
}

async fn answer(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut message = [0; wire::MESSAGE];
    let mut large = Vec::new();
    loop {
        stream.read_exact(&mut message).await?;
        if message[0] == wire::ASKS_LARGE {
            large.resize(wire::LARGE, b'x');
            stream.write_all(&large).await?;
        } else {
            stream.write_all(&message).await?;
        }
    }
}
