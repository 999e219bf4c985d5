//! How one worker takes connections: from the moment it may listen on a port until the last that waited there
//! was let in.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::Worker;
use super::connections::Registered;
use super::introduced;
use super::secure;
use super::view::{Site, View};
use crate::model::Protocol;
use crate::proxy::connection_counts::Admitted;
use crate::proxy::http1::driver;
use crate::proxy::origin::Origin;
use crate::proxy::tcp;
use crate::proxy::transport::Transport;
use crate::proxy::tunnel::reset_on_close;

/// How long after the kernel stopped taking handshakes the last of them may still come into the queue.
const HANDSHAKES_END: Duration = Duration::from_millis(250);

/// How long it is tried to accept what waits at a listener that closes.
const LAST_ACCEPTED: Duration = Duration::from_secs(5);

/// A port that this worker accepts on.
struct Door {
    port: u16,
    /// What is served there, or was until the port was taken out of the configuration: who waits in its
    /// queue then is let in, to be told so.
    site: RefCell<Rc<Site>>,
}

/// A door that is not closing yet.
pub(super) struct Open {
    door: Rc<Door>,
    /// Ends it; what is sent hears when the last that waited was let in.
    close: oneshot::Sender<oneshot::Sender<()>>,
}

impl Open {
    /// Has the door lead to what the configuration serves there; where it has nothing, to what it did.
    pub(super) fn show(&self, view: &View) {
        if let Some(site) = view.site(self.door.port) {
            self.door.site.replace(site);
        }
    }
}

impl Worker {
    /// Opens a port that the configuration has.
    pub(super) fn listen(self: &Rc<Self>, port: u16, listener: std::net::TcpListener) {
        let Some(site) = self.view().site(port) else {
            tracing::error!(port, "a listener that is not in the configuration");
            return;
        };
        let (close, closing) = oneshot::channel();
        let door = Rc::new(Door {
            port,
            site: RefCell::new(site),
        });
        let open = Open {
            door: Rc::clone(&door),
            close,
        };
        self.doors.borrow_mut().insert(port, open);
        tokio::task::spawn_local(Rc::clone(self).accept(door, listener, closing));
    }

    /// Accepts what waits, then gives the socket up and says `done`. Where nothing listens, `done` is dropped,
    /// which says the same.
    pub(super) fn unlisten(&self, port: u16, done: oneshot::Sender<()>) {
        if let Some(open) = self.doors.borrow_mut().remove(&port) {
            let _ = open.close.send(done);
        }
    }

