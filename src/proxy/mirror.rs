//! Copies of requests for a second Backend, whose answers nobody gets. A copy is sent once the request itself
//! was sent, by a task of its own, so that the request never waits for it; it enters its endpoint's gate like
//! any other, so that a drain waits for it, and is cut like any other.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use super::buffer::Buffer;
use super::filters::Filtered;
use super::http1::{
    AskedBy, BodyDecoder, CHUNK_END, HeadLimits, RequestBody, RequestHead, Reuse, UpstreamEnd,
    after_response, chunk_head, last_chunk, parse_response,
};
use super::pick::{Picked, Wanted, pick};
use super::proxy_protocol::Addresses;
use super::tls::Offer;
use super::transport::Transport;
use super::worker::{Pool, Unattended, View, Worker};
use crate::gate::InFlight;
use crate::model::Mirror;

/// The longest body that is copied.
const MAX_BODY: usize = 64 * 1024;

/// How long a copy may take, from the picking of an endpoint to the last byte of the answer.
const TAKES: Duration = Duration::from_mins(1);

/// A request that is to be copied.
pub(super) struct Copied<'a> {
    mirror: &'a Mirror,
    pool: &'a Pool,
    /// The request's, where the mirror's Backend goes by keys.
    key: u64,
    asked: AskedBy,
    chunked: bool,
    /// Whose it is, for endpoints that are told.
    client: Addresses,
    /// As the request's own endpoint gets it.
    head: Vec<u8>,
    sent: Cell<bool>,
}

impl fmt::Debug for Copied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copied").finish_non_exhaustive()
    }
}

/// The body of a request that is to be copied, as far as it was sent.
#[derive(Default)]
pub(super) struct CopiedBody(Vec<u8>);

impl CopiedBody {
    /// Takes a piece in; false where that makes it too long.
    pub(super) fn extend(&mut self, piece: &[u8]) -> bool {
        let fits = self.0.len() + piece.len() <= MAX_BODY;
        if fits {
            self.0.extend_from_slice(piece);
        }
        fits
    }
}

impl<'a> Copied<'a> {
    /// Notes a request that its route mirrors, where it is one of those that are copied. An upgrade leads to a
    /// conversation, which has no copy. `written` is its head, as an endpoint of HTTP/1 gets it, whatever the
    /// request came in; `client` says whose it is, and is asked only where there is a copy.
    pub(super) fn new(
        filtered: Option<Filtered<'a>>,
        view: &'a View,
        worker: &Worker,
        head: &RequestHead,
        written: &[u8],
        client: impl FnOnce() -> Addresses,
    ) -> Option<Self> {
        let mirror = filtered?.filters.mirror.as_ref()?;
        if head.upgrade.is_some() || worker.rng.below(100) >= usize::from(mirror.percent) {
            return None;
        }
        Some(Self {
            mirror,
            pool: &view.pools[mirror.backend.backend],
            key: filtered?.mirror_key,
            asked: AskedBy {
                method: head.method,
                upgrade: false,
            },
            chunked: head.body == RequestBody::Chunked,
            client: client(),
            head: written.to_vec(),
            sent: Cell::new(false),
        })
    }

    /// Sends the copy: the request itself was sent, with this body. Once, however often that is tried again.
    pub(super) fn send(&self, body: &CopiedBody, worker: &Rc<Worker>) {
        if self.sent.replace(true) {
            return;
        }
        let place = Unattended::new(worker);
        let wanted = Wanted {
            pool: self.pool,
            tried: &[],
            key: self.key,
        };
        let picked = place.and_then(|place| Some((place, pick(wanted, worker)?.1)));
        let Some((place, in_flight)) = picked else {
            worker.stats().mirrors_skipped.add(1);
            return;
        };
        // From here on an order to cut reaches it, whether its task has run yet or not.
        place.control.upstream.set(in_flight.endpoint().0.key);
        let copy = Copy {
            request: self.request(body),
            asked: self.asked,
            client: self.client,
            connect: self.mirror.backend.timeouts.connect,
            keep: self.mirror.backend.timeouts.backend_idle,
        };
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move { copy.deliver(&worker, &in_flight, &place).await });
    }

    /// The whole request, its body framed as its head says.
    fn request(&self, CopiedBody(body): &CopiedBody) -> Vec<u8> {
        let mut request = self.head.clone();
        if self.chunked {
            chunk_head(body.len() as u64, &mut request);
        }
        request.extend_from_slice(body);
        if self.chunked {
            if !body.is_empty() {
                request.extend_from_slice(CHUNK_END);
            }
            last_chunk(std::iter::empty(), &mut request);
        }
        request
    }
}

