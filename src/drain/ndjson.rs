//! Answers that are a stream of JSON lines (`application/x-ndjson`, chunked): of the hook server, and of
//! the admin API.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior};

/// How often a stream on which nothing happens says that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(3);

/// The stream ends without its last line: the connection is cut, so that nobody takes the end for an
/// answer (Law 5).
#[derive(Debug, thiserror::Error)]
#[error("the coordinator has ended before the last line")]
pub(crate) struct Unfinished;

/// Ticks for heartbeats, the first one a period from now.
pub(crate) fn heartbeats() -> Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// A response with one chunk a line; an error cuts the connection.
pub(crate) fn response<L, S>(lines: S) -> Response
where
    L: Serialize,
    S: Stream<Item = Result<L, Unfinished>> + Send + 'static,
{
    let body = lines.map(|line| {
        let mut bytes = serde_json::to_vec(&line?).map_err(axum::Error::new)?;
        bytes.push(b'\n');
        Ok::<_, axum::Error>(Bytes::from(bytes))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<Unfinished> for axum::Error {
    fn from(error: Unfinished) -> Self {
        axum::Error::new(error)
    }
}
