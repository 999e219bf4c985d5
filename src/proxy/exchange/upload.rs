//! The request's way to the endpoint.

use std::task::{Context, Poll};

use super::download::Download;
use super::{Caller, Exchange, Piece};
use crate::proxy::attempts::{Failure, Unanswered};

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// Nothing went out: the head waits for what is here of the body, so that both go at once.
    Begin,
    /// The head, or a piece of the body, is on its way to the endpoint. `last`: nothing follows it.
    Sending {
        /// Nothing follows it.
        last: bool,
    },
    /// The client waits for a 100 before it sends the body.
    Waiting,
    /// More of the body is awaited from the client.
    Reading,
    /// It was sent to its end.
    Done,
    /// The rest will not be sent.
    GivenUp,
}

impl Upload {
    /// Nothing more will be sent.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::GivenUp)
    }
}

impl<C: Caller> Exchange<'_, C> {
    /// Sends what can be sent; true where something has changed.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            let again = match self.upload {
                Upload::Begin => {
                    if !self.poll_more(cx)? {
                        self.upload = Upload::Sending { last: false };
                    }
                    true
                }
                Upload::Sending { last } => self.poll_flush(last, cx)?,
                Upload::Reading | Upload::Waiting => self.poll_more(cx)?,
                Upload::Done | Upload::GivenUp => false,
            };
            if !again {
                return Ok(moved);
            }
            moved = true;
        }
    }

    fn poll_flush(&mut self, last: bool, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let Some(link) = &mut self.link else {
            self.upload = Upload::GivenUp;
            return Ok(true);
        };
        match link.poll_flush(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(content)) => self.caller.passed_on(content),
            // Where it has taken nothing it has answered nothing; otherwise it may have answered before
            // it closed, and that answer is still to be read.
            Poll::Ready(Err(_)) if link.sent() == 0 => {
                return Err(Failure::Unanswered(Unanswered::Closed));
            }
            Poll::Ready(Err(_)) => {
                self.give_up();
                return Ok(true);
            }
        }
        self.upload_moved = self.now;
        if last {
            self.upload = Upload::Done;
            self.sent_at = Some(self.now);
            if let (Some(copied), Some(body)) = (self.task.copied, self.copied_body.take()) {
                copied.send(&body, self.worker);
            }
        } else {
            self.upload = if self.waits() {
                Upload::Waiting
            } else {
                Upload::Reading
            };
        }
        Ok(true)
    }

    /// Whether the client sends its body only when it is told to: it has sent none, and was told nothing.
    fn waits(&self) -> bool {
        self.task.head.expects_continue
            && self.body_read == 0
            && self.download == Download::Head
            && !self.caller.is_continued()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let piece = match self.caller.poll_piece(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(piece)) => piece,
            Poll::Ready(Err(fault)) => return Err(fault.into()),
        };
        self.upload_moved = self.now;
        self.copy_body(&piece);
        self.count_body(piece.data.len() as u64)?;
        self.upload = Upload::Sending {
            last: piece.is_last(),
        };
        if let Some(link) = &mut self.link {
            link.put(piece);
        }
        Ok(true)
    }

    /// Keeps the piece that is about to be sent, where the request is to be copied.
    fn copy_body(&mut self, piece: &Piece) {
        let copied = self.copied_body.as_mut();
        if copied.is_some_and(|copied| !copied.extend(&piece.data)) {
            self.copied_body = None;
            self.worker.stats().mirrors_skipped.add(1);
        }
    }

    fn count_body(&mut self, length: u64) -> Result<(), Failure> {
        self.body_read += length;
        self.worker.stats().bytes_in.add(length);
        match self.task.body_limit {
            Some(limit) if self.body_read > limit => Err(Failure::TooLong),
            _ => Ok(()),
        }
    }

    /// Sends no more of the request.
    pub(super) fn give_up(&mut self) {
        self.upload = Upload::GivenUp;
        self.sent_at = Some(self.now);
        self.caller.give_up_body();
    }
}
