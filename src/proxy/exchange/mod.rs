//! One attempt at one request whose client and endpoint do not both speak HTTP/1: the request on its way to the
//! endpoint and the response on its way back, both at once, on one task. Nothing is read that cannot be passed
//! on, so each side slows the other. (Where both speak HTTP/1, `http1::driver` does the same without a copy.)
//!
//! The guard that counts the request as in flight lives here, and is given up the moment the response was read
//! to its end and the request was sent or given up.

mod caller;
mod connect;
mod grpc;
mod http1_link;
mod http2_link;
mod link;
mod piece;
mod replay;

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

pub(super) use caller::{Caller, CallerFault};
pub(super) use connect::{Outbound, connect, reuse};
pub(super) use grpc::Messages;
pub(super) use grpc::{
    is_grpc, status as grpc_status, timeout as grpc_timeout, trailers as grpc_trailers,
};
pub(super) use http1_link::Http1Link;
pub(super) use http2_link::{Http2Link, retain_trailers};
pub(super) use link::{Link, LinkFault};
pub(super) use piece::{Piece, Then};
pub(super) use replay::Replay;

use link::Received;

use super::http1::driver::Task;
use super::http1::{AskedBy, BodyFault, ResponseContext, ResponseFraming, forward_response};
use super::mirror::CopiedBody;
use super::pick::Picked;
use super::timer::Timer;
use super::worker::{Control, Worker};
use crate::gate::InFlight;

/// Interim responses to one request; more is no backend's honest doing.
const MAX_INTERIM: u32 = 32;

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    /// Nothing went out: the head waits for what is here of the body, so that both go at once.
    Begin,
    /// The head, or a piece of the body, is on its way to the endpoint. `last`: nothing follows it.
    Sending { last: bool },
    /// More of the body is awaited from the client.
    Reading,
    /// It was sent to its end.
    Done,
    /// The rest will not be sent.
    GivenUp,
}

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Download {
    /// Its head is awaited.
    Head,
    /// Its body is read, and passed on.
    Body,
    /// All of it was read; the rest of it waits for the client's window.
    Rest,
    /// All of it is with the client's connection.
    Done,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Both sides are over.
    Finished,
    /// The endpoint answered a WebSocket's opening with a switch: a tunnel follows.
    Switched,
    /// No response came. The client has seen nothing of it.
    Unanswered(LinkFault),
    /// It did not come in time.
    TimedOut,
    /// The response broke off, and the client has seen its head.
    Truncated,
    /// The client has given it up, or takes nothing any more.
    ClientGone,
    /// The request's body is malformed.
    Malformed(BodyFault),
    /// The request's body is longer than allowed.
    TooLong,
    /// The request's body took too long.
    BodyTimedOut,
    /// The exchange was ended by force.
    Cut,
}

impl From<CallerFault> for Ended {
    fn from(fault: CallerFault) -> Self {
        match fault {
            CallerFault::Gone => Self::ClientGone,
            CallerFault::Malformed(fault) => Self::Malformed(fault),
        }
    }
}

pub(super) struct Exchange<'a, C> {
    caller: &'a mut C,
    worker: &'a Rc<Worker>,
    control: &'a Control,
    task: Task<'a>,
    timer: &'a mut Timer,
    link: Option<Link>,
    in_flight: Option<InFlight<Picked>>,
    upload: Upload,
    download: Download,
    /// A piece of a response waits for the client's window.
    blocked: bool,
    body_read: u64,
    sent_at: Option<Instant>,
    upload_moved: Instant,
    download_moved: Instant,
    interim_seen: u32,
    /// What was sent of the body, where it is to be copied and not too long.
    copied_body: Option<CopiedBody>,
    now: Instant,
    /// Where the messages of a gRPC response end.
    pub(super) messages: Option<Messages>,
}

impl<'a, C: Caller> Exchange<'a, C> {
    /// `link` has the request's head; `ends` where that is all of it.
    pub(super) fn new(
        (caller, timer): (&'a mut C, &'a mut Timer),
        (worker, control): (&'a Rc<Worker>, &'a Control),
        task: Task<'a>,
        (link, ends): (Link, bool),
        in_flight: InFlight<Picked>,
        now: Instant,
    ) -> Self {
        Self {
            caller,
            worker,
            control,
            task,
            timer,
            link: Some(link),
            in_flight: Some(in_flight),
            upload: if ends {
                Upload::Sending { last: true }
            } else {
                Upload::Begin
            },
            download: Download::Head,
            blocked: false,
            body_read: 0,
            sent_at: None,
            upload_moved: now,
            download_moved: now,
            interim_seen: 0,
            copied_body: task.copied.map(|_| CopiedBody::default()),
            now,
            messages: None,
        }
    }

