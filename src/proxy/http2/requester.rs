//! One stream of a client's connection: the request's body as it comes, and the response as it goes.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use super::response::response_for_client;
use super::trailers::retain_trailers;
use crate::proxy::exchange::{Caller, CallerFault, Piece, Replay, Then};
use crate::proxy::http1::{ResponseFraming, Version};

/// Content that is handed over whatever the client's window says: a small response goes out with its head.
const AT_ONCE: usize = 16 * 1024;

/// A client's stream.
pub(super) struct Requester {
    body: RecvStream,
    /// The body's end was taken.
    ended: bool,
    replay: Replay,
    /// Bytes that came and that the client was not yet given room for again.
    unreleased: usize,
    reply: Reply,
    /// Content for which the client's window has no room yet.
    waiting: Option<Piece>,
    /// The client was told to send its body.
    continued: bool,
}

enum Reply {
    Awaited(SendResponse<Bytes>),
    Sending(SendStream<Bytes>),
    /// Given up; nothing can be sent.
    Over,
}

impl Requester {
    pub(super) fn new(body: RecvStream, reply: SendResponse<Bytes>) -> Self {
        Self {
            body,
            ended: false,
            replay: Replay::default(),
            unreleased: 0,
            reply: Reply::Awaited(reply),
            waiting: None,
            continued: false,
        }
    }

    /// Another attempt begins.
    pub(super) fn rewind(&mut self) {
        self.replay.rewind();
    }

    /// Whether another attempt could be given the body from its start.
    pub(super) fn can_rewind(&self) -> bool {
        self.replay.can_rewind()
    }

    /// Whether the request has no body, or all of it was taken.
    pub(super) fn is_ended(&self) -> bool {
        self.replay.is_over() && (self.ended || self.body.is_end_stream())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, CallerFault>> {
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(data)) => {
                self.unreleased += data.len();
                let mut piece = Piece::more(data);
                if self.body.is_end_stream() {
                    piece.then = Then::End;
                }
                Poll::Ready(Ok(piece))
            }
            Some(Err(_)) => Poll::Ready(Err(CallerFault::Gone)),
            None => {
                let trailers = ready!(self.body.poll_trailers(cx));
                let trailers = trailers.map_err(|_| CallerFault::Gone)?;
                Poll::Ready(Ok(Piece {
                    data: Bytes::new(),
                    then: trailers.map_or(Then::End, |mut map| {
                        retain_trailers(&mut map);
                        Then::Trailers(Box::new(map))
                    }),
                }))
            }
        }
    }

    /// Begins the response; `ends` where it has no body.
    pub(super) fn respond(
        &mut self,
        response: http::Response<()>,
        ends: bool,
    ) -> Result<(), CallerFault> {
        self.replay.commit();
        let Reply::Awaited(reply) = &mut self.reply else {
            return Err(CallerFault::Gone);
        };
        let sending = reply
            .send_response(response, ends)
            .map_err(|_| CallerFault::Gone)?;
        self.reply = Reply::Sending(sending);
        Ok(())
    }

    /// Ends the stream in a way that cannot be taken for a whole response.
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.reply {
            Reply::Awaited(reply) => reply.send_reset(reason),
            Reply::Sending(stream) => stream.send_reset(reason),
            Reply::Over => {}
        }
        self.reply = Reply::Over;
    }

    /// Ends a response that has begun with these trailers; not where content still waits, which would be lost.
    pub(super) fn end(&mut self, trailers: HeaderMap) -> Result<(), CallerFault> {
        match &mut self.reply {
            Reply::Sending(stream) if self.waiting.is_none() => stream
                .send_trailers(trailers)
                .map_err(|_| CallerFault::Gone),
            Reply::Sending(_) | Reply::Awaited(_) | Reply::Over => Err(CallerFault::Gone),
        }
    }
}

impl Caller for Requester {
    fn version(&self) -> Version {
        Version::Http2
    }

