//! An endpoint as one worker sees it: its gate, and the connections to it that are kept for the next
//! request. Kept over changes of the configuration by identity.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::balance::Candidate;
use super::buffer::BufferPool;
use super::http2::Http2Pool;
use super::proxy_protocol::{self, Addresses};
use super::room::Room;
use super::tls::{Connector, H2, Offer, Originator};
use super::transport::Transport;
use crate::gate::{Gate, Generation, State};
use crate::model::{EndpointId, EndpointProtocol, ProxyVersion};

/// Kept connections to one endpoint, for each worker.
const MAX_IDLE: usize = 128;
/// How long a connection of HTTP/2 that carries nothing is kept. Its end is announced (GOAWAY), so that no
/// request is lost to it, unlike one of HTTP/1.
const HTTP2_IDLE: Duration = Duration::from_mins(1);
/// How long a connection is kept that was made for HTTP/2 and turned out to be of HTTP/1.1: who had it made takes it
/// at once.
const HAND_OVER: Duration = Duration::from_secs(1);

/// Grows with each change of how an endpoint is spoken to. A connection is used for further requests only in the one it
/// was made in: it may be to somebody who is not believed any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Era(u64);

/// One endpoint, in one worker.
#[derive(Debug)]
pub struct Upstream {
    /// Who it is.
    pub id: EndpointId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Names it among this worker's upstreams, for as long as the process runs.
    pub key: u64,
    gate: Arc<Gate>,
    weight: Cell<u32>,
    /// How much it takes at once.
    pub(super) room: Room,
    speaks: RefCell<Rc<Speaks>>,
    protocol: Cell<EndpointProtocol>,
    era: Cell<Era>,
    /// What it chose in its last handshake, where it has a choice. Until then HTTP/2 is taken for it, for which one
    /// connection is made and all wait for it.
    chose_http2: Cell<bool>,
    /// The last handshake failed: told once, not with every request.
    tls_fails: Cell<bool>,
    /// Each connection begins with a PROXY header.
    send_proxy: Cell<Option<ProxyVersion>>,
    idle: RefCell<Vec<Idle>>,
    /// Connections to it, where it speaks HTTP/2.
    pub(super) http2: Http2Pool,
}

/// What is spoken to an endpoint.
#[derive(Debug)]
enum Speaks {
    ClearText,
    Tls(Connector),
    /// It would be TLS, and who is to be believed is not known.
    Nothing,
}

/// What is to be spoken to an endpoint.
#[derive(Clone, Copy, Debug)]
pub enum Spoken<'a> {
    /// Clear text.
    ClearText,
    /// TLS.
    Tls(&'a Arc<Originator>),
    /// TLS, and who is to be believed is not known: every connection fails.
    Nothing,
}

