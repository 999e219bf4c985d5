//! A way to an endpoint for one attempt: a new connection, or a stream on one that is there.

use std::rc::Rc;
use std::time::Instant;

use http::uri::Scheme;

use super::{Http1Link, Http2Link, Link};
use crate::model::{EndpointProtocol, ProxyVersion};
use crate::proxy::buffer::Buffer;
use crate::proxy::http2::{NoStream, request_for_endpoint};
use crate::proxy::proxy_protocol::Addresses;
use crate::proxy::tls::Offer;
use crate::proxy::transport::Transport;
use crate::proxy::upstream::Upstream;
use crate::proxy::worker::Worker;

/// How often a connection that takes no more streams is left for another one, before the endpoint counts as
/// unreachable.
const PLACES: usize = 3;

/// What all attempts at a request send.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Outbound<'a> {
    /// What the endpoint speaks.
    pub(in crate::proxy) protocol: EndpointProtocol,
    /// The request's head as `forward_request` wrote it.
    pub(in crate::proxy) head: &'a [u8],
    /// Its body is framed in chunks, where the endpoint speaks HTTP/1.
    pub(in crate::proxy) chunked: bool,
    /// It asks for another protocol, and the rest of it is that.
    pub(in crate::proxy) upgrade: bool,
}

/// Whose a connection is, where the endpoint is told.
pub(in crate::proxy) type Told = Option<(ProxyVersion, Addresses)>;

/// Uses a connection of HTTP/1 that was kept; `None` where there is none.
pub(in crate::proxy) fn reuse(
    worker: &Worker,
    upstream: &Upstream,
    outbound: &Outbound<'_>,
    told: Told,
    now: Instant,
) -> Option<Link> {
    if upstream.speaks_http2(outbound.upgrade) {
        return None;
    }
    let client = told.as_ref().map(|(_, client)| client);
    let stream = upstream.reuse(now, client)?;
    worker.stats().upstream_reuses.add(1);
    Some(http1(worker, stream, outbound, told))
}

/// Connects; with `ends` the head is all of the request. `None` where the endpoint cannot be reached.
pub(in crate::proxy) async fn connect(
    worker: &Worker,
    upstream: &Rc<Upstream>,
    outbound: &Outbound<'_>,
    told: Told,
    ends: bool,
) -> Option<Link> {
    match outbound.protocol {
        EndpointProtocol::Http1 => {
            let connecting = upstream.connect_telling(told, Offer::Http1, &worker.buffers);
            let stream = connecting.await.ok()?;
            worker.stats().upstream_connects.add(1);
            Some(http1(worker, stream, outbound, told))
        }
        EndpointProtocol::Http2 => http2(worker, upstream, outbound, ends).await,
        EndpointProtocol::Negotiated => negotiated(worker, upstream, outbound, ends).await,
        // No request is led to one.
        EndpointProtocol::Bytes => None,
    }
}

/// As the endpoint chooses in its handshake. What it chose last is taken for what it will choose, and may prove wrong
/// once.
async fn negotiated(
    worker: &Worker,
    upstream: &Rc<Upstream>,
    outbound: &Outbound<'_>,
    ends: bool,
) -> Option<Link> {
    let http2_again = || upstream.speaks_http2(outbound.upgrade);
    for _ in 0..2 {
        if http2_again() {
            if let Some(link) = http2(worker, upstream, outbound, ends).await {
                return Some(link);
            }
            if http2_again() {
                return None;
            }
            // It chose HTTP/1.1, for the first of those who waited for it.
            if let Some(stream) = upstream.reuse(Instant::now(), None) {
                worker.stats().upstream_connects.add(1);
                return Some(http1(worker, stream, outbound, None));
            }
        }
        let offer = if outbound.upgrade {
            Offer::Http1
        } else {
            Offer::Any
        };
        let connecting = upstream.connect_telling(None, offer, &worker.buffers);
        let stream = connecting.await.ok()?;
        worker.stats().upstream_connects.add(1);
        if !upstream.chose_http2(&stream) {
            return Some(http1(worker, stream, outbound, None));
        }
        upstream.http2.adopt(stream);
    }
    None
}

fn http1(worker: &Worker, stream: Transport, outbound: &Outbound<'_>, told: Told) -> Link {
    let buffer = Buffer::new(&worker.buffers);
    let client = told.map(|(_, client)| client);
    let link = Http1Link::new(stream, buffer, outbound.head, outbound.chunked, client);
    Link::Http1(Box::new(link))
}

async fn http2(
    worker: &Worker,
    upstream: &Rc<Upstream>,
    outbound: &Outbound<'_>,
    ends: bool,
) -> Option<Link> {
    for _ in 0..PLACES {
        let (connecting, buffers) = (Rc::clone(upstream), Rc::clone(&worker.buffers));
        let connect = move || async move { connecting.connect_http2(&buffers).await };
        let place = match upstream.http2.place(connect).await {
            Ok(place) => place,
            Err(NoStream::Connect(error)) => {
                tracing::debug!(%error, "connection to an endpoint");
                return None;
            }
        };
        if outbound.upgrade && !place.takes_websockets() {
            tracing::debug!("an endpoint takes no WebSockets over HTTP/2");
            return None;
        }
        let counter = if place.fresh {
            &worker.stats().upstream_connects
        } else {
            &worker.stats().upstream_reuses
        };
        counter.add(1);
        let scheme = if upstream.is_secure() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let request = match request_for_endpoint(outbound.head, &scheme) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "request");
                return None;
            }
        };
        // A connection that takes no more says so before anything is sent.
        if let Ok((response, send, lease)) = place.send(request, ends) {
            let link = Http2Link::new(response, send, lease);
            return Some(Link::Http2(Box::new(link)));
        }
    }
    None
}