    fn closes(&self, _: ResponseFraming) -> bool {
        // A connection says so by itself (GOAWAY).
        false
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, CallerFault>> {
        if let Some(piece) = self.replay.next() {
            return Poll::Ready(Ok(piece));
        }
        if self.ended {
            return Poll::Ready(Ok(Piece::END));
        }
        let piece = ready!(self.poll_body(cx))?;
        self.ended = piece.is_last();
        self.replay.keep(&piece);
        Poll::Ready(Ok(piece))
    }

    fn give_up_body(&mut self) {
        // Dropping the stream once the response is out tells the client (RFC 9113 section 8.1).
    }

    fn passed_on(&mut self, bytes: usize) {
        // What is sent to another endpoint once more came but once.
        let fresh = bytes.min(self.unreleased);
        self.unreleased -= fresh;
        // Fails only where more is released than came.
        let _ = self.body.flow_control().release_capacity(fresh);
    }

    fn interim(&mut self, head: &[u8]) -> Result<(), CallerFault> {
        let response = translate(head)?;
        match &mut self.reply {
            Reply::Awaited(reply) => reply
                .send_informational(response)
                .map_err(|_| CallerFault::Gone),
            Reply::Sending(_) | Reply::Over => Err(CallerFault::Gone),
        }
    }

    fn proceed(&mut self, head: &[u8]) -> Result<(), CallerFault> {
        if std::mem::replace(&mut self.continued, true) {
            return Ok(());
        }
        self.interim(head)
    }

    fn is_continued(&self) -> bool {
        self.continued
    }

    fn switch(&mut self, head: &[u8]) -> Result<(), CallerFault> {
        // The body was the tunnel from the start.
        let response = translate(head)?;
        self.respond(response, false)
    }

    fn begin(&mut self, head: &[u8], _: ResponseFraming, ends: bool) -> Result<(), CallerFault> {
        let response = translate(head)?;
        self.respond(response, ends)
    }

    fn has_begun(&self) -> bool {
        !matches!(self.reply, Reply::Awaited(_))
    }

    fn send(&mut self, piece: Piece) -> Result<(), CallerFault> {
        debug_assert!(self.waiting.is_none());
        let Reply::Sending(stream) = &mut self.reply else {
            return Err(CallerFault::Gone);
        };
        if piece.data.len() > AT_ONCE.max(stream.capacity()) {
            self.waiting = Some(piece);
            return Ok(());
        }
        hand_over(stream, piece)
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallerFault>> {
        let Reply::Sending(stream) = &mut self.reply else {
            // Interim responses are the connection's at once.
            return Poll::Ready(Ok(()));
        };
        while let Some(mut piece) = self.waiting.take() {
            stream.reserve_capacity(piece.data.len());
            let room = stream.capacity();
            if room >= piece.data.len() {
                hand_over(stream, piece)?;
                break;
            }
            if room > 0 {
                let part = Piece::more(piece.data.split_to(room));
                hand_over(stream, part)?;
            }
            self.waiting = Some(piece);
            match stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Err(CallerFault::Gone)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallerFault>> {
        ready!(self.poll_sent(cx))?;
        let Reply::Sending(stream) = &mut self.reply else {
            return Poll::Ready(Err(CallerFault::Gone));
        };
        loop {
            stream.reserve_capacity(1);
            if stream.capacity() > 0 {
                return Poll::Ready(Ok(()));
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(CallerFault::Gone)),
            }
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.reply {
            Reply::Awaited(reply) => reply.poll_reset(cx),
            Reply::Sending(stream) => stream.poll_reset(cx),
            Reply::Over => return Poll::Ready(()),
        };
        reset.map(|_| ())
    }
}

/// A head that our own writer wrote; what it cannot be is a fault of ours, and ends the stream.
fn translate(head: &[u8]) -> Result<http::Response<()>, CallerFault> {
    response_for_client(head).map_err(|error| {
        tracing::error!(%error, "response");
        CallerFault::Gone
    })
}

fn hand_over(stream: &mut SendStream<Bytes>, piece: Piece) -> Result<(), CallerFault> {
    let Piece { data, then } = piece;
    match then {
        Then::More => stream.send_data(data, false),
        Then::End => stream.send_data(data, true),
        Then::Trailers(trailers) if data.is_empty() => stream.send_trailers(*trailers),
        Then::Trailers(trailers) => stream
            .send_data(data, false)
            .and_then(|()| stream.send_trailers(*trailers)),
    }
    .map_err(|_| CallerFault::Gone)
}
