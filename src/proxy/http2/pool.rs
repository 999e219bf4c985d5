//! The connections that one worker has to one endpoint that speaks HTTP/2: each carries as many exchanges as
//! the endpoint allows.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use h2::SendStream;
use h2::client::{Builder, ResponseFuture, SendRequest};

use super::{CONNECTION_WINDOW, SMALL_PIECES, STREAM_WINDOW};

/// Streams at once on one connection, where the endpoint allows more.
const MAX_STREAMS: usize = 256;
/// Bytes of one response's fields.
const MAX_FIELDS: u32 = 64 * 1024;
/// Bytes that wait for the endpoint's window, for each stream.
const SEND_BUFFER: usize = 64 * 1024;

/// How long making a connection may take, whoever waits for it and however long they do: one that an endpoint takes
/// and never answers on would be waited for by all that come later.
const MAKING: Duration = Duration::from_secs(15);

/// Connections to one endpoint. Empty costs nothing.
#[derive(Default)]
pub(in crate::proxy) struct Http2Pool {
    connections: Rc<RefCell<Vec<Rc<Connection>>>>,
    /// One that is being made; all who need one wait for it. Its own task makes it, and takes it out of here: whoever
    /// began it may be gone by then.
    connecting: Rc<RefCell<Option<Connecting>>>,
}

type Made = Result<Rc<Connection>, Rc<io::Error>>;
type Connecting = Shared<LocalBoxFuture<'static, Made>>;

impl std::fmt::Debug for Http2Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.connections.borrow().len();
        f.debug_struct("Http2Pool")
            .field("connections", &count)
            .finish_non_exhaustive()
    }
}

/// One connection.
struct Connection {
    send: SendRequest<Bytes>,
    streams: Cell<usize>,
    /// Takes no more streams: the endpoint said so, or it is gone.
    over: Cell<bool>,
    idle_since: Cell<Instant>,
    /// How often the endpoint has said something on it.
    heard: Cell<u64>,
}

/// One stream's place on a connection, given up when this is dropped; and how often the endpoint had said something
/// when it was taken.
pub(in crate::proxy) struct Lease(Rc<Connection>, u64);

impl Lease {
    /// The endpoint has said something.
    pub(in crate::proxy) fn note_heard(&self) {
        self.0.heard.set(self.0.heard.get().wrapping_add(1));
    }

    /// The stream was not answered in time. Where nothing else was since it began, the endpoint may have gone without
    /// a word, which the kernel finds out after some 15 minutes only: the connection takes no more streams. Those
    /// that it has may finish.
    pub(in crate::proxy) fn doubt(&self) {
        if self.0.heard.get() == self.1 {
            self.0.over.set(true);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let streams = self.0.streams.get() - 1;
        self.0.streams.set(streams);
        if streams == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

impl Connection {
    /// A place for a stream, where there is room for one.
    fn lease(self: &Rc<Self>) -> Option<Lease> {
        let most = self.send.current_max_send_streams().min(MAX_STREAMS);
        if self.over.get() || self.streams.get() >= most {
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        Some(Lease(Rc::clone(self), self.heard.get()))
    }
}

/// A place for one request on a connection that was there before or is new.
pub(in crate::proxy) struct Place {
    lease: Lease,
    /// It was made for this request.
    pub(in crate::proxy) fresh: bool,
    /// It was there before: nobody had to wait for it.
    pub(in crate::proxy) kept: bool,
}

impl Place {
    fn waited_for(lease: Lease, fresh: bool) -> Self {
        let kept = false;
        Self { lease, fresh, kept }
    }

    /// Whether the endpoint takes `WebSocket`s (RFC 8441 section 3).
    pub(in crate::proxy) fn takes_websockets(&self) -> bool {
        self.lease.0.send.is_extended_connect_protocol_enabled()
    }

    /// Sends the head of a request; gives the place up where the connection takes no more.
    pub(in crate::proxy) fn send(
        self,
        request: http::Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>, Lease), h2::Error> {
        let mut send = self.lease.0.send.clone();
        match send.send_request(request, ends) {
            Ok((response, stream)) => Ok((response, stream, self.lease)),
            Err(error) => {
                self.lease.0.over.set(true);
                Err(error)
            }
        }
    }
}

impl Http2Pool {
    /// A place on a connection, nothing of which was sent to yet; `connect` makes a transport where none has room.
    /// `None` where others had taken all of its places first.
    pub(in crate::proxy) async fn place<T, F>(
        &self,
        connect: impl FnOnce() -> F,
    ) -> Result<Option<Place>, Rc<io::Error>>
    where
        F: Future<Output = io::Result<T>> + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        if let Some(place) = self.place_at_hand() {
            return Ok(Some(place));
        }
        let mut connect = Some(connect);
        loop {
            if let Some(lease) = self.lease() {
                return Ok(Some(Place::waited_for(lease, connect.is_none())));
            }
            let pending = self.connecting.borrow().clone();
            let connecting = match (pending, connect.take()) {
                (Some(pending), kept) => {
                    connect = kept;
                    pending
                }
                (None, Some(connect)) => self.begin(connect()),
                // The one made for it was full again, or over, before its turn came.
                (None, None) => return Ok(None),
            };
            let made = connecting.clone().await;
            self.take_in(&connecting, &made);
            // Those who waited for it use it, even where a drain has taken it out of use meanwhile.
            if let Some(lease) = made?.lease() {
                return Ok(Some(Place::waited_for(lease, connect.is_none())));
            }
        }
    }

    /// A place on a connection that is there, where one has room.
    pub(in crate::proxy) fn place_at_hand(&self) -> Option<Place> {
        let lease = self.lease()?;
        let (fresh, kept) = (false, true);
        Some(Place { lease, fresh, kept })
    }

    fn lease(&self) -> Option<Lease> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.over.get());
        connections.iter().find_map(Connection::lease)
    }

    fn begin<T, F>(&self, connect: F) -> Connecting
    where
        F: Future<Output = io::Result<T>> + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let made = async move { open(connect.await.map_err(Rc::new)?).await };
        let connecting = async move {
            let late = |_| Err(Rc::new(io::ErrorKind::TimedOut.into()));
            tokio::time::timeout(MAKING, made)
                .await
                .unwrap_or_else(late)
        };
        let connecting = connecting.boxed_local().shared();
        *self.connecting.borrow_mut() = Some(connecting.clone());
        let (pool, making) = (self.share(), connecting.clone());
        tokio::task::spawn_local(async move {
            let made = making.clone().await;
            pool.take_in(&making, &made);
        });
        connecting
    }