impl Speaks {
    fn is(&self, wanted: Spoken<'_>) -> bool {
        match (self, wanted) {
            (Speaks::ClearText, Spoken::ClearText) | (Speaks::Nothing, Spoken::Nothing) => true,
            (Speaks::Tls(connector), Spoken::Tls(originator)) => connector.is_by(originator),
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Idle {
    stream: Transport,
    until: Instant,
    /// Whose it is, where the endpoint was told: it believes that of all that comes on it.
    told: Option<Box<Addresses>>,
}

impl AsRef<Gate> for Upstream {
    fn as_ref(&self) -> &Gate {
        &self.gate
    }
}

impl Candidate for std::rc::Rc<Upstream> {
    fn weight(&self) -> u32 {
        self.weight.get()
    }

    fn available(&self) -> bool {
        self.is_open() && self.room.has_place(&self.gate)
    }

    fn in_flight(&self) -> u64 {
        self.gate.in_flight()
    }
}

impl Upstream {
    /// An endpoint without connections.
    pub fn new(id: EndpointId, address: SocketAddr, key: u64, gate: Arc<Gate>) -> Self {
        Self {
            id,
            address,
            key,
            gate,
            weight: Cell::new(1),
            room: Room::default(),
            speaks: RefCell::new(Rc::new(Speaks::ClearText)),
            protocol: Cell::default(),
            era: Cell::default(),
            chose_http2: Cell::new(true),
            tls_fails: Cell::new(false),
            send_proxy: Cell::new(None),
            idle: RefCell::default(),
            http2: Http2Pool::default(),
        }
    }

    /// Whether this is the endpoint at `address` behind `gate`.
    pub fn is(&self, address: SocketAddr, gate: &Arc<Gate>) -> bool {
        self.address == address && self.is_behind(gate)
    }

    /// Whether this is the endpoint behind `gate`, wherever it listens.
    pub fn is_behind(&self, gate: &Arc<Gate>) -> bool {
        Arc::ptr_eq(&self.gate, gate)
    }

    /// Whether its gate lets new work in.
    pub fn is_open(&self) -> bool {
        self.gate.phase().state == State::Open
    }

    /// Which change of its gate holds now.
    pub fn generation(&self) -> Generation {
        self.gate.phase().generation
    }

    /// Its share of the Backend's requests, from the next on.
    pub fn set_weight(&self, weight: u32) {
        self.weight.set(weight);
    }

    /// What is spoken to it from the next connection on. What was kept was made otherwise, perhaps with somebody
    /// who is not believed any more, and is closed.
    pub fn speak(&self, wanted: Spoken<'_>, protocol: EndpointProtocol) {
        let before = self.protocol.replace(protocol);
        if before == protocol && self.speaks.borrow().is(wanted) {
            return;
        }
        self.chose_http2.set(true);
        let speaks = match wanted {
            Spoken::ClearText => Speaks::ClearText,
            Spoken::Tls(originator) => Speaks::Tls(originator.connector()),
            Spoken::Nothing => Speaks::Nothing,
        };
        self.speaks.replace(Rc::new(speaks));
        self.begin_era();
    }

    /// Closes what is kept; what is in use now is not kept any more.
    fn begin_era(&self) {
        self.era.set(Era(self.era.get().0 + 1));
        self.close_idle();
    }

    /// How it is spoken to now, to be told from later.
    pub fn era(&self) -> Era {
        self.era.get()
    }

    /// What its Backend says that it speaks.
    pub fn protocol(&self) -> EndpointProtocol {
        self.protocol.get()
    }

    /// Whether TLS is spoken to it.
    pub fn is_secure(&self) -> bool {
        matches!(**self.speaks.borrow(), Speaks::Tls(_))
    }

    /// Whether a request goes to it in HTTP/2, as far as is known before it is asked. One that asks for an upgrade
    /// goes in HTTP/1.1 wherever there is a choice: not all that speak HTTP/2 take those (RFC 8441).
    pub fn speaks_http2(&self, upgrade: bool) -> bool {
        match self.protocol.get() {
            EndpointProtocol::Http1 | EndpointProtocol::Bytes => false,
            EndpointProtocol::Http2 => true,
            EndpointProtocol::Negotiated => !upgrade && self.chose_http2.get(),
        }
    }

    /// Whether a connection just made is of HTTP/2, by its endpoint's choice, which is remembered.
    pub fn chose_http2(&self, stream: &Transport) -> bool {
        let chose = stream.alpn() == Some(H2);
        if chose {
            self.chose_http2.set(true);
        }
        chose
    }

    /// How its connections tell of the client, from the next on.
    pub fn set_send_proxy(&self, version: Option<ProxyVersion>) {
        if self.send_proxy.replace(version) != version {
            // What is kept has said other things than are wanted now.
            self.begin_era();
        }
    }

    /// How the endpoint is told whose each connection is; absent where it is not.
    pub fn send_proxy(&self) -> Option<ProxyVersion> {
        self.send_proxy.get()
    }

    /// Takes a kept connection, the one used last, that the endpoint has not closed; one of this client's,
    /// where the endpoint was told whose it is.
    pub fn reuse(&self, now: Instant, client: Option<&Addresses>) -> Option<Transport> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle {
            mut stream, until, ..
        }) = take_last(&mut idle, client)
        {
            if now < until && stream.is_quiet() {
                return Some(stream);
            }
            stream.farewell();
        }
        None
    }

    /// Keeps a connection for the next request, for `keep` at the most; for this client's, where the endpoint
    /// was told whose it is. With it comes the era that it was made in, or an earlier one.
    pub fn keep(
        &self,
        (mut stream, era): (Transport, Era),
        keep: Duration,
        now: Instant,
        client: Option<Box<Addresses>>,
    ) {
        if era != self.era.get() {
            stream.farewell();
            return;
        }
        let mut idle = self.idle.borrow_mut();
        // What a closed gate has had for connections was dropped when it closed (PITFALLS 14).
        if self.gate.phase().state != State::Closed && idle.len() < MAX_IDLE && !keep.is_zero() {
            idle.push(Idle {
                stream,
                until: now + keep,
                told: client,
            });
        }
    }

    /// Closes every kept connection.
    pub fn close_idle(&self) {
        for mut idle in self.idle.borrow_mut().drain(..) {
            idle.stream.farewell();
        }
        self.http2.close_idle();
    }

    /// Closes the kept connections that are over their time or that the endpoint has closed.
    pub fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain_mut(|idle| {
            let kept = now < idle.until && idle.stream.is_quiet();
            if !kept {
                idle.stream.farewell();
            }
            kept
        });
        // One that was being made while a drain began carries nothing, and nothing will come (PITFALLS 14).
        let closed = self.gate.phase().state == State::Closed;
        let keep = if closed { Duration::ZERO } else { HTTP2_IDLE };
        self.http2.sweep(now, keep);
    }

