//! A client of HTTP/1 in an exchange with an endpoint that speaks something else.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::super::{
    BodyDecoder, CHUNK_END, ClientConnection, Event, RequestBody, ResponseFraming, Version,
    chunk_head, last_chunk,
};
use super::client::Client;
use super::exchange::Seen;
use super::{closing, on};
use crate::proxy::exchange::{Caller, CallerFault, Piece, Replay, Then};
use crate::proxy::http2::trailers;
use crate::proxy::worker::Worker;

/// How far the body of a request was read, over all attempts at it.
#[derive(Debug)]
pub(super) struct Body {
    decoder: BodyDecoder,
    replay: Replay,
    /// The client was told to send it.
    continued: bool,
}

impl Body {
    /// Another attempt begins.
    pub(super) fn rewind(&mut self) {
        self.replay.rewind();
    }

    /// Whether another attempt could be given the body from its start.
    pub(super) fn can_rewind(&self) -> bool {
        self.replay.can_rewind()
    }

    /// Whether nothing more of the body is to come.
    pub(super) fn is_ended(&self) -> bool {
        self.replay.is_over() && self.decoder.is_finished()
    }
}

impl From<RequestBody> for Body {
    fn from(body: RequestBody) -> Self {
        Self {
            decoder: body.into(),
            replay: Replay::default(),
            continued: false,
        }
    }
}

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Response {
    Awaited,
    Begun,
    /// All of it is out.
    Over,
}

/// The connection's part in one attempt.
pub(super) struct Http1Caller<'a> {
    client: &'a mut Client,
    state: &'a mut ClientConnection,
    worker: &'a Worker,
    version: Version,
    body: &'a mut Body,
    framing: ResponseFraming,
    response: Response,
    /// The content that is being written.
    data: Bytes,
    /// The response ends with what is being written.
    last: bool,
    /// It has become a tunnel: bytes, and no more requests.
    tunnel: bool,
}

impl<'a> Http1Caller<'a> {
    pub(super) fn new(
        client: &'a mut Client,
        state: &'a mut ClientConnection,
        worker: &'a Worker,
        version: Version,
        body: &'a mut Body,
    ) -> Self {
        client.out.reset();
        Self {
            client,
            state,
            worker,
            version,
            body,
            framing: ResponseFraming::None,
            response: Response::Awaited,
            data: Bytes::new(),
            last: false,
            tunnel: false,
        }
    }

    /// Behind a switch of protocols, whose head may have still to go out.
    pub(super) fn of_tunnel(
        client: &'a mut Client,
        state: &'a mut ClientConnection,
        worker: &'a Worker,
        body: &'a mut Body,
    ) -> Self {
        Self {
            client,
            state,
            worker,
            version: Version::Http11,
            body,
            framing: ResponseFraming::None,
            response: Response::Begun,
            data: Bytes::new(),
            last: false,
            tunnel: true,
        }
    }

    /// What the client has seen of the response.
    pub(super) fn seen(&self) -> Seen {
        match self.response {
            Response::Over => Seen::Whole,
            Response::Begun => Seen::Head,
            Response::Awaited if self.client.out.has_begun() => Seen::Interim,
            Response::Awaited => Seen::Nothing,
        }
    }

    /// What a tunnel's client has sent.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, CallerFault>> {
        let Client { buffer, stream, .. } = &mut *self.client;
        if buffer.is_empty() {
            match ready!(buffer.poll_fill(stream, cx)) {
                Ok(0) => return Poll::Ready(Ok(Piece::END)),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(CallerFault::Gone)),
            }
        }
        let data = Bytes::copy_from_slice(buffer.filled());
        buffer.consume(data.len());
        buffer.release_if_empty();
        Poll::Ready(Ok(Piece::more(data)))
    }

    /// The piece that the unread bytes hold; `None` where they hold none.
    fn decode(&mut self) -> Result<Option<Piece>, CallerFault> {
        let bytes = self.client.buffer.filled();
        let decoded = self
            .body
            .decoder
            .decode(bytes)
            .map_err(CallerFault::Malformed)?;
        let data = Bytes::copy_from_slice(&bytes[decoded.data]);
        self.client.buffer.consume(decoded.consumed);
        if decoded.finished {
            let fields = self.body.decoder.trailers();
            let then = if fields.is_empty() {
                Then::End
            } else {
                Then::Trailers(Box::new(trailers(fields.iter())))
            };
            if self.state.request_is_open() {
                on(self.state, Event::RequestBodyFinished);
            }
            return Ok(Some(Piece { data, then }));
        }
        Ok((!data.is_empty()).then(|| Piece::more(data)))
    }
}

