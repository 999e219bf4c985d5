//! One attempt at one exchange: a request on its way to an endpoint and its response on its way back,
//! both at once, on one task. Nothing is read that cannot be passed on, so each side slows the other.
//!
//! The guard that counts the request as in flight lives here, and is given up the moment the response was
//! read to its end and the request was sent or given up.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::super::{
    ClientConnection, Event, RequestBody, ResponseFraming, Reuse, UpstreamEnd, after_response,
};
use super::client::Client;
use super::download::Download;
use super::outgoing::Outgoing;
use super::relay::BodyRelay;
use super::upload::Upload;
use super::{closing, on};
use crate::gate::InFlight;
use crate::proxy::attempts::{Ended, Failure, Task};
use crate::proxy::buffer::Buffer;
use crate::proxy::mirror::CopiedBody;
use crate::proxy::pick::Picked;
use crate::proxy::transport::Transport;
use crate::proxy::worker::Worker;

/// A connection to an endpoint, in use.
#[derive(Debug)]
pub(super) struct Link {
    /// `None` once it went back to its pool.
    stream: Option<Transport>,
    /// Read from the endpoint and not used yet.
    pub(super) buffer: Buffer,
}

impl Link {
    pub(super) fn new(stream: Transport, buffer: Buffer) -> Self {
        Self {
            stream: Some(stream),
            buffer,
        }
    }

    fn take_stream(&mut self) -> Option<Transport> {
        self.stream.take()
    }

    /// Reads more from the endpoint; the end of the stream where the connection is no longer ours.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Some(stream) => self.buffer.poll_fill(stream, cx),
            None => Poll::Ready(Ok(0)),
        }
    }

    /// Writes what is in `out`, with data from `source`.
    pub(super) fn poll_out(
        &mut self,
        out: &mut Outgoing,
        source: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => out.poll_write(source, stream, cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// The connection and what was read from it, for a tunnel.
    pub(super) fn into_parts(self) -> Option<(Transport, Buffer)> {
        Some((self.stream?, self.buffer))
    }
}

/// What the client has seen of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that would stand in the way of another answer.
    Nothing,
    /// A part of an interim head.
    Interim,
    /// The final head, or a part of it, and perhaps some of the body.
    Head,
    /// All of it.
    Whole,
}

pub(super) struct Exchange<'a> {
    pub(super) client: &'a mut Client,
    pub(super) state: &'a mut ClientConnection,
    pub(super) worker: &'a Rc<Worker>,
    pub(super) task: Task<'a>,
    pub(super) link: Link,
    in_flight: Option<InFlight<Picked>>,
    /// The latest reading of the clock.
    pub(super) now: Instant,

    pub(super) upload: Upload,
    pub(super) request_body: BodyRelay,
    pub(super) body_read: u64,
    /// What was sent of the body, where it is to be copied and not too long.
    pub(super) copied_body: Option<CopiedBody>,
    pub(super) sent_at: Option<Instant>,
    pub(super) upload_moved: Instant,
    pub(super) continued_by_us: bool,

    pub(super) download: Download,
    /// That of a final response, once its head is here.
    pub(super) response_body: BodyRelay,
    pub(super) framing: ResponseFraming,
    pub(super) response_keep: Option<Kept>,
    pub(super) interim_seen: u32,
    pub(super) download_moved: Instant,
}

/// What the response said about its connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Kept {
    pub(in crate::proxy) keep_alive: bool,
    pub(in crate::proxy) timeout: Option<std::time::Duration>,
}

