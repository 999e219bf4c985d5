//! One connection whose bytes are passed on as they are: a TCP listener's, or TLS that its endpoint ends.
//! Picks an endpoint, enters its gate, connects, tries another one where that fails (Law 7), and then is a
//! tunnel, in flight until both directions are closed. Made by `worker::accept`.

mod hello;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::buffer::Buffer;
use super::hash_key;
use super::origin::Origin;
use super::pick::{Entered, NoPlace, Picked, Wanted, pick, wait};
use super::router::{Asked, listener_serves};
use super::sni::Alert;
use super::stats::{Counter, TcpEnds};
use super::transport::Transport;
use super::tunnel::{self, reset_on_close};
use super::worker::{Registered, Shutdown, Site, View, Worker};
use crate::gate::InFlight;
use crate::model::{Protocol, WeightedBackend};

/// One connection and what serves it.
pub(super) struct Connection {
    stream: TcpStream,
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
            stream,
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
        match end {
            // A tunnel has seen to its own end.
            End::Tunnel(_) => {}
            End::Told(alert) => hello::turn_away(&mut self.stream, alert).await,
            End::Unserved | End::Cut | End::Refused => reset_on_close(&self.stream),
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

    /// Finds the endpoint. The configuration that leads there is held no longer than this: a connection may
    /// last for days.
    async fn destination(&mut self, read: &mut Buffer) -> Result<Reached, End> {
        let view = self.worker.view();
        let site = self.site(&view)?;
        let (view, site, host) = if site.listener.protocol == Protocol::TlsPassthrough {
            let patience = site.load_balancer().timeouts.request_head;
            let control = &self.registered.control;
            let host = hello::read(&mut self.stream, read, patience, &self.worker, control).await?;
            // It may have changed while the client was silent.
            let view = self.worker.view();
            let site = self.site(&view)?;
            (view, site, host)
        } else {
            (view, site, None)
        };
        let choice = choose(&site, host.as_deref())?;
        self.reach(&view, &choice).await
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
    async fn reach(&self, view: &View, choice: &WeightedBackend) -> Result<Reached, End> {
        let pool = &view.pools[choice.backend];
        let control = &self.registered.control;
        let mut tried = Vec::new();
        loop {
            let wanted = Wanted {
                pool,
                tried: &tried,
                key: hash_key::of_address(self.origin.source.ip()),
            };
            let (key, in_flight) = self.place(wanted).await?;
            if !tried.is_empty() {
                self.worker.stats().retries.add(1);
            }
            control.cut.set(self.worker.shutdown() == Shutdown::Cut);
            control.upstream.set(in_flight.endpoint().0.key);
            match self.connect(&in_flight, choice.timeouts.connect).await {
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
    async fn place(&self, wanted: Wanted<'_>) -> Result<Entered, End> {
        if let Some(entered) = pick(wanted, &self.worker) {
            return Ok(entered);
        }
        let gone = |cx: &mut Context<'_>| {
            let mut byte = [0];
            match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
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
        limit: Duration,
    ) -> Option<Result<Transport, NotReached>> {
        let Picked(upstream, tells) = in_flight.endpoint();
        let told = tells.map(|version| (version, self.origin.addresses(&self.stream)));
        let connecting =
            tokio::time::timeout(limit, upstream.connect_telling(told, &self.worker.buffers));
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
            (&mut self.stream, read),
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
        Protocol::TlsPassthrough => by_host(site, host.unwrap_or_default()),
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
    let asked = Asked {
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