impl Caller for Http1Caller<'_> {
    fn version(&self) -> Version {
        self.version
    }

    fn closes(&self, framing: ResponseFraming) -> bool {
        self.state.must_close() || framing.closes() || closing(self.worker, self.client)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, CallerFault>> {
        if self.tunnel {
            return self.poll_bytes(cx);
        }
        if let Some(piece) = self.body.replay.next() {
            return Poll::Ready(Ok(piece));
        }
        if self.body.decoder.is_finished() {
            return Poll::Ready(Ok(Piece::END));
        }
        loop {
            if let Some(piece) = self.decode()? {
                self.body.replay.keep(&piece);
                return Poll::Ready(Ok(piece));
            }
            // One that breaks off within its body is gone, half-closed or not: its request was never whole.
            match ready!(self.client.buffer.poll_fill(&mut self.client.stream, cx)) {
                Ok(count) if count > 0 => {}
                _ => return Poll::Ready(Err(CallerFault::Gone)),
            }
        }
    }

    fn passed_on(&mut self, _: usize) {
        // The kernel's own window follows what is read.
    }

    fn give_up_body(&mut self) {
        if self.state.request_is_open() {
            on(self.state, Event::RequestBodyAbandoned);
        }
    }

    fn interim(&mut self, head: &[u8]) -> Result<(), CallerFault> {
        // HTTP/1.0 has none.
        if self.version == Version::Http11 {
            self.client.out.front.extend_from_slice(head);
        }
        Ok(())
    }

    fn proceed(&mut self, head: &[u8]) -> Result<(), CallerFault> {
        if std::mem::replace(&mut self.body.continued, true) {
            return Ok(());
        }
        self.interim(head)
    }

    fn is_continued(&self) -> bool {
        self.body.continued
    }

    fn switch(&mut self, head: &[u8]) -> Result<(), CallerFault> {
        self.response = Response::Begun;
        self.tunnel = true;
        on(self.state, Event::Switched);
        self.client.out.front.extend_from_slice(head);
        Ok(())
    }

    fn begin(
        &mut self,
        head: &[u8],
        framing: ResponseFraming,
        ends: bool,
    ) -> Result<(), CallerFault> {
        self.body.replay.commit();
        self.response = Response::Begun;
        self.framing = framing;
        let close = self.closes(framing);
        on(self.state, Event::ResponseHead { close });
        self.client.out.front.extend_from_slice(head);
        if ends && framing == ResponseFraming::Chunked {
            last_chunk(std::iter::empty(), &mut self.client.out.back);
        }
        self.last = ends;
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.response != Response::Awaited
    }

    fn send(&mut self, piece: Piece) -> Result<(), CallerFault> {
        let Piece { data, then } = piece;
        let takes = self.tunnel || self.framing != ResponseFraming::None;
        debug_assert!(takes || data.is_empty(), "it would be the next response");
        let out = &mut self.client.out;
        if self.framing == ResponseFraming::Chunked {
            if !data.is_empty() {
                chunk_head(data.len() as u64, &mut out.front);
                out.back.extend_from_slice(CHUNK_END);
            }
            match &then {
                Then::More => {}
                Then::End => last_chunk(std::iter::empty(), &mut out.back),
                Then::Trailers(fields) => {
                    let fields = fields.iter();
                    let fields =
                        fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                    last_chunk(fields, &mut out.back);
                }
            }
        }
        out.carry(0..data.len(), data.len());
        self.data = data;
        self.last = !matches!(then, Then::More);
        Ok(())
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallerFault>> {
        if ready!(self.client.poll_out(&self.data, cx)).is_err() {
            return Poll::Ready(Err(CallerFault::Gone));
        }
        self.data = Bytes::new();
        self.client.out.clear();
        if !self.last {
            return Poll::Ready(Ok(()));
        }
        if self.tunnel {
            let closed = ready!(Pin::new(&mut self.client.stream).poll_shutdown(cx));
            closed.map_err(|_| CallerFault::Gone)?;
        } else {
            on(self.state, Event::ResponseFinished);
        }
        self.last = false;
        self.response = Response::Over;
        Poll::Ready(Ok(()))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallerFault>> {
        // A head waits for the first piece of its body, so that both go at once.
        if self.data.is_empty() && self.client.out.back.is_empty() && !self.client.out.has_begun() {
            return Poll::Ready(Ok(()));
        }
        self.poll_sent(cx)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.tunnel {
            // It is read from all the time.
            return Poll::Pending;
        }
        let silent = self.client.half_closed || !self.client.buffer.is_empty();
        if silent || !self.body.decoder.is_finished() {
            return Poll::Pending;
        }
        match ready!(self.client.buffer.poll_fill(&mut self.client.stream, cx)) {
            Ok(0) => {
                self.client.half_closed = true;
                on(self.state, Event::ClientEof);
                Poll::Pending
            }
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        }
    }
}
