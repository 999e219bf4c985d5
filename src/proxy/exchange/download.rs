//! The response's way to the client.

use std::task::{Context, Poll};

use super::upload::Upload;
use super::{Caller, Exchange, Link, Piece};
use crate::proxy::attempts::{Failure, Unanswered};
use crate::proxy::http1::{
    AskedBy, ResponseContext, ResponseFraming, ResponseHead, Version, forward_response,
};
use crate::proxy::sheets::Sheet;

/// Interim responses to one request; more is no backend's honest doing.
const MAX_INTERIM: u32 = 32;

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Download {
    /// Its head is awaited.
    Head,
    /// The client knows, or will with the first bytes, that the protocol was switched.
    Switched,
    /// Its body is read, and passed on.
    Body,
    /// All of it was read; the rest of it waits for the client's window.
    Rest,
    /// All of it is with the client's connection.
    Done,
}

impl<C: Caller> Exchange<'_, C> {
    /// Passes on what can be passed on; true where something has changed.
    pub(super) fn poll_download(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            let again = match self.download {
                Download::Head => self.poll_head(cx)?,
                Download::Body => self.poll_body(cx)?,
                Download::Rest => match self.caller.poll_sent(cx) {
                    Poll::Pending => false,
                    Poll::Ready(Ok(())) => {
                        self.download = Download::Done;
                        true
                    }
                    Poll::Ready(Err(fault)) => return Err(fault.into()),
                },
                Download::Switched | Download::Done => false,
            };
            if !again {
                return Ok(moved);
            }
            self.download_moved = self.now;
            moved = true;
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let Some(link) = &mut self.link else {
            return Ok(false);
        };
        let asked = AskedBy {
            method: self.task.head.method,
            upgrade: self.task.upgrade,
        };
        match link.poll_head(asked, cx) {
            Poll::Pending => return self.flush(cx),
            Poll::Ready(Err(why)) => return Err(Failure::Unanswered(why)),
            Poll::Ready(Ok(head)) if head.is_interim() => self.interim(&head)?,
            Poll::Ready(Ok(head)) if head.is_switch() => self.switch(head)?,
            Poll::Ready(Ok(head)) => self.begin(&head)?,
        }
        Ok(true)
    }

    /// Passes an interim response on: a 100 only where it was asked for, and not after ours.
    fn interim(&mut self, head: &ResponseHead) -> Result<(), Failure> {
        self.interim_seen += 1;
        if self.interim_seen > MAX_INTERIM {
            return Err(broken("interim responses without end"));
        }
        let is_continue = head.status == 100;
        if !is_continue {
            let head = self.head(head, ResponseFraming::None);
            self.caller.interim(&head.bytes)?;
        } else if self.task.head.expects_continue {
            let head = self.head(head, ResponseFraming::None);
            self.caller.proceed(&head.bytes)?;
            if self.upload == Upload::Waiting {
                self.upload = Upload::Reading;
                self.upload_moved = self.now;
            }
        }
        if let Some(link) = &mut self.link {
            link.consume_head(None);
        }
        Ok(())
    }

    /// Our own 100, for a client that has waited long enough.
    pub(super) fn continue_ourselves(&mut self) -> Result<(), Failure> {
        self.upload = Upload::Reading;
        self.upload_moved = self.now;
        Ok(self.caller.proceed(b"HTTP/1.1 100 Continue\r\n\r\n")?)
    }

    /// The final head is here.
    fn begin(&mut self, head: &ResponseHead) -> Result<(), Failure> {
        if self.upload == Upload::Waiting {
            // The client got its answer in place of the 100, and may or may not send the body: the two
            // could be told apart by guessing only.
            self.give_up();
        }
        let framing = ResponseFraming::choose(head, self.caller.version());
        let text = self.head(head, framing);
        if let Some(link) = &mut self.link {
            link.consume_head(Some(head.body));
            let ends = link.is_read();
            self.download = if ends { Download::Rest } else { Download::Body };
            self.worker.count_response(head.status);
            self.caller.begin(&text.bytes, framing, ends)?;
        }
        Ok(())
    }

    /// The endpoint opens a `WebSocket`: by a 101 in HTTP/1, which HTTP/2 calls a 200 and answers no key in (RFC
    /// 8441 section 5).
    fn switch(&mut self, mut head: ResponseHead) -> Result<(), Failure> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let to_http2 = self.caller.version() == Version::Http2;
        if to_http2 {
            // A client of HTTP/1 checks it for itself.
            if let (Link::Http1(link), Some(accept)) = (&*link, self.task.accept)
                && !link.says(b"sec-websocket-accept", accept.as_bytes())
            {
                return Err(broken(
                    "the key of a WebSocket's opening is answered wrongly",
                ));
            }
            head.status = 200;
        }
        let mut sheet = self.head(&head, ResponseFraming::None);
        if let (false, Some(accept)) = (to_http2, self.task.accept) {
            let text = &mut sheet.bytes;
            text.truncate(text.len() - 2);
            text.extend_from_slice(b"Upgrade: websocket\r\nSec-WebSocket-Accept: ");
            text.extend_from_slice(accept.as_bytes());
            text.extend_from_slice(b"\r\n\r\n");
        }
        if let Some(link) = &mut self.link {
            link.open_tunnel();
        }
        self.worker.count_response(101);
        self.download = Download::Switched;
        Ok(self.caller.switch(&sheet.bytes)?)
    }

    /// The head of the response as the client gets it.
    fn head(&self, head: &ResponseHead, framing: ResponseFraming) -> Sheet {
        let (bytes, fields) = self.link.as_ref().map(Link::head_parts).unwrap_or_default();
        let mut sheet = Sheet::new(&self.worker.sheets);
        self.worker.with_date(self.now, |date| {
            let context = ResponseContext {
                client: self.caller.version(),
                close: self.caller.closes(framing),
                framing,
                date,
                edits: self.task.edits,
            };
            forward_response(head, bytes, fields, &context, &mut sheet.bytes);
        });
        sheet
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        match self.caller.poll_room(cx) {
            Poll::Ready(Ok(())) => self.blocked = false,
            Poll::Ready(Err(fault)) => return Err(fault.into()),
            Poll::Pending => {
                self.blocked = true;
                return Ok(false);
            }
        }
        let Some(link) = &mut self.link else {
            return Ok(false);
        };
        let piece = match link.poll_piece(cx) {
            Poll::Pending => return self.flush(cx),
            Poll::Ready(Ok(piece)) => piece,
            Poll::Ready(Err(how)) => return Err(Failure::Truncated(how)),
        };
        self.pass_on(piece)?;
        Ok(true)
    }

    /// Nothing comes from the endpoint: what the client has not been sent yet goes out.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        match self.caller.poll_sent(cx) {
            Poll::Ready(Ok(())) | Poll::Pending => Ok(false),
            Poll::Ready(Err(fault)) => Err(fault.into()),
        }
    }

    fn pass_on(&mut self, piece: Piece) -> Result<(), Failure> {
        if let Some(messages) = &mut self.messages {
            messages.see(&piece.data);
        }
        self.worker.stats().bytes_out.add(piece.data.len() as u64);
        if piece.is_last() {
            self.download = Download::Rest;
        }
        Ok(self.caller.send(piece)?)
    }
}

fn broken(why: &str) -> Failure {
    Failure::Unanswered(Unanswered::Broken(why.to_owned()))
}
