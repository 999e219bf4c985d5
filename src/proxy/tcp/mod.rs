//! One connection whose bytes are passed on as they are: a TCP listener's, TLS that its endpoint ends, or what is
//! inside TLS that ends here. Picks an endpoint, enters its gate, connects, tries another one where that fails (Law 7), and then is a
//! tunnel, in flight until both directions are closed. Made by `worker::accept`.

mod hello;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::buffer::Buffer;
use super::hash_key;
use super::origin::Origin;
use super::pick::{Entered, NoPlace, Picked, Wanted, pick, wait};
use super::router::{self, listener_serves};
use super::sni::Alert;
use super::stats::{Counter, TcpEnds};
use super::tls::Offer;
use super::transport::Transport;
use super::tunnel;
use super::worker::{Registered, Shaken, Shutdown, Site, View, Worker};
use crate::gate::InFlight;
use crate::model::{Protocol, WeightedBackend};

/// One connection and what serves it.
pub(super) struct Connection {
    /// Absent while it shakes hands, and where nothing was left of it after that.
    stream: Option<Transport>,
    origin: Origin,
    port: u16,
    worker: Rc<Worker>,
    registered: Registered,
}

/// How a connection ended. The client is told by a reset, where by nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As a tunnel.
    Tunnel(tunnel::Ended),
    /// No endpoint took it.
    Unserved,
    /// It was cut before there was an endpoint.
    Cut,
    /// It is nobody's that is served here.
    Refused,
    /// It asks, in TLS, for something that is not here, and is told so in TLS.
    Told(Alert),
}

/// What a client asks for, and what is served.
struct Asked {
    view: Rc<View>,
    site: Rc<Site>,
    /// The host, where it speaks TLS and names one.
    host: Option<Box<str>>,
    /// Until when it may take to begin.
    deadline: Instant,
}

/// An endpoint that took the connection.
struct Reached {
    stream: Transport,
    in_flight: InFlight<Picked>,
    /// How long the tunnel may be idle.
    idle: Option<Duration>,
}

impl Connection {
    /// A connection just accepted.
    pub(super) fn new(
        stream: TcpStream,
        origin: Origin,
        port: u16,
        worker: Rc<Worker>,
        registered: Registered,
    ) -> Self {
        Self {
            stream: Some(stream.into()),
            origin,
            port,
            worker,
            registered,
        }
    }

    /// Passes it on until it ends.
    pub(super) async fn serve(mut self) {
        poll_fn(|cx| {
            self.registered.control.register(cx.waker());
            Poll::Ready(())
        })
        .await;
        let end = self.pass_on().await;
        end.count(&self.worker.stats().tcp_ended).add(1);
        match (end, &mut self.stream) {
            // A tunnel has seen to its own end.
            (End::Tunnel(_), _) | (_, None) => {}
            (End::Told(alert), Some(Transport::Plain(stream))) => {
                hello::turn_away(stream, alert).await;
            }
            (_, Some(stream)) => stream.reset(),
        }
    }

    async fn pass_on(&mut self) -> End {
        let mut read = Buffer::new(&self.worker.buffers);
        // On the heap while it lasts: a connection that is passed on is to carry nothing of it.
        let reached = match Box::pin(self.destination(&mut read)).await {
            Ok(reached) => reached,
            Err(end) => return end,
        };
        self.tunnel(reached, &mut read).await
    }

    /// Finds the endpoint, and ends the client's TLS where that does not go on.
    async fn destination(&mut self, read: &mut Buffer) -> Result<Reached, End> {
        let Some(Transport::Plain(mut socket)) = self.stream.take() else {
            return Err(End::Refused);
        };
        let (led, stream) = match self.asked(&mut socket, read).await {
            Ok(asked) if asked.site.listener.protocol == Protocol::Tls => {
                self.end_tls(asked, socket, read).await
            }
            Ok(asked) => (self.lead(&asked, &socket).await, Some(socket.into())),
            Err(end) => (Err(end), Some(socket.into())),
        };
        self.stream = stream;
        led
    }

    async fn lead(&self, asked: &Asked, socket: &TcpStream) -> Result<Reached, End> {
        let choice = choose(&asked.site, asked.host.as_deref())?;
        self.reach(&asked.view, &choice, socket).await
    }