    /// Whether any of the request may have reached the endpoint.
    pub(super) fn sent(&self) -> u64 {
        self.link.as_ref().map_or(1, Link::sent)
    }

    /// Moves what can be moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.control.cut.get() {
            if let Some(in_flight) = &self.in_flight {
                in_flight.count_cut();
            }
            self.worker.stats().cut.add(1);
            return Poll::Ready(Ended::Cut);
        }
        self.now = Instant::now();
        loop {
            // What the endpoint has said is read before more is written to it: one that answers early and
            // closes resets the connection at the next write, and with it an answer not read yet.
            let moved = self
                .poll_download(cx)
                .and_then(|down| Ok(self.poll_upload(cx)? || down));
            match moved {
                Err(ended) => return Poll::Ready(ended),
                Ok(moved) => {
                    self.settle();
                    if self.download == Download::Done && self.upload_is_over() {
                        return Poll::Ready(Ended::Finished);
                    }
                    if !moved {
                        break;
                    }
                }
            }
        }
        if self.caller.poll_gone(cx).is_ready() {
            return Poll::Ready(Ended::ClientGone);
        }
        self.poll_deadlines(cx)
    }

    fn upload_is_over(&self) -> bool {
        matches!(self.upload, Upload::Done | Upload::GivenUp)
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
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
                Upload::Reading => self.poll_more(cx)?,
                Upload::Done | Upload::GivenUp => false,
            };
            if !again {
                return Ok(moved);
            }
            moved = true;
        }
    }

    fn poll_flush(&mut self, last: bool, cx: &mut Context<'_>) -> Result<bool, Ended> {
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
                return Err(Ended::Unanswered(LinkFault::Closed));
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
            self.upload = Upload::Reading;
        }
        Ok(true)
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
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

    fn count_body(&mut self, length: u64) -> Result<(), Ended> {
        self.body_read += length;
        self.worker.stats().bytes_in.add(length);
        match self.task.body_limit {
            Some(limit) if self.body_read > limit => Err(Ended::TooLong),
            _ => Ok(()),
        }
    }

    /// Sends no more of the request.
    fn give_up(&mut self) {
        self.upload = Upload::GivenUp;
        self.sent_at = Some(self.now);
        self.caller.give_up_body();
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
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
                Download::Done => false,
            };
            if !again {
                return Ok(moved);
            }
            self.download_moved = self.now;
            moved = true;
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let Some(link) = &mut self.link else {
            return Ok(false);
        };
        let asked = AskedBy {
            method: self.task.head.method,
            upgrade: self.task.upgrade,
        };
        match link.poll_head(asked, cx) {
            Poll::Pending => self.flush(cx),
            Poll::Ready(Err(fault)) => Err(Ended::Unanswered(fault)),
            Poll::Ready(Ok(received)) if received.head.is_interim() => {
                self.interim(received)?;
                Ok(true)
            }
            Poll::Ready(Ok(received)) if received.head.is_switch() => {
                self.switch(received)?;
                Err(Ended::Switched)
            }
            Poll::Ready(Ok(received)) => {
                self.begin(received)?;
                Ok(true)
            }
        }
    }

    /// Passes an interim response on: a 100 only where it was asked for.
    fn interim(&mut self, received: Received) -> Result<(), Ended> {
        self.interim_seen += 1;
        if self.interim_seen > MAX_INTERIM {
            let why = "interim responses without end".to_owned();
            return Err(Ended::Unanswered(LinkFault::Broken(why)));
        }
        if received.head.status != 100 || self.task.head.expects_continue {
            let head = self.head(received, ResponseFraming::None);
            self.caller.interim(head)?;
        }
        if let Some(link) = &mut self.link {
            link.consume_head(None);
        }
        Ok(())
    }

    /// The final head is here.
    fn begin(&mut self, received: Received) -> Result<(), Ended> {
        let head = received.head;
        let framing = ResponseFraming::choose(&head, self.caller.version());
        let text = self.head(received, framing);
        if let Some(link) = &mut self.link {
            link.consume_head(Some(head.body));
            let ends = link.is_read();
            self.download = if ends { Download::Rest } else { Download::Body };
            self.worker.count_response(head.status);
            self.caller.begin(text, framing, ends)?;
        }
        Ok(())
    }

    /// The endpoint switches to a WebSocket, which HTTP/2 calls a 200 (RFC 8441 section 5).
    fn switch(&mut self, received: Received) -> Result<(), Ended> {
        let mut head = received.head;
        head.status = 200;
        let text = self.head(Received { head }, ResponseFraming::None);
        if let Some(link) = &mut self.link {
            link.consume_head(None);
        }
        self.worker.count_response(101);
        self.caller.begin(text, ResponseFraming::None, false)?;
        Ok(())
    }

    /// The head of the response as the client gets it.
    fn head(&self, received: Received, framing: ResponseFraming) -> Vec<u8> {
        let (bytes, fields) = self.link.as_ref().map(Link::head_parts).unwrap_or_default();
        let mut text = Vec::with_capacity(512);
        self.worker.with_date(self.now, |date| {
            let context = ResponseContext {
                client: self.caller.version(),
                close: self.caller.closes(framing),
                framing,
                date,
                edits: self.task.edits,
            };
            forward_response(&received.head, bytes, fields, &context, &mut text);
        });
        text
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
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
            Poll::Ready(Err(_)) => return Err(Ended::Truncated),
        };
        self.pass_on(piece)?;
        Ok(true)
    }

    /// Nothing comes from the endpoint: what the client has not been sent yet goes out.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        match self.caller.poll_sent(cx) {
            Poll::Ready(Ok(())) | Poll::Pending => Ok(false),
            Poll::Ready(Err(fault)) => Err(fault.into()),
        }
    }

    fn pass_on(&mut self, piece: Piece) -> Result<(), Ended> {
        if let Some(messages) = &mut self.messages {
            messages.see(&piece.data);
        }
        self.worker.stats().bytes_out.add(piece.data.len() as u64);
        if piece.is_last() {
            self.download = Download::Rest;
        }
        self.caller.send(piece)?;
        Ok(())
    }

    /// Gives the endpoint up as soon as it is done with: the response was read to its end, and the request was
    /// sent or given up. What the client has still to take needs no endpoint.
    fn settle(&mut self) {
        let read = matches!(self.download, Download::Rest | Download::Done);
        if !read || self.in_flight.is_none() {
            return;
        }
        if !self.upload_is_over() {
            // The answer is whole: nobody needs the rest of the request (RFC 9113 section 8.1).
            self.give_up();
        }
        let whole = self.upload == Upload::Done;
        if let Some(in_flight) = self.in_flight.take() {
            self.control.upstream.set(0);
            if let (Some(Link::Http1(link)), true) = (self.link.take(), whole) {
                link.keep(
                    &in_flight.endpoint().0,
                    self.task.timeouts.backend_idle,
                    self.now,
                );
            }
        }
    }

    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some((deadline, ended)) = self.next_deadline() else {
            return Poll::Pending;
        };
        if self.timer.poll_until(deadline, cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(ended)
    }

    /// The earliest of the deadlines that stand now, and what its passing means.
    fn next_deadline(&self) -> Option<(Instant, Ended)> {
        let client = self.task.client_timeouts;
        let late = || {
            if self.caller.has_begun() {
                Ended::Truncated
            } else {
                Ended::TimedOut
            }
        };
        let whole = self.task.deadline.filter(|_| self.in_flight.is_some());
        let awaited = self.download == Download::Head && self.upload_is_over();
        let response = awaited
            .then_some(self.sent_at)
            .flatten()
            .and_then(|sent| Some(sent + self.task.timeouts.response_head?));
        let upload = match self.upload {
            Upload::Begin | Upload::Sending { .. } => {
                Some((self.upload_moved + client.write, late()))
            }
            Upload::Reading => Some((self.upload_moved + client.request_body, Ended::BodyTimedOut)),
            Upload::Done | Upload::GivenUp => None,
        };
        let writing =
            self.download == Download::Rest || (self.download == Download::Body && self.blocked);
        let write = writing.then_some((self.download_moved + client.write, Ended::ClientGone));
        let all = [
            whole.map(|at| (at, late())),
            response.map(|at| (at, late())),
            upload,
            write,
        ];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The parts that a tunnel is made of.
    pub(super) fn into_tunnel(self) -> Option<(Link, InFlight<Picked>)> {
        Some((self.link?, self.in_flight?))
    }
}
