//! The response's way to the client.

use std::task::{Context, Poll};
use std::time::Duration;

use super::super::{
    AskedBy, Event, HeadLimits, ResponseContext, ResponseFraming, ResponseHead, Version,
    forward_response, parse_response,
};
use super::exchange::{Exchange, Kept};
use super::relay::BodyRelay;
use super::upload::Upload;
use crate::proxy::attempts::{Failure, Truncated, Unanswered};

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Download {
    /// Its head is awaited.
    Head,
    /// An interim head is on its way to the client; another follows.
    Interim,
    /// The head of a switch is on its way to the client.
    Switching,
    /// The client knows that the protocol was switched.
    Switched,
    /// The head, or a piece of the body, is on its way to the client.
    Sending,
    /// More of the body is awaited from the endpoint.
    Reading,
    /// It was written to its end.
    Done,
}

/// Interim responses to one request; more is no backend's honest doing.
const MAX_INTERIM: u32 = 32;

/// How long a client that waits for a 100 waits before we send it.
pub(in crate::proxy) const CONTINUE_AFTER: Duration = Duration::from_secs(1);

impl Exchange<'_> {
    /// Passes on what can be passed on; true where something has changed.
    pub(super) fn poll_download(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            let again = match self.download {
                Download::Head => self.poll_head(cx)?,
                Download::Interim | Download::Switching | Download::Sending => self.poll_out(cx)?,
                Download::Reading => self.poll_body(cx)?,
                Download::Done | Download::Switched => false,
            };
            if !again {
                return Ok(moved);
            }
            moved = true;
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        if self.link.buffer.is_empty() {
            match self.link.poll_fill(cx) {
                Poll::Pending => return Ok(false),
                // What comes before anything was sent answers nothing of ours: a server that gives an idle
                // connection up may say so with a 408.
                Poll::Ready(Ok(count)) if count > 0 && self.sent() > 0 => {}
                Poll::Ready(_) => return Err(Failure::Unanswered(Unanswered::Closed)),
            }
        }
        loop {
            if self.parse_head()? {
                return Ok(true);
            }
            match self.link.poll_fill(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => {
                    let why = "the response's head breaks off".to_owned();
                    return Err(Failure::Unanswered(Unanswered::Broken(why)));
                }
            }
        }
    }

    /// Reads a head if it is here as a whole.
    fn parse_head(&mut self) -> Result<bool, Failure> {
        let asked = AskedBy {
            method: self.task.head.method,
            upgrade: self.task.upgrade,
        };
        let fields = &mut self.client.response_fields;
        let broken = |why| Failure::Unanswered(Unanswered::Broken(why));
        let parsed = parse_response(
            self.link.buffer.filled(),
            asked,
            &HeadLimits::RESPONSE,
            fields,
        );
        let Some((head, length)) = parsed.map_err(|fault| broken(fault.detail()))? else {
            return Ok(false);
        };
        if head.is_interim() {
            self.interim_seen += 1;
            if self.interim_seen > MAX_INTERIM {
                return Err(broken("interim responses without end".to_owned()));
            }
            self.interim(&head, length);
        } else if head.is_switch() {
            self.write_head(&head, false);
            self.link.buffer.consume(length);
            self.download = Download::Switching;
        } else {
            self.begin(&head, length)?;
        }
        Ok(true)
    }

    /// Passes an interim response on: a 100 only to a client that waits for it, none to HTTP/1.0.
    fn interim(&mut self, head: &ResponseHead, length: usize) {
        let is_continue = head.status == 100;
        let wanted = !is_continue || (self.task.head.expects_continue && !self.continued_by_us);
        if wanted && self.task.head.version == Version::Http11 {
            self.write_head(head, false);
            self.download = Download::Interim;
        }
        if is_continue {
            self.continued_by_us |= wanted;
            if self.upload == Upload::Waiting {
                self.upload = Upload::Reading;
            }
        }
        self.link.buffer.consume(length);
    }

    /// The final head is here.
    fn begin(&mut self, head: &ResponseHead, length: usize) -> Result<(), Failure> {
        if self.upload == Upload::Waiting {
            // The client got its answer in place of the 100, and may or may not send the body: the two
            // could be told apart by guessing only.
            self.give_up();
        }
        self.framing = ResponseFraming::choose(head, self.task.head.version);
        let close = self.closes();
        self.write_head(head, close);
        self.on(Event::ResponseHead { close });
        self.client.count_response(head.status);
        self.response_body = BodyRelay::new(head.body, self.framing == ResponseFraming::Chunked);
        self.response_keep = Some(Kept {
            keep_alive: head.keep_alive,
            timeout: head.keep_alive_timeout,
        });
        self.link.buffer.consume(length);
        self.download = Download::Sending;
        if !self.response_body.is_read() && !self.link.buffer.is_empty() {
            self.carry_response()?;
        }
        Ok(())
    }

    fn write_head(&mut self, head: &ResponseHead, close: bool) {
        self.client.out.clear();
        self.download_moved = self.now;
        let client = self.task.head.version;
        let (framing, now, edits) = (self.framing, self.now, self.task.edits);
        let bytes = self.link.buffer.filled();
        let (fields, out) = (&self.client.response_fields, &mut self.client.out.front);
        self.worker.with_date(now, |date| {
            let context = ResponseContext {
                client,
                close,
                framing,
                date,
                edits,
            };
            forward_response(head, bytes, fields, &context, out);
        });
    }

    /// Our own 100, for a client that has waited long enough.
    pub(super) fn continue_ourselves(&mut self) {
        self.continued_by_us = true;
        self.upload = Upload::Reading;
        self.upload_moved = self.now;
        self.client.out.clear();
        self.client
            .out
            .front
            .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.download = Download::Interim;
        self.download_moved = self.now;
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let before = self.client.out.total();
        let polled = self.client.poll_out(self.link.buffer.filled(), cx);
        let written = self.client.out.total() - before;
        self.worker.stats().bytes_out.add(written);
        if written > 0 {
            self.download_moved = self.now;
        }
        match polled {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err(Failure::ClientGone),
        }
        self.link.buffer.consume(self.client.out.consumed());
        self.client.out.clear();
        self.after_out()?;
        Ok(true)
    }

    /// A head or a piece has gone out.
    fn after_out(&mut self) -> Result<(), Failure> {
        match self.download {
            Download::Interim => self.download = Download::Head,
            Download::Switching => {
                self.on(Event::Switched);
                self.download = Download::Switched;
            }
            _ if self.response_body.is_over() => {
                self.on(Event::ResponseFinished);
                self.download = Download::Done;
            }
            _ => {
                let more = self.carry_response()?;
                self.download = if more {
                    Download::Sending
                } else {
                    Download::Reading
                };
            }
        }
        Ok(())
    }

    /// Frames the next piece of the body that is here; false where there is nothing to send yet.
    fn carry_response(&mut self) -> Result<bool, Failure> {
        let framed = self
            .response_body
            .frame(&mut self.link.buffer, &mut self.client.out)
            .map_err(|_| Failure::Truncated(Truncated::Closed))?;
        Ok(framed.is_some())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        match self.link.poll_fill(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(count)) if count > 0 => {
                if self.carry_response()? {
                    self.download = Download::Sending;
                }
            }
            Poll::Ready(Ok(_)) => {
                self.response_body
                    .frame_end(&mut self.client.out)
                    .map_err(|_| Failure::Truncated(Truncated::Closed))?;
                if let Some(kept) = &mut self.response_keep {
                    kept.keep_alive = false;
                }
                self.download = Download::Sending;
            }
            Poll::Ready(Err(_)) => return Err(Failure::Truncated(Truncated::Closed)),
        }
        self.download_moved = self.now;
        Ok(true)
    }
}
