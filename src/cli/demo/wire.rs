//! HTTP/1.1 as the demo's client and its servers speak it: whole messages over one connection, and strict
//! about ends, because a demo that takes a truncated answer for a whole one proves nothing.
//!
//! It shares nothing with `proxy::http1` on purpose: the judge may not have the defendant's faults.
//! Used by [`super::load`] and [`super::backend`].

use std::fmt;
use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The longest head that is read, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;
/// The longest line of chunk framing that is read, in bytes.
const LINE_LIMIT: usize = 4 * 1024;

/// Why a message could not be read.
#[derive(Debug)]
pub enum WireError {
    /// The stream ended (FIN) inside a message.
    Truncated,
    /// The transport failed; a reset by the peer is among these.
    Io(io::Error),
    /// What came is not HTTP/1.1.
    Malformed(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => out.write_str("the connection ended inside a message"),
            Self::Io(error) => write!(out, "the connection failed: {error}"),
            Self::Malformed(what) => write!(out, "not HTTP/1.1: {what}"),
        }
    }
}

impl std::error::Error for WireError {}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A request's or a response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line or the status line, without its end.
    pub line: String,
    /// The fields in the order they came, names as sent, values trimmed.
    pub fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Result<Self, WireError> {
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                line.split_once(':')
                    .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                    .ok_or(WireError::Malformed("a field line without a colon"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { line, fields })
    }

    /// The first field of that name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether a list field (such as `Connection`) has the token.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// The status of a response.
    pub fn status(&self) -> Result<u16, WireError> {
        self.line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|code| code.parse().ok())
            .ok_or(WireError::Malformed("no status line"))
    }

    /// The method and the target of a request.
    pub fn method_and_target(&self) -> Result<(&str, &str), WireError> {
        let mut words = self.line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) => {
                Ok((method, target))
            }
            _ => Err(WireError::Malformed("no request line")),
        }
    }

    /// Whether the connection ends with this message.
    pub fn closes(&self) -> bool {
        self.has_token("connection", "close") || self.line.contains("HTTP/1.0")
    }

    fn length(&self) -> Result<Option<u64>, WireError> {
        self.field("content-length")
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| WireError::Malformed("a Content-Length that is no number"))
            })
            .transpose()
    }

    /// How the body of a request is framed (RFC 9112 section 6.3).
    pub fn request_framing(&self) -> Result<Framing, WireError> {
        if self.has_token("transfer-encoding", "chunked") {
            return Ok(Framing::Chunked);
        }
        Ok(self.length()?.map_or(Framing::Empty, Framing::Length))
    }

    /// How the body of a response to a GET or POST is framed (RFC 9112 section 6.3).
    pub fn response_framing(&self) -> Result<Framing, WireError> {
        if matches!(self.status()?, 100..=199 | 204 | 304) {
            return Ok(Framing::Empty);
        }
        if self.has_token("transfer-encoding", "chunked") {
            return Ok(Framing::Chunked);
        }
        Ok(self.length()?.map_or(Framing::UntilClose, Framing::Length))
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// After the chunk of size zero and its trailers.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The reading half of a connection and what was read ahead.
#[derive(Debug)]
pub struct Reader {
    io: OwnedReadHalf,
    buffer: BytesMut,
}

impl Reader {
    /// Splits a connection in its two halves.
    pub fn split(stream: TcpStream) -> (Self, OwnedWriteHalf) {
        let (io, writer) = stream.into_split();
        let buffer = BytesMut::with_capacity(8 * 1024);
        (Self { io, buffer }, writer)
    }

    /// Whether an idle connection can take another request: nothing unread, and the peer has not ended it.
    pub fn is_idle(&self) -> bool {
        let mut probe = [0; 1];
        self.buffer.is_empty()
            && matches!(self.io.try_read(&mut probe), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads one head. `None` where the peer ended the connection before the first byte of one.
    pub async fn head(&mut self) -> Result<Option<Head>, WireError> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                let text = std::str::from_utf8(&head)
                    .map_err(|_| WireError::Malformed("a head that is no text"))?;
                return Head::parse(text).map(Some);
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(WireError::Malformed("a head without end"));
            }
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(WireError::Truncated);
            }
        }
    }

    /// Reads a body to its end, giving each piece to `each`; returns the trailers.
    pub async fn body(
        &mut self,
        framing: Framing,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Vec<(String, String)>, WireError> {
        match framing {
            Framing::Empty => Ok(Vec::new()),
            Framing::Length(length) => {
                self.exactly(length, &mut each).await?;
                Ok(Vec::new())
            }
            Framing::Chunked => self.chunks(&mut each).await,
            Framing::UntilClose => loop {
                let buffered = self.buffer.split();
                each(&buffered);
                if self.io.read_buf(&mut self.buffer).await? == 0 {
                    return Ok(Vec::new());
                }
            },
        }
    }

    async fn exactly(
        &mut self,
        mut left: u64,
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(), WireError> {
        while left > 0 {
            if self.buffer.is_empty() && self.io.read_buf(&mut self.buffer).await? == 0 {
                return Err(WireError::Truncated);
            }
            let take = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            each(&self.buffer[..take]);
            self.buffer.advance(take);
            left -= take as u64;
        }
        Ok(())
    }

    async fn chunks(
        &mut self,
        each: &mut impl FnMut(&[u8]),
    ) -> Result<Vec<(String, String)>, WireError> {
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16)
                .map_err(|_| WireError::Malformed("a chunk size that is no number"))?;
            if size == 0 {
                return self.trailers().await;
            }
            self.exactly(size, each).await?;
            if !self.line().await?.is_empty() {
                return Err(WireError::Malformed("a chunk longer than its size"));
            }
        }
    }

    async fn trailers(&mut self) -> Result<Vec<(String, String)>, WireError> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or(WireError::Malformed("a trailer without a colon"))?;
            trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    async fn line(&mut self) -> Result<String, WireError> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return String::from_utf8(line[..end].to_vec())
                    .map_err(|_| WireError::Malformed("chunk framing that is no text"));
            }
            if self.buffer.len() > LINE_LIMIT {
                return Err(WireError::Malformed("a line without end"));
            }
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Err(WireError::Truncated);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn reading(bytes: &'static [u8]) -> Reader {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        Reader::split(server).0
    }

    async fn whole(bytes: &'static [u8]) -> Result<Vec<u8>, WireError> {
        let mut reader = reading(bytes).await;
        let head = reader.head().await?.ok_or(WireError::Truncated)?;
        let mut body = Vec::new();
        reader
            .body(head.response_framing()?, |piece| {
                body.extend_from_slice(piece);
            })
            .await?;
        Ok(body)
    }

    #[tokio::test]
    async fn whole_bodies_are_read_to_their_end() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcX", b"abc"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: v\r\n\r\n",
                b"abc",
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ];
        for (bytes, body) in cases {
            assert_eq!(whole(bytes).await.unwrap(), body);
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_never_taken_for_whole() {
        let cases: [&[u8]; 5] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
            b"HTTP/1.1 200",
        ];
        for bytes in cases {
            assert!(
                matches!(whole(bytes).await, Err(WireError::Truncated)),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[tokio::test]
    async fn a_chunk_longer_than_it_says_is_malformed() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n";
        assert!(matches!(whole(bytes).await, Err(WireError::Malformed(_))));
    }
}