    async fn accept(
        self: Rc<Self>,
        door: Rc<Door>,
        listener: std::net::TcpListener,
        mut closing: oneshot::Receiver<oneshot::Sender<()>>,
    ) {
        let port = door.port;
        let _fatal = FatalPanic;
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(port, %error, "listener unusable");
                return;
            }
        };
        let done = loop {
            tokio::select! {
                biased;
                done = &mut closing => break done.ok(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(&door, stream, peer),
                    Err(error) => accept_failed(port, &error).await,
                },
            }
        };
        self.accept_the_last(&door, &listener).await;
        drop(listener);
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// The queue's last: handshakes that were under way when new ones were turned away. What cannot be
    /// accepted now may be in a moment, when others have ended.
    async fn accept_the_last(self: &Rc<Self>, door: &Door, listener: &TcpListener) {
        let patience = Instant::now() + LAST_ACCEPTED;
        loop {
            match tokio::time::timeout(HANDSHAKES_END, listener.accept()).await {
                Ok(Ok((stream, peer))) => self.admit(door, stream, peer),
                Ok(Err(error)) if Instant::now() < patience => {
                    accept_failed(door.port, &error).await;
                }
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    fn admit(self: &Rc<Self>, door: &Door, stream: TcpStream, peer: SocketAddr) {
        let site = Rc::clone(&door.site.borrow());
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if !may_connect(&site, peer) {
            self.stats().turned_away.add(1);
            return;
        }
        let limit = site.load_balancer().limits.connections;
        let admitted = site.counts.admit(&site.listener.name, limit);
        if !matches!(admitted, Admitted::Served(_)) {
            self.stats().turned_away.add(1);
        }
        let (counted, refused) = match admitted {
            Admitted::Served(counted) => (counted, false),
            Admitted::Refused(counted) => (counted, true),
            Admitted::Dropped => return,
        };
        let registered = Registered::new(self, counted);
        let arrived = Arrived {
            stream,
            port: door.port,
            worker: Rc::clone(self),
            registered,
            refused,
        };
        if site.listener.proxy_protocol {
            tokio::task::spawn_local(introduced::serve(arrived, site, peer));
        } else {
            arrived.start(site.listener.protocol, Origin::peer(peer));
        }
    }
}

/// A connection that was let in.
pub(super) struct Arrived {
    pub(super) stream: TcpStream,
    port: u16,
    pub(super) worker: Rc<Worker>,
    pub(super) registered: Registered,
    /// There are too many: it is let in to be told so.
    pub(super) refused: bool,
}

impl Arrived {
    /// Serves it, on a task of its own.
    fn start(self, protocol: Protocol, origin: Origin) {
        match protocol {
            Protocol::Http => {
                let refused = self.refused;
                let mut connection = self.http(origin);
                if refused {
                    let answer = driver::too_many();
                    tokio::task::spawn_local(async move { connection.refuse(&answer).await });
                } else {
                    tokio::task::spawn_local(async move {
                        if connection.serve().await {
                            connection.serve_http2().await;
                        }
                    });
                }
            }
            Protocol::Https => {
                if let Some(connection) = self.https(origin) {
                    tokio::task::spawn_local(connection.serve());
                }
            }
            Protocol::Tcp | Protocol::Tls | Protocol::TlsPassthrough => {
                if let Some(connection) = self.tcp(origin) {
                    tokio::task::spawn_local(connection.serve());
                }
            }
        }
    }

    pub(super) fn http(self, origin: Origin) -> driver::Connection {
        let stream = Transport::Plain(self.stream);
        driver::Connection::new(stream, origin, self.port, self.worker, self.registered)
    }

    /// `None` for one too many: to tell its client would take the handshake, most of what serving it costs. And
    /// where TLS cannot be served: it is never served in clear text.
    pub(super) fn https(self, origin: Origin) -> Option<secure::Connection> {
        let site = self.worker.view().site(self.port)?;
        let terminator = site.tls.clone().filter(|_| !self.refused)?;
        Some(secure::Connection {
            stream: self.stream,
            origin,
            port: self.port,
            terminator,
            patience: site.load_balancer().timeouts.request_head,
            worker: self.worker,
            registered: self.registered,
        })
    }

    /// `None` for one too many: there are no words for that.
    pub(super) fn tcp(self, origin: Origin) -> Option<tcp::Connection> {
        if self.refused {
            reset_on_close(&self.stream);
            return None;
        }
        let (stream, worker, registered) = (self.stream, self.worker, self.registered);
        Some(tcp::Connection::new(
            stream, origin, self.port, worker, registered,
        ))
    }
}

/// Whether a peer may connect at all. One that speaks for others may where it is a trusted proxy, or where
/// none is named; for whom it speaks is looked at when it has said so.
fn may_connect(site: &Site, peer: SocketAddr) -> bool {
    let load_balancer = site.load_balancer();
    if !site.listener.proxy_protocol {
        return load_balancer.allows(peer.ip());
    }
    let trusted = &load_balancer.trusted_proxies;
    trusted.is_empty() || trusted.iter().any(|net| net.contains(&peer.ip()))
}

/// Ends the process where it is dropped by a panic. The runtime would keep a panic of a task to itself: this
/// worker's share of a port's connections would wait in its queue for ever.
struct FatalPanic;

impl Drop for FatalPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Not to the log: nothing of it is written after this.
            eprintln!("lastcall: accepting has failed for good: ending the process");
            std::process::abort();
        }
    }
}

/// A connection that failed before it was accepted says nothing about the next. Anything else (no
/// descriptors, no memory) would fail again at once, so it is waited.
async fn accept_failed(port: u16, error: &io::Error) {
    if !is_of_one_connection(error) {
        tracing::error!(port, %error, "no connection accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Linux reports what became of the connection that is accepted as a failure of accept itself (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
        NetworkDown, NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_accept_waits_unless_it_was_the_connection_that_failed() {
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, EINVAL
        for number in [24, 23, 105, 12, 22] {
            let error = io::Error::from_raw_os_error(number);
            assert!(!is_of_one_connection(&error), "{error}");
        }
        // ECONNABORTED, ECONNRESET, ENETDOWN, EHOSTUNREACH, EINTR
        for number in [103, 104, 100, 113, 4] {
            let error = io::Error::from_raw_os_error(number);
            assert!(is_of_one_connection(&error), "{error}");
        }
    }
}
