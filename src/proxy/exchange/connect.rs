//! A way to an endpoint for one attempt: a new connection, or a stream on one that is there.

use std::rc::Rc;
use std::time::Instant;

use http::uri::Scheme;

use super::{Http1Link, Http2Link, Link};
use crate::model::{EndpointProtocol, ProxyVersion};
use crate::proxy::attempts::{NotConnected, unreachable};
use crate::proxy::buffer::Buffer;
use crate::proxy::http2::{Place, request_for_endpoint};
use crate::proxy::proxy_protocol::Addresses;
use crate::proxy::respond::Answer;
use crate::proxy::sheets::Sheet;
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

/// A connection with the request's head on it, and whether it was there before.
pub(in crate::proxy) type Linked = (Link, bool);

/// Whose a connection is, where the endpoint is told.
pub(in crate::proxy) type Told = Option<(ProxyVersion, Addresses)>;

/// Uses a connection of HTTP/1 that was kept, or a stream on one of HTTP/2 that has room; `None` where there is
/// none. `ends` as in [`connect`].
pub(in crate::proxy) fn reuse(
    worker: &Worker,
    upstream: &Upstream,
    outbound: &Outbound<'_>,
    told: Told,
    ends: bool,
) -> Option<Linked> {
    if upstream.speaks_http2(outbound.upgrade) {
        let place = upstream.http2.place_at_hand()?;
        return stream(worker, upstream, place, outbound, ends).ok()?;
    }
    let client = told.as_ref().map(|(_, client)| client);
    let stream = upstream.reuse(Instant::now(), client)?;
    worker.stats().upstream_reuses.add(1);
    Some((http1(worker, stream, outbound, told), true))
}

/// Connects, or uses a connection of HTTP/2 that is there; with `ends` the head is all of the request.
pub(in crate::proxy) async fn connect(
    worker: &Worker,
    upstream: &Rc<Upstream>,
    outbound: &Outbound<'_>,
    told: Told,
    ends: bool,
) -> Result<Linked, NotConnected> {
    match outbound.protocol {
        EndpointProtocol::Http1 => {
            let connecting = upstream.connect_telling(told, Offer::Http1, &worker.buffers);
            let stream = connecting.await.map_err(|_| unreachable())?;
            worker.stats().upstream_connects.add(1);
            Ok((http1(worker, stream, outbound, told), false))
        }
        EndpointProtocol::Http2 => http2(worker, upstream, outbound, ends).await,
        EndpointProtocol::Negotiated => negotiated(worker, upstream, outbound, ends).await,
        // No request is led to one.
        EndpointProtocol::Bytes => Err(unreachable().into()),
    }
}

/// As the endpoint chooses in its handshake. What it chose last is taken for what it will choose, and may prove wrong
/// once.
async fn negotiated(
    worker: &Worker,
    upstream: &Rc<Upstream>,
    outbound: &Outbound<'_>,
    ends: bool,
) -> Result<Linked, NotConnected> {
    for _ in 0..2 {
        if upstream.speaks_http2(outbound.upgrade) {
            let linked = http2(worker, upstream, outbound, ends).await;
            if linked.is_ok() || upstream.speaks_http2(outbound.upgrade) {
                return linked;
            }
            // It chose HTTP/1.1, for the first of those who waited for it.
            if let Some(stream) = upstream.reuse(Instant::now(), None) {
                worker.stats().upstream_connects.add(1);
                return Ok((http1(worker, stream, outbound, None), false));
            }
        }
        let offer = if outbound.upgrade {
            Offer::Http1
        } else {
            Offer::Any
        };
        let era = upstream.era();
        let connecting = upstream.connect_telling(None, offer, &worker.buffers);
        let stream = connecting.await.map_err(|_| unreachable())?;
        worker.stats().upstream_connects.add(1);
        if !upstream.chose_http2(&stream) {
            return Ok((http1(worker, stream, outbound, None), false));
        }
        upstream.adopt_http2(stream, era);
    }
    Err(unreachable().into())
}

fn http1(worker: &Worker, stream: Transport, outbound: &Outbound<'_>, told: Told) -> Link {
    let buffer = Buffer::new(&worker.buffers);
    let client = told.map(|(_, client)| client);
    let sheet = Sheet::new(&worker.sheets);
    let link = Http1Link::new(
        (stream, buffer, sheet),
        outbound.head,
        outbound.chunked,
        client,
    );
    Link::Http1(Box::new(link))
}

async fn http2(
    worker: &Worker,
    upstream: &Rc<Upstream>,
    outbound: &Outbound<'_>,
    ends: bool,
) -> Result<Linked, NotConnected> {
    for _ in 0..PLACES {
        let (connecting, buffers) = (Rc::clone(upstream), Rc::clone(&worker.buffers));
        let connect = move || async move { connecting.connect_http2(&buffers).await };
        let place = upstream.http2.place(connect).await.map_err(|error| {
            tracing::debug!(%error, "connection to an endpoint");
            unreachable()
        })?;
        let Some(place) = place else { continue };
        // A connection that takes no more says so before anything is sent.
        if let Some(linked) = stream(worker, upstream, place, outbound, ends)? {
            return Ok(linked);
        }
    }
    Err(unreachable().into())
}

/// Begins a stream with the request's head; `None` where the connection takes no more of them.
fn stream(
    worker: &Worker,
    upstream: &Upstream,
    place: Place,
    outbound: &Outbound<'_>,
    ends: bool,
) -> Result<Option<Linked>, NotConnected> {
    if outbound.upgrade && !place.takes_websockets() {
        let none = "the endpoint takes no WebSockets over HTTP/2 (RFC 8441)";
        return Err(Answer::new(502, none).into());
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
    let request = request_for_endpoint(outbound.head, &scheme).map_err(|error| {
        // A client's doing: the log is not for it to fill.
        tracing::debug!(%error, "request");
        let why = "the request cannot be carried in HTTP/2, which its endpoints speak";
        NotConnected::Unsayable(Answer::new(400, why))
    })?;
    let kept = place.kept;
    let sent = place.send(request, ends).ok();
    Ok(sent.map(|(response, send, lease)| {
        let sheet = Sheet::new(&worker.sheets);
        let link = Http2Link::new(response, send, lease, sheet);
        (Link::Http2(Box::new(link)), kept)
    }))
}
