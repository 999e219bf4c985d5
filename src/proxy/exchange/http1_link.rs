//! A connection to an endpoint that speaks HTTP/1, as an exchange uses it whose client does not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::piece::{Piece, Then};
use crate::proxy::attempts::{Truncated, Unanswered};
use crate::proxy::buffer::Buffer;
use crate::proxy::http1::driver::{Kept, Outgoing};
use crate::proxy::http1::{
    AskedBy, BodyDecoder, CHUNK_END, Field, HeadLimits, ResponseBody, ResponseHead, Reuse,
    UpstreamEnd, after_response, chunk_head, last_chunk, parse_response,
};
use crate::proxy::http2::trailers;
use crate::proxy::pick::Picked;
use crate::proxy::proxy_protocol::Addresses;
use crate::proxy::sheets::Sheet;
use crate::proxy::transport::Transport;

/// One exchange's use of a connection.
pub(in crate::proxy) struct Http1Link {
    stream: Transport,
    /// Read and not used yet.
    buffer: Buffer,
    out: Outgoing,
    /// The content that `out` carries.
    data: Bytes,
    /// The request's body goes out in chunks.
    chunked: bool,
    /// The fields of the response's last head; its bytes are with `out` meanwhile.
    pub(in crate::proxy) sheet: Sheet,
    decoder: BodyDecoder,
    /// Bytes of the head that `fields` point into.
    head_bytes: usize,
    /// Whose the endpoint was told that the connection is.
    client: Option<Addresses>,
    /// What the response said about its connection.
    kept: Option<Kept>,
    tunnel: Tunnel,
}

/// Whether the connection has become a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    No,
    Open,
    /// The client's side has closed: ours does once all is out.
    Closing,
}

impl Http1Link {
    /// `head` is that of the request, `chunked` says how its body goes.
    pub(in crate::proxy) fn new(
        (stream, buffer, mut sheet): (Transport, Buffer, Sheet),
        head: &[u8],
        chunked: bool,
        client: Option<Addresses>,
    ) -> Self {
        let mut out = Outgoing::default();
        out.front = std::mem::take(&mut sheet.bytes);
        out.front.extend_from_slice(head);
        Self {
            stream,
            buffer,
            out,
            data: Bytes::new(),
            chunked,
            sheet,
            decoder: BodyDecoder::from(ResponseBody::None),
            head_bytes: 0,
            client,
            kept: None,
            tunnel: Tunnel::No,
        }
    }

    /// Bytes that the endpoint's kernel took.
    pub(in crate::proxy) fn sent(&self) -> u64 {
        self.out.total()
    }

    /// Puts a piece of the body behind what has not gone out yet, which is the head at the most.
    pub(in crate::proxy) fn put(&mut self, piece: Piece) {
        let length = piece.data.len();
        if self.chunked {
            if length > 0 {
                chunk_head(length as u64, &mut self.out.front);
                self.out.back.extend_from_slice(CHUNK_END);
            }
            match &piece.then {
                Then::More => {}
                Then::End => last_chunk(std::iter::empty(), &mut self.out.back),
                Then::Trailers(trailers) => {
                    let fields = trailers.iter();
                    let fields =
                        fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                    last_chunk(fields, &mut self.out.back);
                }
            }
        }
        if self.tunnel == Tunnel::Open && piece.is_last() {
            self.tunnel = Tunnel::Closing;
        }
        self.data = piece.data;
        self.out.carry(0..length, length);
    }