    /// Ends the client's TLS, and finds an endpoint for what is inside. Who asks for what is not here is told
    /// before; and who has to prove something has proved it before an endpoint hears of them.
    async fn end_tls(
        &self,
        asked: Asked,
        socket: TcpStream,
        read: &mut Buffer,
    ) -> (Result<Reached, End>, Option<Transport>) {
        let terminator = asked.site.tls.clone().ok_or(End::Refused);
        let terminator =
            terminator.and_then(|it| choose(&asked.site, asked.host.as_deref()).map(|_| it));
        let terminator = match terminator {
            Ok(terminator) => terminator,
            Err(end) => return (Err(end), Some(socket.into())),
        };
        // A handshake takes its time: the configuration is not held meanwhile.
        let Asked { host, deadline, .. } = asked;
        let received = std::mem::replace(read, Buffer::new(&self.worker.buffers));
        let patience = deadline.saturating_duration_since(Instant::now());
        let shaken = self
            .worker
            .shake_hands(socket, received, &terminator, patience, &self.registered)
            .await;
        match shaken {
            Shaken::Tls(stream) => {
                let reached = self.reach_inside(host.as_deref(), stream.socket()).await;
                (reached, Some(stream))
            }
            Shaken::ClearText(stream) => (Err(End::Refused), Some(stream)),
            Shaken::Over if self.worker.shutdown() == Shutdown::Cut => (Err(End::Cut), None),
            Shaken::Over => (Err(End::Refused), None),
        }
    }

    /// What the client asks for, where it has to say so. The configuration that leads to an endpoint is held no
    /// longer than it is looked at: a connection may last for days.
    async fn asked(&self, socket: &mut TcpStream, read: &mut Buffer) -> Result<Asked, End> {
        let view = self.worker.view();
        let site = self.site(&view)?;
        let deadline = Instant::now() + site.load_balancer().timeouts.request_head;
        let mut asked = Asked {
            view,
            site,
            host: None,
            deadline,
        };
        let protocol = asked.site.listener.protocol;
        if matches!(protocol, Protocol::Tls | Protocol::TlsPassthrough) {
            let control = &self.registered.control;
            asked.host = hello::read(socket, read, deadline, &self.worker, control).await?;
            // It may have changed while the client was silent.
            asked.view = self.worker.view();
            asked.site = self.site(&asked.view)?;
        }
        Ok(asked)
    }

    /// An endpoint for what is inside TLS that ended here, as the configuration is after the handshake. What there
    /// is no endpoint for any more is reset: the time for alerts is over.
    async fn reach_inside(&self, host: Option<&str>, socket: &TcpStream) -> Result<Reached, End> {
        let view = self.worker.view();
        let site = self.site(&view)?;
        if site.listener.protocol != Protocol::Tls {
            return Err(End::Refused);
        }
        let choice = choose(&site, host).map_err(|end| match end {
            End::Told(Alert::InternalError) => End::Unserved,
            End::Told(_) => End::Refused,
            other => other,
        })?;
        self.reach(&view, &choice, socket).await
    }

    /// What is served on this connection's port now, to this client.
    fn site(&self, view: &View) -> Result<Rc<Site>, End> {
        let site = view.site(self.port).ok_or(End::Refused)?;
        if site.load_balancer().allows(self.origin.source.ip()) {
            Ok(site)
        } else {
            Err(End::Refused)
        }
    }

    /// Asks endpoints until one takes the connection. At once, and not only when the client has sent
    /// something: in many protocols the server speaks first.
    async fn reach(
        &self,
        view: &View,
        choice: &WeightedBackend,
        socket: &TcpStream,
    ) -> Result<Reached, End> {
        let pool = &view.pools[choice.backend];
        let control = &self.registered.control;
        let mut tried = Vec::new();
        loop {
            let wanted = Wanted {
                pool,
                tried: &tried,
                key: hash_key::of_address(self.origin.source.ip()),
            };
            let (key, in_flight) = self.place(wanted, socket).await?;
            if !tried.is_empty() {
                self.worker.stats().retries.add(1);
            }
            control.cut.set(self.worker.shutdown() == Shutdown::Cut);
            control.upstream.set(in_flight.endpoint().0.key);
            let limit = choice.timeouts.connect;
            match self.connect(&in_flight, socket, limit).await {
                Some(Ok(stream)) => {
                    self.worker.stats().upstream_connects.add(1);
                    return Ok(Reached {
                        stream,
                        in_flight,
                        idle: choice.timeouts.tunnel_idle,
                    });
                }
                Some(Err(_)) => self.worker.stats().upstream_connect_failures.add(1),
                None => {
                    self.count_cut(&in_flight);
                    if self.worker.shutdown() == Shutdown::Cut {
                        return Err(End::Cut);
                    }
                }
            }
            // Nothing was sent: another one may be asked (Law 7).
            control.upstream.set(0);
            control.cut.set(false);
            tried.push(key);
        }
    }

