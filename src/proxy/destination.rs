//! Where a request goes, or what is answered in an endpoint's place. Knows no sockets: asked by the drivers
//! of every version of HTTP once a head is there.

use std::net::IpAddr;
use std::time::Instant;

use super::filters::{Filtered, Origin, location};
use super::hash_key;
use super::http1::{ClientFields, Field, Method, RequestBody, RequestHead};
use super::rate_limit::{Limiter, client_address};
use super::respond::Answer;
use super::router::{Asked, listener_serves};
use super::stats::WorkerStats;
use super::worker::Site;
use crate::model::{Redirect, WeightedBackend};

/// A request's head, whose spans point into `buf`, and who sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) buf: &'a [u8],
    pub(super) fields: &'a [Field],
    pub(super) client: &'a ClientFields,
    /// Who connected.
    pub(super) peer: IpAddr,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<'a> {
    pub(super) backend: WeightedBackend,
    /// By which its endpoint is chosen, where the Backend goes by keys.
    pub(super) key: u64,
    /// What is done with it on the way; `None` for nearly every route.
    pub(super) filtered: Option<Filtered<'a>>,
}

/// Where the request goes, or what we say ourselves.
pub(super) fn destination<'s>(site: &'s Site, request: &Request<'_>) -> Result<Chosen<'s>, Answer> {
    let Request { head, buf, .. } = *request;
    let limits = &site.load_balancer().limits;
    if let (RequestBody::Length(length), Some(limit)) = (head.body, limits.body_bytes)
        && length > limit
    {
        let detail = format!("the body is longer than {limit} bytes");
        return Err(Answer::new(413, detail));
    }
    // RFC 9110 section 7.6.2: the last hop answers itself.
    if head.max_forwards == Some(0) {
        return Err(match head.method {
            Method::Options => Answer::new(200, "").with_field("Allow: OPTIONS"),
            _ => Answer::new(405, "TRACE is not answered here").with_field("Allow: OPTIONS"),
        });
    }
    let host = head.host_name(buf);
    if !listener_serves(&site.listener, &host) {
        return Err(Answer::new(404, "no route for this host"));
    }
    let asked = Asked {
        host: &host,
        path: head.path(buf),
        query: head.query(buf),
        method: head.method_text.of(buf),
        fields: request.fields,
        buf,
    };
    let Some(found) = site.router.route(&asked) else {
        return Err(Answer::new(404, "no route for this request"));
    };
    let filtered = found.filtered();
    if let Some(filtered) = filtered {
        if let Some(limiter) = found.limiter() {
            in_time(limiter, site, request)?;
        }
        if let Some(redirect) = &filtered.filters.redirect {
            return Err(redirected(redirect, filtered.prefix, request, &asked));
        }
    }
    let Some(backend) = found.backend() else {
        let answer = Answer::new(503, "the backend of this route does not exist");
        return Err(answer.retry_after(1));
    };
    let key = hash_key::of_request(site, &backend, request);
    let filtered = filtered.map(|filtered| mirrored(filtered, site, request));
    Ok(Chosen {
        backend,
        key,
        filtered,
    })
}

/// With the key of the request's copy.
fn mirrored<'a>(filtered: Filtered<'a>, site: &Site, request: &Request<'_>) -> Filtered<'a> {
    let mirror = filtered.filters.mirror.as_ref();
    let key = mirror.map(|mirror| hash_key::of_request(site, &mirror.backend, request));
    Filtered {
        mirror_key: key.unwrap_or_default(),
        ..filtered
    }
}

/// Counts what was said in an endpoint's place. A redirect, or an answer to OPTIONS, refuses nothing.
pub(super) fn count_answer(answer: &Answer, stats: &WorkerStats) {
    match answer.status {
        ..400 => {}
        429 => stats.rate_limited.add(1),
        _ => stats.refused.add(1),
    }
}

/// Takes the request, unless it comes too soon.
fn in_time(limiter: &Limiter, site: &Site, request: &Request<'_>) -> Result<(), Answer> {
    let client = if limiter.is_per_client() {
        let trusted = &site.load_balancer().trusted_proxies;
        client_address(request.peer, trusted, request.buf, request.fields)
    } else {
        request.peer
    };
    limiter.take(client, Instant::now()).map_err(|wait| {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        Answer::new(429, "too many requests").retry_after(seconds)
    })
}

fn redirected(
    redirect: &Redirect,
    prefix: usize,
    request: &Request<'_>,
    asked: &Asked<'_>,
) -> Answer {
    let origin = Origin {
        scheme: request.client.scheme(),
        host: asked.host,
        port: request.head.port,
        path: asked.path,
        query: asked.query,
    };
    let location = location(redirect, prefix, &origin);
    Answer::new(redirect.status, "").with_field(format!("Location: {location}"))
}