    /// Ready once all that was put is with the endpoint's kernel; the content that went with it.
    pub(in crate::proxy) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.out.poll_write(&self.data, &mut self.stream, cx))?;
        if self.tunnel == Tunnel::Closing {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        let length = self.data.len();
        self.data = Bytes::new();
        self.out.clear();
        Poll::Ready(Ok(length))
    }

    /// Reads the next head of the response.
    pub(in crate::proxy) fn poll_head(
        &mut self,
        asked: AskedBy,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, Unanswered>> {
        let mut empty = self.buffer.is_empty();
        loop {
            if !empty {
                let bytes = self.buffer.filled();
                let parsed =
                    parse_response(bytes, asked, &HeadLimits::RESPONSE, &mut self.sheet.fields)
                        .map_err(|fault| Unanswered::Broken(fault.detail()))?;
                if let Some((head, length)) = parsed {
                    self.head_bytes = length;
                    self.kept = Some(Kept {
                        keep_alive: head.keep_alive,
                        timeout: head.keep_alive_timeout,
                    });
                    return Poll::Ready(Ok(head));
                }
            }
            match ready!(self.buffer.poll_fill(&mut self.stream, cx)) {
                // What comes before anything was sent answers nothing of ours.
                Ok(count) if count > 0 && self.sent() > 0 => empty = false,
                _ if empty => return Poll::Ready(Err(Unanswered::Closed)),
                _ => {
                    let why = "the response's head breaks off".to_owned();
                    return Poll::Ready(Err(Unanswered::Broken(why)));
                }
            }
        }
    }

    /// The bytes that the last head's fields point into.
    pub(in crate::proxy) fn head_bytes(&self) -> &[u8] {
        self.buffer.filled()
    }

    /// The last head is done with. `body` follows it, where it was the final one.
    pub(in crate::proxy) fn consume_head(&mut self, body: Option<ResponseBody>) {
        self.buffer.consume(std::mem::take(&mut self.head_bytes));
        if let Some(body) = body {
            self.decoder = body.into();
        }
    }

    /// The next piece of the response's body.
    pub(in crate::proxy) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Piece, Truncated>> {
        loop {
            let bytes = self.buffer.filled();
            if !bytes.is_empty() || self.decoder.is_finished() {
                let decoded = self.decoder.decode(bytes).map_err(|_| Truncated::Closed)?;
                let data = Bytes::copy_from_slice(&bytes[decoded.data]);
                self.buffer.consume(decoded.consumed);
                if decoded.finished {
                    let then = self.end();
                    return Poll::Ready(Ok(Piece { data, then }));
                }
                if !data.is_empty() {
                    return Poll::Ready(Ok(Piece::more(data)));
                }
            }
            match ready!(self.buffer.poll_fill(&mut self.stream, cx)) {
                Ok(0) => {
                    self.decoder
                        .finish_at_eof()
                        .map_err(|_| Truncated::Closed)?;
                    self.kept = None;
                    return Poll::Ready(Ok(Piece::END));
                }
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(Truncated::Closed)),
            }
        }
    }

    fn end(&self) -> Then {
        let fields = self.decoder.trailers();
        if fields.is_empty() {
            Then::End
        } else {
            Then::Trailers(Box::new(trailers(fields.iter())))
        }
    }

    /// The response's body was read to its end.
    pub(in crate::proxy) fn is_read(&self) -> bool {
        self.decoder.is_finished()
    }

    /// Returns the connection to the endpoint's pool, where it can be used again: the request was sent and the
    /// response read, each to its end. `ours` is how long it is kept at the most.
    pub(in crate::proxy) fn keep(mut self, picked: &Picked, ours: Duration, now: Instant) {
        self.sheet.bytes = std::mem::take(&mut self.out.front);
        let Picked(upstream, _, era) = picked;
        let Some(kept) = self.kept else { return };
        let end = UpstreamEnd {
            request_sent: true,
            response_finished: true,
            keep_alive: kept.keep_alive,
            leftover: !self.buffer.is_empty(),
        };
        if after_response(end) == Reuse::Pool {
            let client = self.client.map(Box::new);
            upstream.keep((self.stream, *era), kept.time(ours), now, client);
        }
    }

    /// Whether the last head has the field `name` (in any case) once, with this value.
    pub(in crate::proxy) fn says(&self, name: &[u8], value: &[u8]) -> bool {
        let bytes = self.buffer.filled();
        let named = |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(name);
        let mut named = self.sheet.fields.iter().filter(named);
        let said = named.next().map(|field| field.value.of(bytes));
        said == Some(value) && named.next().is_none()
    }

    /// The last head said that the connection is a tunnel from here on.
    pub(in crate::proxy) fn open_tunnel(&mut self) {
        self.consume_head(Some(ResponseBody::UntilClose));
        self.chunked = false;
        self.tunnel = Tunnel::Open;
    }

    /// Makes the close that follows a reset.
    pub(in crate::proxy) fn reset(&mut self) {
        self.stream.reset();
    }
}