    /// The same connections, for a task of their own.
    fn share(&self) -> Self {
        Self {
            connections: Rc::clone(&self.connections),
            connecting: Rc::clone(&self.connecting),
        }
    }

    /// A connection was made, or could not be: whoever sees it first says so. Not one that was taken out of use
    /// meanwhile.
    fn take_in(&self, connecting: &Connecting, made: &Made) {
        let mut known = self.connecting.borrow_mut();
        if known.as_ref().is_some_and(|known| known.ptr_eq(connecting)) {
            *known = None;
            if let Ok(connection) = made {
                self.connections.borrow_mut().push(Rc::clone(connection));
            }
        }
    }

    /// Takes a connection in that turned out to be of HTTP/2, for whoever asks next; where there is one already it is
    /// closed.
    pub(in crate::proxy) fn adopt<T>(&self, transport: T)
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        if self.connections.borrow().is_empty() && self.connecting.borrow().is_none() {
            // Whoever asks next waits for it.
            drop(self.begin(std::future::ready(Ok(transport))));
        }
    }

    /// Takes connections out of use: what they carry may finish, and then they close.
    pub(in crate::proxy) fn close_idle(&self) {
        self.connections.borrow_mut().clear();
        *self.connecting.borrow_mut() = None;
    }

    /// Closes connections that are over, or that carried nothing for `keep`.
    pub(in crate::proxy) fn sweep(&self, now: Instant, keep: Duration) {
        self.connections.borrow_mut().retain(|connection| {
            let idle = connection.streams.get() == 0
                && now.saturating_duration_since(connection.idle_since.get()) >= keep;
            !connection.over.get() && !idle
        });
    }

    /// Connections that carry nothing now.
    pub(in crate::proxy) fn idle_count(&self) -> usize {
        let connections = self.connections.borrow();
        connections.iter().filter(|c| c.streams.get() == 0).count()
    }
}

async fn open<T>(transport: T) -> Made
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (send, mut driver) = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(SMALL_PIECES)
        .max_header_list_size(MAX_FIELDS)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_push(false)
        .handshake::<T, Bytes>(transport)
        .await
        .map_err(|error| Rc::new(io::Error::other(error)))?;
    let ping = driver.ping_pong();
    let connection = Rc::new(Connection {
        send,
        streams: Cell::new(0),
        over: Cell::new(false),
        idle_since: Cell::new(Instant::now()),
        heard: Cell::new(0),
    });
    let weak = Rc::downgrade(&connection);
    tokio::task::spawn_local(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "connection to an endpoint");
        }
        if let Some(connection) = weak.upgrade() {
            connection.over.set(true);
        }
    });
    // What it allows comes before its answer to this; and who does not speak HTTP/2 gets no request.
    if let Some(mut ping) = ping {
        let answered = ping.ping(h2::Ping::opaque()).await;
        answered.map_err(|error| Rc::new(io::Error::other(error)))?;
    }
    Ok(connection)
}
