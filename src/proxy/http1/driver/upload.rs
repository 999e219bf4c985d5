//! The request's way to the endpoint.

use std::task::{Context, Poll};

use super::super::Event;
use super::download::Download;
use super::exchange::Exchange;
use crate::proxy::attempts::{Failure, Unanswered};

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// Its head is being written, with what is here of its body. `waits`: the client sends the body only
    /// after a 100.
    Head {
        /// As in `Expect: 100-continue`.
        waits: bool,
    },
    /// The client waits for a 100.
    Waiting,
    /// A piece of the body is being written.
    Sending,
    /// More of the body is awaited from the client.
    Reading,
    /// It was written to its end.
    Done,
    /// The rest of it will not be sent.
    GivenUp,
}

impl Upload {
    /// Nothing more will be sent.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::GivenUp)
    }
}

impl Exchange<'_> {
    /// Sends what can be sent; true where something has changed.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            let again = match self.upload {
                Upload::Head { waits } => {
                    self.begin_upload(waits)?;
                    true
                }
                Upload::Sending => self.poll_piece(cx)?,
                Upload::Reading | Upload::Waiting => self.poll_more(cx)?,
                Upload::Done | Upload::GivenUp => return Ok(self.watch_client(cx)? || moved),
            };
            if !again {
                return Ok(moved);
            }
            moved = true;
        }
    }

    /// Puts what is here of the body behind the head, so that both go out at once.
    fn begin_upload(&mut self, waits: bool) -> Result<(), Failure> {
        if !waits && !self.request_body.is_read() && !self.client.buffer.is_empty() {
            self.carry_piece()?;
        }
        self.upload = Upload::Sending;
        Ok(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let source = self.client.buffer.filled();
        match self.link.poll_out(&mut self.client.forward, source, cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return self.upload_broke(),
        }
        self.client.buffer.consume(self.client.forward.consumed());
        self.upload_moved = self.now;
        self.after_piece()?;
        Ok(true)
    }

    /// The endpoint takes no more. If it has taken nothing, it has answered nothing; otherwise it may
    /// have answered before it closed, and that answer is still to be read.
    fn upload_broke(&mut self) -> Result<bool, Failure> {
        if self.sent() == 0 {
            return Err(Failure::Unanswered(Unanswered::Closed));
        }
        self.give_up();
        Ok(true)
    }

    /// Sends no more of the request.
    pub(super) fn give_up(&mut self) {
        self.upload = Upload::GivenUp;
        self.sent_at = Some(self.now);
        if self.state.request_is_open() {
            self.on(Event::RequestBodyAbandoned);
        }
    }

    fn after_piece(&mut self) -> Result<(), Failure> {
        if self.request_body.is_over() {
            self.upload = Upload::Done;
            self.sent_at = Some(self.now);
            if let (Some(copied), Some(body)) = (self.task.copied, self.copied_body.take()) {
                copied.send(&body, self.worker);
            }
            if self.state.request_is_open() {
                self.on(Event::RequestBodyFinished);
            }
            return Ok(());
        }
        let waits =
            self.task.head.expects_continue && self.body_read == 0 && self.client.buffer.is_empty();
        if waits && self.download == Download::Head && !self.continued_by_us {
            self.upload = Upload::Waiting;
            return Ok(());
        }
        self.client.forward.clear();
        self.next_piece()
    }

    /// Sends the next piece of the body if it is here, or waits for more of it.
    fn next_piece(&mut self) -> Result<(), Failure> {
        self.upload = if self.carry_piece()? {
            Upload::Sending
        } else {
            Upload::Reading
        };
        Ok(())
    }

    /// Frames the next piece of the body that is here; false where there is nothing to send yet.
    fn carry_piece(&mut self) -> Result<bool, Failure> {
        let client = &mut *self.client;
        let framed = self
            .request_body
            .frame(&mut client.buffer, &mut client.forward)
            .map_err(Failure::Malformed)?;
        if let Some(length) = framed {
            self.copy_body();
            self.count_body(length as u64)?;
        }
        Ok(framed.is_some())
    }

    /// Keeps the piece that is about to be sent, where the request is to be copied.
    fn copy_body(&mut self) {
        let Some(copied) = &mut self.copied_body else {
            return;
        };
        let piece = self.client.forward.data(self.client.buffer.filled());
        if !copied.extend(piece) {
            self.copied_body = None;
            self.worker.stats().mirrors_skipped.add(1);
        }
    }

    fn count_body(&mut self, length: u64) -> Result<(), Failure> {
        self.body_read += length;
        self.worker.stats().bytes_in.add(length);
        if self
            .task
            .body_limit
            .is_some_and(|limit| self.body_read > limit)
        {
            return Err(Failure::TooLong);
        }
        Ok(())
    }

    /// Waits for more of the body. A client that breaks off within it is gone, half-closed or not: its
    /// request was never whole.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        match self.client.buffer.poll_fill(&mut self.client.stream, cx) {
            Poll::Pending => Ok(self.watch_endpoint(cx)),
            Poll::Ready(Ok(count)) if count > 0 => {
                self.upload_moved = self.now;
                self.client.forward.clear();
                self.next_piece()?;
                Ok(true)
            }
            Poll::Ready(_) => Err(Failure::ClientGone),
        }
    }

    /// An endpoint that has answered in full and closed its side reads no more of the request, or only to
    /// throw it away (RFC 9112 section 9.6): nothing is in flight there, however long the client pauses.
    fn watch_endpoint(&mut self, cx: &mut Context<'_>) -> bool {
        let left = self.download == Download::Done
            && matches!(self.link.poll_fill(cx), Poll::Ready(Ok(0) | Err(_)));
        if left {
            self.give_up();
        }
        left
    }

    /// The request is out; the client may still close its side (it gets its response), go away (nobody
    /// wants the response), or send the next request, which waits its turn.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        if self.client.half_closed
            || !self.client.buffer.is_empty()
            || self.download == Download::Done
        {
            return Ok(false);
        }
        match self.client.buffer.poll_fill(&mut self.client.stream, cx) {
            Poll::Ready(Ok(0)) => {
                self.client.half_closed = true;
                self.on(Event::ClientEof);
                Ok(true)
            }
            Poll::Ready(Ok(_)) => Ok(true),
            Poll::Ready(Err(_)) => Err(Failure::ClientGone),
            Poll::Pending => Ok(false),
        }
    }
}
