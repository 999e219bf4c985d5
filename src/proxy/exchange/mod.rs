//! One attempt at one request whose client and endpoint do not both speak HTTP/1: the request on its way to the
//! endpoint (`upload`) and the response on its way back (`download`), both at once, on one task. Nothing is read
//! that cannot be passed on, so each side slows the other. (Where both speak HTTP/1, `http1::driver` does the
//! same without a copy.)
//!
//! The guard that counts the request as in flight lives here, and is given up the moment the response was read
//! to its end and the request was sent or given up; or it goes into the tunnel (`tunnel`).

mod caller;
mod connect;
mod deadlines;
mod download;
mod http1_link;
mod http2_link;
mod link;
mod piece;
mod replay;
mod tunnel;
mod upload;

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

pub(super) use caller::{Caller, CallerFault};
pub(super) use connect::{Linked, Outbound, connect, reuse};
pub(super) use http1_link::Http1Link;
pub(super) use http2_link::Http2Link;
pub(super) use link::Link;
pub(super) use piece::{Piece, Then};
pub(super) use replay::Replay;
pub(super) use tunnel::{Opened, tunnel};

use download::Download;
use upload::Upload;

use super::attempts::{Ended, Failure, Task};
use super::grpc::Messages;
use super::mirror::CopiedBody;
use super::pick::Picked;
use super::timer::Timer;
use super::worker::{Control, Worker};
use crate::gate::InFlight;

impl From<CallerFault> for Failure {
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
    /// `link` has the request's head; `ends` where that is all that is sent for now.
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

    /// Bytes of the request that may have reached the endpoint.
    pub(super) fn sent(&self) -> u64 {
        self.link.as_ref().map_or(1, Link::sent)
    }

    /// Moves what can be moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.control.cut.get() {
            let ended = self.ended();
            return Poll::Ready(ended.unwrap_or_else(|| Ended::Failed(self.cut())));
        }
        self.now = Instant::now();
        loop {
            // What the endpoint has said is read before more is written to it: one that answers early and
            // closes resets the connection at the next write, and with it an answer not read yet.
            let moved = self
                .poll_download(cx)
                .and_then(|down| Ok(self.poll_upload(cx)? || down));
            match moved {
                Err(failure) => return Poll::Ready(Ended::Failed(failure)),
                Ok(moved) => {
                    self.settle();
                    if let Some(ended) = self.ended() {
                        return Poll::Ready(ended);
                    }
                    if !moved {
                        break;
                    }
                }
            }
        }
        if self.caller.poll_gone(cx).is_ready() {
            self.doubt_after_waiting();
            return Poll::Ready(Ended::Failed(Failure::ClientGone));
        }
        self.poll_deadlines(cx).map(Ended::Failed)
    }

    fn cut(&self) -> Failure {
        if let Some(in_flight) = &self.in_flight {
            in_flight.count_cut();
        }
        self.worker.stats().cut.add(1);
        Failure::Cut
    }

    fn ended(&self) -> Option<Ended> {
        match self.download {
            Download::Done if self.upload == Upload::Ending && !self.control.cut.get() => None,
            Download::Done if self.upload.is_over() => Some(Ended::Finished),
            Download::Switched => Some(Ended::Switched),
            _ => None,
        }
    }

    /// Gives the endpoint up as soon as it is done with: the response was read to its end, and the request was
    /// sent or given up. What the client has still to take needs no endpoint.
    fn settle(&mut self) {
        let read = matches!(self.download, Download::Rest | Download::Done);
        if !read || self.in_flight.is_none() {
            return;
        }
        if !self.upload.is_over() {
            // The answer is whole: nobody needs the rest of the request (RFC 9113 section 8.1).
            self.give_up();
        }
        let whole = self.upload.is_whole();
        if let Some(in_flight) = self.in_flight.take() {
            self.control.upstream.set(0);
            if let (Some(Link::Http1(link)), true) = (self.link.take(), whole) {
                link.keep(
                    in_flight.endpoint(),
                    self.task.timeouts.backend_idle,
                    self.now,
                );
            }
        }
    }
}