impl Kept {
    /// How long the connection is kept: `ours`, or a second below what the endpoint says, for the way
    /// (PITFALLS 44).
    pub(in crate::proxy) fn time(self, ours: std::time::Duration) -> std::time::Duration {
        let theirs = self
            .timeout
            .map(|t| t.saturating_sub(std::time::Duration::from_secs(1)));
        theirs.map_or(ours, |theirs| theirs.min(ours))
    }
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        client: &'a mut Client,
        state: &'a mut ClientConnection,
        worker: &'a Rc<Worker>,
        task: Task<'a>,
        stream: Transport,
        in_flight: InFlight<Picked>,
        now: Instant,
    ) -> Self {
        let waits = task.head.expects_continue && client.buffer.is_empty();
        Self {
            link: Link::new(stream, Buffer::new(&worker.buffers)),
            client,
            state,
            worker,
            in_flight: Some(in_flight),
            now,
            upload: Upload::Head { waits },
            request_body: BodyRelay::new(task.head.body, task.head.body == RequestBody::Chunked),
            body_read: 0,
            copied_body: task.copied.map(|_| CopiedBody::default()),
            sent_at: None,
            upload_moved: now,
            continued_by_us: false,
            download: Download::Head,
            response_body: BodyRelay::new(RequestBody::None, false),
            framing: ResponseFraming::None,
            response_keep: None,
            interim_seen: 0,
            download_moved: now,
            task,
        }
    }

    /// Bytes of the request that the endpoint's kernel took.
    pub(super) fn sent(&self) -> u64 {
        self.client.forward.total()
    }

    /// What the client has seen of the response so far.
    pub(super) fn seen(&self) -> Seen {
        match self.download {
            Download::Done => Seen::Whole,
            Download::Sending | Download::Reading | Download::Switched => Seen::Head,
            Download::Interim | Download::Switching if self.client.out.has_begun() => Seen::Interim,
            Download::Head | Download::Interim | Download::Switching => Seen::Nothing,
        }
    }

    /// Moves what can be moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.client.control().cut.get() {
            return Poll::Ready(self.cut());
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
                    self.settle_upstream();
                    if let Some(ended) = self.ended() {
                        return Poll::Ready(ended);
                    }
                    if !moved {
                        break;
                    }
                }
            }
        }
        self.poll_deadlines(cx)
    }

    fn cut(&mut self) -> Ended {
        if let Some(in_flight) = &self.in_flight {
            in_flight.count_cut();
        }
        self.worker.stats().cut.add(1);
        Ended::Failed(Failure::Cut)
    }

    fn ended(&self) -> Option<Ended> {
        match self.download {
            Download::Done if self.upload.is_over() => Some(Ended::Finished),
            Download::Switched => Some(Ended::Switched),
            _ => None,
        }
    }

    /// Gives the endpoint up as soon as it is done with: the response was read to its end, and the
    /// request was sent or given up. What the client has still to take needs no endpoint.
    fn settle_upstream(&mut self) {
        let read = self.response_body.is_read() && self.response_keep.is_some();
        if !read || !self.upload.is_over() || self.in_flight.is_none() {
            return;
        }
        let Some(kept) = self.response_keep else {
            return;
        };
        // What is carried on its way to the client is the response's own; anything beyond is nobody's.
        let pending = self.client.out.consumed();
        let end = UpstreamEnd {
            request_sent: self.upload == Upload::Done,
            response_finished: true,
            keep_alive: kept.keep_alive,
            leftover: self.link.buffer.filled().len() > pending + self.response_body.ahead(),
        };
        let Some(in_flight) = self.in_flight.take() else {
            return;
        };
        self.client.control().upstream.set(0);
        if after_response(end) == Reuse::Pool {
            self.keep_connection(&in_flight, kept);
        }
    }

    /// Returns the connection to the endpoint's pool; a settled exchange uses it no more.
    fn keep_connection(&mut self, in_flight: &InFlight<Picked>, kept: Kept) {
        let keep = kept.time(self.task.timeouts.backend_idle);
        if let Some(stream) = self.link.take_stream() {
            let Picked(upstream, tells, era) = in_flight.endpoint();
            let told = tells.map(|_| Box::new(self.client.addresses()));
            upstream.keep((stream, *era), keep, self.now, told);
        }
    }

    /// Whether the response's head, which goes out now, is to say that the connection closes: as things
    /// are now, not as they were when the request came.
    pub(super) fn closes(&self) -> bool {
        self.state.must_close() || self.framing.closes() || closing(self.worker, self.client)
    }

    pub(super) fn on(&mut self, event: Event) {
        on(self.state, event);
    }

    /// The parts that a tunnel is made of.
    pub(super) fn into_tunnel(self) -> Option<(Link, InFlight<Picked>)> {
        Some((self.link, self.in_flight?))
    }
}
