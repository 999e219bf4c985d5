//! One stream of a connection to an endpoint that speaks HTTP/2.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};

use super::piece::{Piece, Then};
use crate::proxy::attempts::{Truncated, Unanswered};
use crate::proxy::http1::{AskedBy, ResponseBody, ResponseHead};
use crate::proxy::http2::{Lease, read_response, retain_trailers};
use crate::proxy::sheets::Sheet;

/// A stream to an endpoint. Dropped before its end it is reset, and the endpoint knows that nobody waits.
pub(in crate::proxy) struct Http2Link {
    response: ResponseFuture,
    send: SendStream<Bytes>,
    body: Option<RecvStream>,
    /// What waits for the endpoint's window.
    waiting: Option<Piece>,
    /// Content that went since the last flush.
    went: usize,
    /// The response was read to its end.
    read: bool,
    /// The last head of the response.
    pub(in crate::proxy) sheet: Sheet,
    lease: Lease,
}

impl Http2Link {
    pub(in crate::proxy) fn new(
        response: ResponseFuture,
        send: SendStream<Bytes>,
        lease: Lease,
        sheet: Sheet,
    ) -> Self {
        Self {
            response,
            send,
            body: None,
            waiting: None,
            went: 0,
            read: false,
            sheet,
            lease,
        }
    }

    pub(in crate::proxy) fn put(&mut self, piece: Piece) {
        debug_assert!(self.waiting.is_none());
        self.waiting = Some(piece);
    }

    pub(in crate::proxy) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some(mut piece) = self.waiting.take() {
            self.send.reserve_capacity(piece.data.len());
            let room = self.send.capacity();
            if room >= piece.data.len() {
                self.went += piece.data.len();
                self.hand_over(piece)?;
                break;
            }
            if room > 0 {
                self.went += room;
                let part = Piece::more(piece.data.split_to(room));
                self.hand_over(part)?;
            }
            self.waiting = Some(piece);
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Poll::Ready(Ok(std::mem::take(&mut self.went)))
    }

    fn hand_over(&mut self, piece: Piece) -> io::Result<()> {
        let Piece { data, then } = piece;
        match then {
            Then::More => self.send.send_data(data, false),
            Then::End => self.send.send_data(data, true),
            Then::Trailers(trailers) => {
                let sent = if data.is_empty() {
                    Ok(())
                } else {
                    self.send.send_data(data, false)
                };
                sent.and_then(|()| self.send.send_trailers(*trailers))
            }
        }
        .map_err(io::Error::other)
    }

    /// The endpoint was silent for as long as is waited for it.
    pub(in crate::proxy) fn doubt(&self) {
        self.lease.doubt();
    }

    pub(in crate::proxy) fn poll_head(
        &mut self,
        asked: AskedBy,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, Unanswered>> {
        let (parts, ends) = match self.response.poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => (interim.into_parts().0, false),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(unanswered(&error))),
            Poll::Ready(None) | Poll::Pending => {
                let response = std::pin::Pin::new(&mut self.response);
                match ready!(response.poll(cx)) {
                    Ok(response) => {
                        let (parts, body) = response.into_parts();
                        let ends = body.is_end_stream();
                        self.read = ends;
                        self.body = Some(body);
                        (parts, ends)
                    }
                    Err(error) => return Poll::Ready(Err(unanswered(&error))),
                }
            }
        };
        self.lease.note_heard();
        let method = asked.method;
        let read = read_response(&parts, ends, method, &mut self.sheet);
        let mut head = read.map_err(|fault| Unanswered::Broken(fault.detail()))?;
        if asked.upgrade && parts.status.is_success() {
            // RFC 8441 section 5: what HTTP/1 says by a 101.
            head.status = 101;
        }
        Poll::Ready(Ok(head))
    }

    /// A response without content by its status or its request (RFC 9110 section 6.4.1) is read: what the endpoint
    /// sends all the same is dropped with the stream, and nobody gets it.
    pub(in crate::proxy) fn consume_head(&mut self, body: Option<ResponseBody>) {
        self.read |= body == Some(ResponseBody::None);
    }

    pub(in crate::proxy) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Piece, Truncated>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Err(Truncated::Closed));
        };
        if self.read {
            return Poll::Ready(Ok(Piece::END));
        }
        let polled = ready!(body.poll_data(cx));
        self.lease.note_heard();
        let piece = match polled {
            Some(Ok(data)) => {
                // What is read here is handed on at once, and no more is read until that went.
                let _ = body.flow_control().release_capacity(data.len());
                let mut piece = Piece::more(data);
                if body.is_end_stream() {
                    piece.then = Then::End;
                }
                piece
            }
            // A reset with NO_ERROR before the end is no end either (PITFALLS 41).
            Some(Err(error)) => return Poll::Ready(Err(truncated(&error))),
            None => {
                let trailers = ready!(body.poll_trailers(cx));
                let trailers = trailers.map_err(|error| truncated(&error))?;
                Piece {
                    data: Bytes::new(),
                    then: trailers.map_or(Then::End, |mut map| {
                        retain_trailers(&mut map);
                        Then::Trailers(Box::new(map))
                    }),
                }
            }
        };
        self.read = piece.is_last();
        Poll::Ready(Ok(piece))
    }

    pub(in crate::proxy) fn is_read(&self) -> bool {
        self.read
    }

    /// Ends the stream in a way that cannot be taken for its end.
    pub(in crate::proxy) fn reset(&mut self) {
        self.send.send_reset(Reason::CANCEL);
    }
}

/// Why no response came. GOAWAY ends only streams above its last id so, and those were not looked at (RFC 9113
/// section 6.8).
fn unanswered(error: &h2::Error) -> Unanswered {
    match remote_reset(error) {
        Some(Reason::REFUSED_STREAM) => Unanswered::Unprocessed,
        Some(code) => Unanswered::Reset(code),
        None if error.is_remote() && error.is_go_away() => Unanswered::Leaving,
        None if error.is_io() || error.is_remote() => Unanswered::Closed,
        None => Unanswered::Broken(error.to_string()),
    }
}

/// How a response broke off.
fn truncated(error: &h2::Error) -> Truncated {
    remote_reset(error).map_or(Truncated::Closed, Truncated::Reset)
}

/// The code by which the endpoint reset the stream, where it did.
fn remote_reset(error: &h2::Error) -> Option<Reason> {
    let reset = error.is_reset() && error.is_remote();
    reset.then(|| error.reason()).flatten()
}