    /// Kept connections.
    pub fn idle_count(&self) -> usize {
        self.idle.borrow().len() + self.http2.idle_count()
    }

    /// Connects.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        super::keep_alive::watch(&stream)?;
        Ok(stream)
    }

    /// Connects, and says first whose the connection is where that is wanted; then shakes hands where TLS is
    /// spoken, for what is offered. None of the client's own bytes are sent by this: nothing is before the endpoint has proved who
    /// it is.
    pub async fn connect_telling(
        &self,
        told: Option<(ProxyVersion, Addresses)>,
        offer: Offer,
        pool: &Rc<BufferPool>,
    ) -> io::Result<Transport> {
        let speaks = Rc::clone(&self.speaks.borrow());
        if let Speaks::Nothing = *speaks {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut stream = self.connect().await?;
        if let Some((version, client)) = told {
            let mut header = Vec::new();
            proxy_protocol::write(version, &client, &mut header);
            stream.write_all(&header).await?;
        }
        let Speaks::Tls(connector) = &*speaks else {
            return Ok(stream.into());
        };
        // On the heap while it lasts: connections in clear text are to carry nothing of it.
        let shaken = Box::pin(connector.begin(stream, offer, pool)?).await;
        let shaken = shaken.and_then(|stream| self.agreed(stream));
        self.tell(shaken.as_ref().err());
        shaken
    }

    /// HTTP/2 in TLS is spoken with those only that agreed to it (RFC 9113 section 3.3).
    fn agreed(&self, stream: Transport) -> io::Result<Transport> {
        if self.protocol.get() == EndpointProtocol::Http2 && stream.alpn() != Some(H2) {
            return Err(io::Error::other(
                "the endpoint did not agree to HTTP/2 (ALPN h2)",
            ));
        }
        Ok(stream)
    }

    /// Connects for HTTP/2. Where the endpoint chooses HTTP/1.1 that is remembered, and the connection kept.
    pub async fn connect_http2(&self, pool: &Rc<BufferPool>) -> io::Result<Transport> {
        let era = self.era.get();
        let stream = self.connect_telling(None, Offer::Any, pool).await?;
        if self.protocol.get() != EndpointProtocol::Negotiated || self.chose_http2(&stream) {
            return Ok(stream);
        }
        self.chose_http2.set(false);
        self.keep((stream, era), HAND_OVER, Instant::now(), None);
        Err(io::Error::other("the endpoint chose HTTP/1.1"))
    }

    /// Takes a connection in that turned out to be of HTTP/2, for whoever asks next.
    pub fn adopt_http2(&self, mut stream: Transport, era: Era) {
        if era == self.era.get() {
            self.http2.adopt(stream);
        } else {
            stream.farewell();
        }
    }

    /// Says once that handshakes fail, and once that they do no more.
    fn tell(&self, error: Option<&io::Error>) {
        if self.tls_fails.replace(error.is_some()) == error.is_some() {
            return;
        }
        if let Some(error) = error {
            tracing::warn!(endpoint = %self.id, address = %self.address, %error, "TLS handshake with an endpoint failed");
        } else {
            tracing::info!(endpoint = %self.id, "TLS handshakes with an endpoint are back");
        }
    }
}

/// The one that was kept last of those that this client may use.
fn take_last(idle: &mut Vec<Idle>, client: Option<&Addresses>) -> Option<Idle> {
    if client.is_none() {
        return idle.pop();
    }
    let at = idle.iter().rposition(|one| one.told.as_deref() == client)?;
    Some(idle.remove(at))
}