/// A copy on its way.
struct Copy {
    request: Vec<u8>,
    asked: AskedBy,
    client: Addresses,
    connect: Duration,
    keep: Duration,
}

impl Copy {
    /// Sends it and reads the answer to its end.
    async fn deliver(&self, worker: &Rc<Worker>, in_flight: &InFlight<Picked>, place: &Unattended) {
        let ended = {
            let exchange = tokio::time::timeout(TAKES, self.exchange(worker, in_flight));
            let mut exchange = std::pin::pin!(exchange);
            poll_fn(|cx| {
                place.control.register(cx.waker());
                if place.control.cut.get() {
                    return Poll::Ready(None);
                }
                exchange.as_mut().poll(cx).map(Some)
            })
            .await
        };
        match ended {
            None => {
                in_flight.count_cut();
                worker.stats().cut.add(1);
                worker.stats().mirrors_failed.add(1);
            }
            Some(Ok(Ok(()))) => worker.stats().mirrors_answered.add(1),
            Some(_) => worker.stats().mirrors_failed.add(1),
        }
    }

    async fn exchange(&self, worker: &Rc<Worker>, in_flight: &InFlight<Picked>) -> io::Result<()> {
        let Picked(upstream, tells, era) = in_flight.endpoint();
        let told = tells.map(|version| (version, self.client));
        let whose = told.as_ref().map(|(_, client)| client);
        let mut stream = if let Some(kept) = upstream.reuse(Instant::now(), whose) {
            kept
        } else {
            let connecting = upstream.connect_telling(told, Offer::Http1, &worker.buffers);
            tokio::time::timeout(self.connect, connecting).await??
        };
        stream.write_all(&self.request).await?;
        stream.flush().await?;
        let mut buffer = Buffer::new(&worker.buffers);
        let Some(keep) = self.read_answer(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let end = UpstreamEnd {
            request_sent: true,
            response_finished: true,
            keep_alive: true,
            leftover: !buffer.is_empty(),
        };
        if after_response(end) == Reuse::Pool {
            let told = whose.copied().map(Box::new);
            upstream.keep((stream, *era), keep, Instant::now(), told);
        }
        Ok(())
    }

    /// Reads an answer to its end and throws it away; how long the connection may be kept, where it may.
    async fn read_answer(
        &self,
        stream: &mut Transport,
        buffer: &mut Buffer,
    ) -> io::Result<Option<Duration>> {
        let mut fields = Vec::new();
        let head = loop {
            let parsed = parse_response(
                buffer.filled(),
                self.asked,
                &HeadLimits::RESPONSE,
                &mut fields,
            );
            match parsed.map_err(|_| io::ErrorKind::InvalidData)? {
                Some((head, length)) => {
                    buffer.consume(length);
                    if !head.is_interim() {
                        break head;
                    }
                }
                None if fill(buffer, stream).await? => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        let mut body = BodyDecoder::from(head.body);
        while !body.is_finished() {
            let piece = body.decode(buffer.filled());
            let piece = piece.map_err(|_| io::ErrorKind::InvalidData)?;
            buffer.consume(piece.consumed);
            if !body.is_finished() && buffer.is_empty() && !fill(buffer, stream).await? {
                let ended = body.finish_at_eof();
                ended.map_err(|_| io::ErrorKind::UnexpectedEof)?;
                return Ok(None);
            }
        }
        // A second below what the endpoint says, for the way (PITFALLS 44).
        let theirs = head.keep_alive_timeout;
        let theirs = theirs.map(|time| time.saturating_sub(Duration::from_secs(1)));
        let keep = theirs.map_or(self.keep, |theirs| theirs.min(self.keep));
        Ok(head.keep_alive.then_some(keep))
    }
}

/// Reads more; false where there is no more.
async fn fill(buffer: &mut Buffer, stream: &mut Transport) -> io::Result<bool> {
    let count = poll_fn(|cx| buffer.poll_fill(stream, cx)).await?;
    Ok(count > 0)
}
