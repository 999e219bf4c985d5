//! The backend: answers every request with the same bytes, and tells on request how many connections it
//! was opened.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::wire;

/// Its name on the command line.
pub const PART: &str = "backend";

/// Serves until it is killed.
pub fn run(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(address).await?;
        let opened = Rc::new(Cell::new(0_u64));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            opened.set(opened.get() + 1);
            // A connection that breaks concerns nobody but its proxy.
            tokio::task::spawn_local(serve(stream, Rc::clone(&opened)));
        }
    })
}

async fn serve(mut stream: TcpStream, opened: Rc<Cell<u64>>) -> std::io::Result<()> {
    let usual = wire::response("");
    let mut buf = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buf[filled..]).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        while let Some(length) = wire::whole(&buf[..filled], 0) {
            let asked = buf.starts_with(b"GET /connections ");
            buf.copy_within(length..filled, 0);
            filled -= length;
            if asked {
                let told = wire::response(&opened.get().to_string());
                stream.write_all(&told).await?;
            } else {
                stream.write_all(&usual).await?;
            }
        }
    }
}

/// How many connections it was opened so far, that of this question among them.
pub fn connections(address: SocketAddr) -> anyhow::Result<u64> {
    let mut stream = std::net::TcpStream::connect(address).context("the backend is gone")?;
    stream.write_all(b"GET /connections HTTP/1.1\r\nHost: backend\r\n\r\n")?;
    let (mut buf, mut filled) = ([0; 1024], 0);
    while wire::whole(&buf[..filled], wire::BODY).is_none() {
        let count = stream.read(&mut buf[filled..])?;
        anyhow::ensure!(count > 0, "the backend broke off");
        filled += count;
    }
    let content = std::str::from_utf8(&buf[filled - wire::BODY..filled])?;
    content.trim().parse().context("the backend told no number")
}
