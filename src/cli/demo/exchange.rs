//! One request of the plan over one connection: sends it, reads the answer to its end, and judges it byte
//! by byte. Called by [`super::load`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::sleep;

use super::plan::{Checksum, Planned, Work, content};
use super::wire::{Head, Reader, WireError};

/// In how many pieces an upload or a stream that takes its time is sent.
pub(super) const PIECES: u32 = 10;

/// Why a request counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// No connection came about.
    Connect,
    /// The answer's status is not 2xx.
    Status(u16),
    /// The connection was reset, or broke otherwise.
    Reset,
    /// The connection or the body ended before the answer did.
    Short,
    /// The answer is whole but is not the answer to this request.
    Wrong,
    /// The answer is not HTTP/1.1.
    Malformed,
    /// The time was over.
    Timeout,
}

impl Failure {
    /// A short name, stable, for tables and JSON: `status503`, `reset`.
    pub fn name(self) -> String {
        match self {
            Self::Connect => "connect".to_owned(),
            Self::Status(status) => format!("status{status}"),
            Self::Reset => "reset".to_owned(),
            Self::Short => "short".to_owned(),
            Self::Wrong => "wrong".to_owned(),
            Self::Malformed => "malformed".to_owned(),
            Self::Timeout => "timeout".to_owned(),
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Truncated => Self::Short,
            WireError::Io(_) => Self::Reset,
            WireError::Malformed(_) => Self::Malformed,
        }
    }
}

/// A connection to what is under load.
#[derive(Debug)]
pub(super) struct Connection {
    reader: Reader,
    writer: OwnedWriteHalf,
}

impl Connection {
    pub(super) async fn open(target: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(target)
            .await
            .map_err(|_| Failure::Connect)?;
        // Without it a delayed acknowledgement can cost 40 ms and drown what is measured.
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let (reader, writer) = Reader::split(stream);
        Ok(Self { reader, writer })
    }

    /// Whether it can take another request. A connection that its peer has ended is not one on which a
    /// request was lost.
    pub(super) fn is_idle(&self) -> bool {
        self.reader.is_idle()
    }

    /// Sends the request, reads and judges the answer. `true` where the connection may serve again.
    pub(super) async fn exchange(
        &mut self,
        host: &str,
        planned: &Planned,
    ) -> Result<bool, Failure> {
        // Both at once: an answer may come before the request was sent to its end (a 503 when it is cut).
        let writing = send(&mut self.writer, host, planned);
        let reading = receive(&mut self.reader, planned);
        tokio::pin!(writing, reading);
        let mut sent = None;
        let head = loop {
            tokio::select! {
                head = &mut reading => break head?,
                result = &mut writing, if sent.is_none() => sent = Some(result.is_ok()),
            }
        };
        match head.status()? {
            200..=299 if sent == Some(true) => Ok(!planned.fresh && !head.closes()),
            // A whole, right answer to a request that was not sent to its end cannot be.
            200..=299 => Err(Failure::Wrong),
            status => Err(Failure::Status(status)),
        }
    }
}

/// What the request asks, as a request target.
pub fn request_target(planned: &Planned) -> String {
    let id = planned.id;
    match planned.work {
        Work::Answer { delay, bytes } => {
            format!("/answer?id={id}&bytes={bytes}&millis={}", delay.as_millis())
        }
        Work::Stream { over, bytes } => {
            format!("/stream?id={id}&bytes={bytes}&millis={}", over.as_millis())
        }
        Work::Upload { .. } => format!("/upload?id={id}"),
    }
}

async fn send(writer: &mut OwnedWriteHalf, host: &str, planned: &Planned) -> io::Result<()> {
    let method = if planned.post { "POST" } else { "GET" };
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: {host}\r\n",
        request_target(planned)
    );
    if planned.fresh {
        head.push_str("Connection: close\r\n");
    }
    match planned.work {
        Work::Upload {
            over,
            bytes,
            chunked,
        } => {
            let framing = if chunked {
                "Transfer-Encoding: chunked\r\n\r\n".to_owned()
            } else {
                format!("Content-Length: {bytes}\r\n\r\n")
            };
            head.push_str(&framing);
            writer.write_all(head.as_bytes()).await?;
            send_spread(writer, planned.id, bytes, over, chunked).await
        }
        Work::Answer { .. } | Work::Stream { .. } => {
            if planned.post {
                head.push_str("Content-Length: 4\r\n\r\nping");
            } else {
                head.push_str("\r\n");
            }
            writer.write_all(head.as_bytes()).await
        }
    }
}

/// Sends a request's content in pieces over a time, chunked or plain; so does the server with a stream.
pub(super) async fn send_spread(
    writer: &mut OwnedWriteHalf,
    id: u64,
    bytes: u64,
    over: Duration,
    chunked: bool,
) -> io::Result<()> {
    let pause = over / PIECES;
    let mut sent = 0;
    for piece in 1..=PIECES {
        sleep(pause).await;
        let until = bytes * u64::from(piece) / u64::from(PIECES);
        let length = usize::try_from(until - sent).map_err(io::Error::other)?;
        let body = content(id, sent, length);
        sent = until;
        if body.is_empty() {
            continue;
        }
        if chunked {
            let mut chunk = format!("{length:x}\r\n").into_bytes();
            chunk.extend_from_slice(&body);
            chunk.extend_from_slice(b"\r\n");
            writer.write_all(&chunk).await?;
        } else {
            writer.write_all(&body).await?;
        }
    }
    if chunked {
        writer.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

async fn receive(reader: &mut Reader, planned: &Planned) -> Result<Head, Failure> {
    let head = loop {
        let head = reader.head().await?.ok_or(Failure::Short)?;
        // Interim answers (RFC 9110 section 15.2) are not the answer.
        if !matches!(head.status()?, 100..=199) {
            break head;
        }
    };
    if !matches!(head.status()?, 200..=299) {
        // The body of an error says nothing that is counted; the status does.
        let _ = reader.body(head.response_framing()?, |_| ()).await;
        return Ok(head);
    }
    let mut sum = Checksum::default();
    let mut text = Vec::new();
    let uploaded = matches!(planned.work, Work::Upload { .. });
    reader
        .body(head.response_framing()?, |piece| {
            sum.feed(piece);
            if uploaded && text.len() < 256 {
                text.extend_from_slice(piece);
            }
        })
        .await?;
    let right = match planned.work {
        Work::Answer { bytes, .. } | Work::Stream { bytes, .. } => {
            sum == Checksum::of_content(planned.id, bytes)
        }
        Work::Upload { bytes, .. } => {
            text == Checksum::of_content(planned.id, bytes)
                .to_string()
                .as_bytes()
        }
    };
    if right { Ok(head) } else { Err(Failure::Wrong) }
}
