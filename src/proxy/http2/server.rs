//! A client's connection that speaks HTTP/2: accepts its streams, and says when it ends.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};

use super::stream::Stream;
use super::{CONNECTION_WINDOW, SMALL_PIECES, STREAM_WINDOW, Socket};
use crate::model::ClientTimeouts;
use crate::proxy::http1::ClientFields;
use crate::proxy::http1::driver::site_for;
use crate::proxy::proxy_protocol::Addresses;
use crate::proxy::respond::Answer;
use crate::proxy::timer::Timer;
use crate::proxy::worker::{Control, Shutdown, Site, View, Worker};

/// Requests at once on one connection.
const MAX_STREAMS: u32 = 256;
/// Bytes of one response that wait for the client's window.
const SEND_BUFFER: usize = 64 * 1024;
/// Requests that a client may give up early before it is asked whether it does little else: HTTP/2 lets it
/// have far more begun than run at once (CVE-2023-44487).
const EARLY_RESETS: u32 = 200;

/// What the streams of one connection share.
pub(in crate::proxy) struct Client {
    pub(super) worker: Rc<Worker>,
    /// By it the connection's own task is woken.
    control: Rc<Control>,
    pub(super) peer: SocketAddr,
    /// Both ends of its connection.
    pub(super) addresses: Addresses,
    /// What endpoints are told of it.
    pub(super) told: RefCell<ClientFields>,
    port: u16,
    /// Requests that are being served.
    open: Cell<usize>,
    requests: Cell<u32>,
    /// Requests that the client gave up before they were answered.
    given_up: Cell<u32>,
    last_end: Cell<Instant>,
}

impl Client {
    pub(in crate::proxy) fn new(
        worker: Rc<Worker>,
        control: &Rc<Control>,
        addresses: Addresses,
        port: u16,
        told: ClientFields,
    ) -> Self {
        Self {
            worker,
            control: Rc::clone(control),
            peer: addresses.source,
            addresses,
            told: RefCell::new(told),
            port,
            open: Cell::new(0),
            requests: Cell::new(0),
            given_up: Cell::new(0),
            last_end: Cell::new(Instant::now()),
        }
    }

    /// What serves its requests now, or why nothing does any more.
    pub(super) fn site(&self, view: &View) -> Result<Rc<Site>, Answer> {
        site_for(&self.worker, view, self.port, self.peer.ip())
    }

    /// The client gave a request up before it was answered.
    pub(super) fn count_given_up(&self) {
        self.given_up.set(self.given_up.get().saturating_add(1));
    }

    fn timeouts(&self) -> ClientTimeouts {
        let view = self.worker.view();
        view.site(self.port)
            .map(|site| site.load_balancer().timeouts)
            .unwrap_or_default()
    }

    /// Whether it begins requests only to give them up.
    fn is_abusive(&self) -> bool {
        let given_up = self.given_up.get();
        given_up > EARLY_RESETS && given_up > self.requests.get() / 2
    }
}

/// A request that is being served.
pub(super) struct Open(Rc<Client>);

impl Open {
    fn new(client: &Rc<Client>) -> Self {
        client.open.set(client.open.get() + 1);
        client.requests.set(client.requests.get().saturating_add(1));
        Self(Rc::clone(client))
    }

    /// Whose it is.
    pub(super) fn client(&self) -> &Rc<Client> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let open = self.0.open.get() - 1;
        self.0.open.set(open);
        if open == 0 {
            self.0.last_end.set(Instant::now());
            // It may be idle from here on, or be over.
            self.0.control.wake();
        }
    }
}

/// How far the end of the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// The client was told to open no more streams, at this time.
    Told(Instant),
}

/// Serves a client's connection until it ends.
pub(in crate::proxy) async fn serve(socket: Socket, client: Rc<Client>) {
    let mut timer = Timer::default();
    let site = client.worker.view().site(client.port);
    // Where it is served no more, each request is told so.
    let limits = site.map(|site| site.load_balancer().limits);
    let limits = limits.unwrap_or_default();
    let handshake = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(SMALL_PIECES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol()
        .handshake::<_, Bytes>(socket);
    let patience = Instant::now() + client.timeouts().request_head;
    let mut handshake = std::pin::pin!(handshake);
    let connection = poll_fn(|cx| {
        if let Poll::Ready(made) = handshake.as_mut().poll(cx) {
            return Poll::Ready(made.ok());
        }
        timer.poll_until(patience, cx).map(|()| None)
    });
    let Some(mut connection) = connection.await else {
        return;
    };
    let mut ending = Ending::No;
    loop {
        let next = poll_fn(|cx| {
            client.control.register(cx.waker());
            poll_next(&mut connection, &client, &mut ending, &mut timer, cx)
        });
        match next.await {
            Some((request, reply)) => {
                let (parts, body) = request.into_parts();
                let stream = Stream::new(Open::new(&client), &parts, body, reply);
                begin(stream, &parts);
            }
            None => return,
        }
    }
}

/// Has a request served by a task of its own, which its head does not come into: it has been read.
fn begin(mut stream: Stream, parts: &http::request::Parts) {
    match stream.read(parts) {
        Ok(asked) => drop(tokio::task::spawn_local(stream.serve(asked))),
        Err(answer) => stream.answer(&answer),
    }
}

type Accepted = (http::Request<RecvStream>, SendResponse<Bytes>);

/// The next request; `None` once the connection is over.
fn poll_next(
    connection: &mut Connection<Socket, Bytes>,
    client: &Client,
    ending: &mut Ending,
    timer: &mut Timer,
    cx: &mut Context<'_>,
) -> Poll<Option<Accepted>> {
    let shutdown = client.worker.shutdown();
    // In two steps (PITFALLS 15): streams that the client began before it heard of it are served. One that
    // has just come is told with its first request, or it would come again for nothing.
    let announced = shutdown == Shutdown::Announced && client.requests.get() > 0;
    if *ending == Ending::No && (announced || shutdown >= Shutdown::Idle) {
        connection.graceful_shutdown();
        *ending = Ending::Told(Instant::now());
    }
    if client.is_abusive() {
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    }
    if client.open.get() < 2 * MAX_STREAMS as usize {
        match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok(accepted))) => return Poll::Ready(Some(accepted)),
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "connection of a client");
                return Poll::Ready(None);
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
    } else if connection.poll_closed(cx).is_ready() {
        // Streams that were reset are still being ended: no more are taken until they are.
        return Poll::Ready(None);
    }
    if client.open.get() == 0 && shutdown == Shutdown::Cut {
        return Poll::Ready(None);
    }
    if client.open.get() > 0 {
        // The last of them wakes us.
        return Poll::Pending;
    }
    poll_idle(connection, client, ending, timer, cx)
}

fn poll_idle(
    connection: &mut Connection<Socket, Bytes>,
    client: &Client,
    ending: &mut Ending,
    timer: &mut Timer,
    cx: &mut Context<'_>,
) -> Poll<Option<Accepted>> {
    let timeouts = client.timeouts();
    loop {
        let deadline = match *ending {
            Ending::No => client.last_end.get() + timeouts.idle,
            // It has what it was sent, or takes none of it.
            Ending::Told(at) => at.max(client.last_end.get()) + timeouts.write,
        };
        if timer.poll_until(deadline, cx).is_pending() {
            return Poll::Pending;
        }
        if *ending != Ending::No {
            return Poll::Ready(None);
        }
        connection.graceful_shutdown();
        *ending = Ending::Told(Instant::now());
        if connection.poll_closed(cx).is_ready() {
            return Poll::Ready(None);
        }
    }
}