    /// An endpoint that was entered; where all are full as soon as there is one, if the Backend has a queue. A client
    /// that has closed its side and sent nothing by then has left.
    async fn place(&self, wanted: Wanted<'_>, socket: &TcpStream) -> Result<Entered, End> {
        if let Some(entered) = pick(wanted, &self.worker) {
            return Ok(entered);
        }
        let gone = |cx: &mut Context<'_>| {
            let mut byte = [0];
            match socket.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
                Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
            }
        };
        let waited = Box::pin(wait(wanted, None, &self.worker, gone)).await;
        waited.map_err(|why| match why {
            NoPlace::Stopping => End::Cut,
            _ => End::Unserved,
        })
    }

    /// Connects to the endpoint; `None` where the connection was cut meanwhile.
    async fn connect(
        &self,
        in_flight: &InFlight<Picked>,
        socket: &TcpStream,
        limit: Duration,
    ) -> Option<Result<Transport, NotReached>> {
        let Picked(upstream, tells, _) = in_flight.endpoint();
        let told = tells.map(|version| (version, self.origin.addresses(socket)));
        let connecting = upstream.connect_telling(told, Offer::Any, &self.worker.buffers);
        let connecting = tokio::time::timeout(limit, connecting);
        let mut connecting = std::pin::pin!(connecting);
        poll_fn(|cx| {
            if self.registered.control.cut.get() {
                return Poll::Ready(None);
            }
            connecting.as_mut().poll(cx).map(Some)
        })
        .await
        .map(|connected| match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(_)) | Err(_) => Err(NotReached),
        })
    }

    async fn tunnel(&mut self, reached: Reached, read: &mut Buffer) -> End {
        let Some(client) = &mut self.stream else {
            return End::Refused;
        };
        let Reached {
            mut stream,
            in_flight,
            idle,
        } = reached;
        let mut from_endpoint = Buffer::new(&self.worker.buffers);
        let stats = self.worker.stats();
        stats.tcp_open.add(1);
        let ended = tunnel::run(
            &self.worker,
            (client, read),
            (&mut stream, &mut from_endpoint),
            &self.registered.control,
            idle,
        )
        .await;
        stats.tcp_open.subtract(1);
        if ended == tunnel::Ended::Cut {
            self.count_cut(&in_flight);
        }
        // The endpoint's side is closed before the gate is left: who waits for the gate may stop it then.
        drop(stream);
        drop(in_flight);
        self.registered.control.upstream.set(0);
        End::Tunnel(ended)
    }

    fn count_cut(&self, in_flight: &InFlight<Picked>) {
        in_flight.count_cut();
        self.worker.stats().cut.add(1);
    }
}

/// No connection could be made to the endpoint.
struct NotReached;

/// Which Backend serves a connection; `host` is what a TLS client asks for.
fn choose(site: &Site, host: Option<&str>) -> Result<WeightedBackend, End> {
    match site.listener.protocol {
        Protocol::Tcp => site
            .load_balancer()
            .streams
            .default_backend
            .ok_or(End::Unserved),
        Protocol::Tls | Protocol::TlsPassthrough => by_host(site, host.unwrap_or_default()),
        // The port was given to another listener meanwhile.
        Protocol::Http | Protocol::Https => Err(End::Refused),
    }
}

/// By the rules of hosts that hold for HTTP. No host fits where none is asked for, but for what takes any.
fn by_host(site: &Site, host: &str) -> Result<WeightedBackend, End> {
    let router = site
        .streams
        .as_ref()
        .ok_or(End::Told(Alert::UnrecognizedName))?;
    if !listener_serves(&site.listener, host) {
        return Err(End::Told(Alert::UnrecognizedName));
    }
    // The routes of streams are for every path (`StreamRoutes`).
    let asked = router::Asked {
        host,
        path: b"/",
        query: b"",
        method: b"",
        fields: &[],
        buf: &[],
    };
    let found = router.route(&asked);
    let found = found.ok_or(End::Told(Alert::UnrecognizedName))?;
    found.backend().ok_or(End::Told(Alert::InternalError))
}

impl End {
    fn count(self, ends: &TcpEnds) -> &Counter {
        match self {
            End::Tunnel(tunnel::Ended::Closed) => &ends.closed,
            End::Tunnel(tunnel::Ended::Broken) => &ends.broken,
            End::Tunnel(tunnel::Ended::Idle) => &ends.idle,
            End::Tunnel(tunnel::Ended::Cut) | End::Cut => &ends.cut,
            End::Unserved | End::Told(Alert::InternalError) => &ends.unserved,
            End::Refused | End::Told(_) => &ends.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_a_connection_is_small() {
        /// Bytes of the future that is made of an `A`.
        fn size<A, F: Future>(_: fn(A) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(Connection::serve);
        assert!(bytes <= 1100, "{bytes} bytes");
    }
}
