//! Bodies of a gigabyte: a server and a client that make, send and check them piece by piece, at the speed
//! of memory, and count how far they are.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::backend::Gate;
use crate::support::plan::Seeded;

/// Of the content: a prime, so that no buffer's size is a multiple of it and a piece that is lost, doubled or
/// moved shows.
const PERIOD: usize = 65_521;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
}

impl Framing {
    fn fields(self, bytes: u64) -> String {
        match self {
            Self::Length => format!("Content-Length: {bytes}\r\n\r\n"),
            Self::Chunked => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
        }
    }
}

/// Two periods of the content, so that a piece of up to one can begin anywhere in the first.
fn content() -> Vec<u8> {
    let mut random = Seeded::new(1);
    let once: Vec<u8> = (0..PERIOD)
        .map(|_| random.bits().to_le_bytes()[0])
        .collect();
    once.repeat(2)
}

/// Writes so many bytes of content, and counts those that were taken.
fn write_body(
    stream: &mut TcpStream,
    framing: Framing,
    bytes: u64,
    sent: &AtomicU64,
) -> io::Result<()> {
    let content = content();
    let mut at = 0;
    while at < bytes {
        let start = usize::try_from(at % PERIOD as u64).map_err(io::Error::other)?;
        let length = usize::try_from((bytes - at).min(PERIOD as u64)).map_err(io::Error::other)?;
        if framing == Framing::Chunked {
            write!(stream, "{length:x}\r\n")?;
        }
        stream.write_all(&content[start..start + length])?;
        if framing == Framing::Chunked {
            stream.write_all(b"\r\n")?;
        }
        at += length as u64;
        sent.fetch_add(length as u64, Ordering::SeqCst);
    }
    if framing == Framing::Chunked {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}

/// Reads a body to its end, checks every byte, and returns how many there were.
fn read_body(reader: &mut impl BufRead, framing: Framing, length: u64) -> io::Result<u64> {
    let mut content = Content {
        expected: content(),
        at: 0,
    };
    if framing == Framing::Length {
        content.take(reader, length)?;
        return Ok(content.at);
    }
    loop {
        let line = read_line(reader)?;
        let size = u64::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
            .map_err(io::Error::other)?;
        if size > 0 {
            content.take(reader, size)?;
        }
        if !read_line(reader)?.is_empty() {
            return Err(io::Error::other("no line end behind a chunk"));
        }
        if size == 0 {
            return Ok(content.at);
        }
    }
}

/// Content as it is read.
struct Content {
    expected: Vec<u8>,
    at: u64,
}

impl Content {
    fn take(&mut self, reader: &mut impl BufRead, mut left: u64) -> io::Result<()> {
        while left > 0 {
            let start = usize::try_from(self.at % PERIOD as u64).map_err(io::Error::other)?;
            let piece = reader.fill_buf()?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let most = usize::try_from(left.min(PERIOD as u64)).map_err(io::Error::other)?;
            let piece = &piece[..piece.len().min(most)];
            if *piece != self.expected[start..start + piece.len()] {
                return Err(io::Error::other(format!("wrong bytes after {}", self.at)));
            }
            let length = piece.len();
            reader.consume(length);
            self.at += length as u64;
            left -= length as u64;
        }
        Ok(())
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A head: its first line, the framing, and the length where it has one.
fn read_head(reader: &mut impl BufRead) -> io::Result<(String, Framing, u64)> {
    let first = read_line(reader)?;
    let (mut framing, mut length) = (Framing::Length, 0);
    loop {
        let line = read_line(reader)?.to_ascii_lowercase();
        if line.is_empty() {
            return Ok((first, framing, length));
        }
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
            Some(("transfer-encoding", "chunked")) => framing = Framing::Chunked,
            _ => {}
        }
    }
}

/// A server for bodies: `/length/N` and `/chunked/N` send N bytes, `/count` reads and checks what comes and
/// answers how much it was. With a gate it reads no body before that is open.
pub struct Bulk {
    /// Where it listens.
    pub address: SocketAddr,
    sent: Arc<AtomicU64>,
}

impl Bulk {
    pub fn start(gate: Option<Gate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sent: Arc<AtomicU64> = Arc::default();
        let counts = Arc::clone(&sent);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (gate, sent) = (gate.clone(), Arc::clone(&counts));
                // A connection ends when its peer ends it; who has lost bytes fails for it.
                std::thread::spawn(move || serve(stream.unwrap(), gate.as_ref(), &sent));
            }
        });
        Self { address, sent }
    }

    /// Bytes of content that were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, gate: Option<&Gate>, sent: &AtomicU64) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(128 * 1024, stream.try_clone()?);
    loop {
        let (first, framing, length) = read_head(&mut reader)?;
        let target = first.split(' ').nth(1).unwrap_or_default();
        if target == "/count" {
            if let Some(gate) = gate {
                gate.wait()?;
            }
            let count = read_body(&mut reader, framing, length)?.to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{count}",
                count.len()
            )?;
            continue;
        }
        let framing = if target.starts_with("/chunked/") {
            Framing::Chunked
        } else {
            Framing::Length
        };
        let bytes = target.rsplit('/').next().unwrap_or_default();
        let bytes = bytes.parse().map_err(io::Error::other)?;
        write!(stream, "HTTP/1.1 200 OK\r\n{}", framing.fields(bytes))?;
        write_body(&mut stream, framing, bytes, sent)?;
    }
}

/// A download whose request was sent and of which nothing was read yet.
pub struct Download {
    stream: TcpStream,
}

impl Download {
    pub fn start(target: SocketAddr, framing: Framing, bytes: u64) -> Self {
        let mut stream = TcpStream::connect(target).unwrap();
        let path = match framing {
            Framing::Length => "length",
            Framing::Chunked => "chunked",
        };
        write!(stream, "GET /{path}/{bytes} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        Self { stream }
    }

    /// Reads it to its end, checks it, and returns its length.
    pub fn read(self) -> u64 {
        let mut reader = BufReader::with_capacity(128 * 1024, self.stream);
        let (first, framing, length) = read_head(&mut reader).unwrap();
        assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
        read_body(&mut reader, framing, length).unwrap()
    }
}

/// Sends so many bytes, counts those that were taken, and returns how many the server says that it got.
pub fn upload(target: SocketAddr, framing: Framing, bytes: u64, sent: &AtomicU64) -> u64 {
    let mut stream = TcpStream::connect(target).unwrap();
    let head = format!(
        "POST /count HTTP/1.1\r\nHost: t\r\n{}",
        framing.fields(bytes)
    );
    stream.write_all(head.as_bytes()).unwrap();
    write_body(&mut stream, framing, bytes, sent).unwrap();
    let mut reader = BufReader::new(stream);
    let (first, _, length) = read_head(&mut reader).unwrap();
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    let mut body = vec![0; usize::try_from(length).unwrap()];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap().parse().unwrap()
}
