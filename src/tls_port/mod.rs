//! A port of the control plane that speaks TLS: the hook server's and the webhooks'. Bound and ended by
//! `app`; what is served there is a router.
//!
//! A handshake never keeps others from being accepted, has its time, and counts as a connection; over the
//! limit connections wait in the kernel's queue. The certificate can be changed while connections are
//! open. HTTP/1.1 only: a held hook is one request on one connection.

mod certificate;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

pub use certificate::{CertificateFault, certified_key, server_config};

/// Waited when the process can open no more files, before it accepts again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What a port bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// The longest a TLS handshake may take.
    pub handshake: Duration,
    /// The longest a client may take for the head of a request, and for asking again on a kept connection.
    pub head: Duration,
    /// At the end: the longest that requests under way may take; then their connections are closed.
    pub end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            end: Duration::from_secs(30),
        }
    }
}

/// Serves the router until `stop`; then accepts what is in the queue already, answers what was asked, and
/// returns when all connections have ended or [`Limits::end`] has passed.
///
/// A request has its peer's address as [`ConnectInfo`]`<SocketAddr>`.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let (ending, ended) = watch::channel(false);
    let port = Port {
        tls: TlsAcceptor::from(tls),
        router,
        limits,
        ending: ended,
    };
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (stream, peer, place) = accept(&listener, &room) => {
                connections.spawn(port.clone().connection(stream, peer, place));
            }
        }
    }
    // What has been accepted by the kernel would be reset with the listener: to a kubelet that is a hook
    // that failed (PITFALLS 3).
    for (stream, peer) in queued(listener) {
        let place = Arc::clone(&room).try_acquire_owned().ok();
        connections.spawn(port.clone().connection(stream, peer, place));
    }
    ending.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.end, all).await.is_err() {
        let left = connections.len();
        tracing::warn!(left, "TLS port closed with requests under way");
        connections.shutdown().await;
    }
}

/// The next connection, when there is room for one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there is always a place.
    let place = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) => {
                tracing::debug!(%error, "a connection to a TLS port was not accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// The connections that wait in the kernel's queue. Closes the listener.
fn queued(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut found = Vec::new();
    let Ok(listener) = listener.into_std() else {
        return found;
    };
    // It does not block, so it ends where the queue does.
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        found.extend(stream.ok().map(|stream| (stream, peer)));
    }
    found
}

/// What every connection needs.
#[derive(Clone)]
struct Port {
    tls: TlsAcceptor,
    router: Router,
    limits: Limits,
    ending: watch::Receiver<bool>,
}

impl Port {
    /// Serves one connection. Its place is free again when this ends.
    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        _place: Option<OwnedSemaphorePermit>,
    ) {
        // A stream's last line must not wait for the one before to be acknowledged.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY not set");
        }
        let stream = match timeout(self.limits.handshake, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => return tracing::debug!(%peer, "TLS handshake not finished in time"),
        };
        if let Err(error) = self.requests(stream, peer).await {
            tracing::debug!(%peer, %error, "connection of a TLS port ended");
        }
    }

    async fn requests(
        mut self,
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
        peer: SocketAddr,
    ) -> hyper::Result<()> {
        let (asking, mut asked) = watch::channel(false);
        let router = TowerToHyperService::new(self.router);
        let ending = self.ending.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            asking.send_replace(true);
            request.extensions_mut().insert(ConnectInfo(peer));
            let (answer, ending) = (router.call(request), ending.clone());
            async move {
                let mut response = answer.await?;
                if *ending.borrow() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            _ = self.ending.wait_for(|ending| *ending) => {}
        }
        // hyper would close a connection that has asked nothing yet, with its question on the way.
        tokio::select! {
            ended = connection.as_mut() => return ended,
            _ = asked.wait_for(|asked| *asked) => {}
            () = sleep(self.limits.head) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    }
}

#[cfg(test)]
mod tests;
