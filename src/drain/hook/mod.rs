//! The hook server: answers the preStop hooks of pods. In exec mode `lastcall-hold` asks
//! `POST /v1/prestop` and shows its pod's own token; the answer is a stream that ends with the release.
//!
//! It sits behind a TLS port that `app` opens. What only the cluster knows it asks through [`Cluster`].
//! An unknown caller, a caller that cannot be looked up and an internal error release nobody (Law 5):
//! the caller asks again.

mod follow;
mod problem;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::post;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use lastcall_hold::wire::{PRESTOP_PATH, PrestopAsk};
use tokio::sync::watch;

use super::{Handle, HoldKey, HoldRequest, HoldScope, lines, ndjson};
use crate::model::grace::PodLife;
pub use problem::Refusal;

/// A pod, as its token proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: Arc<str>,
}

/// What the hook server has to ask of the cluster; `source` implements it.
pub trait Cluster: Send + Sync {
    /// The pod that shows this token.
    fn caller<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, Refusal>>;
    /// What is known of its life and of why the container is stopped: looked up live, and where that fails
    /// as last seen, and as a deletion (DESIGN section 6).
    fn life<'a>(&'a self, caller: &'a Caller, container: &'a str) -> BoxFuture<'a, PodLife>;
    /// What was last heard of its life, without asking anybody and without evidence; nothing where it was
    /// never heard of, or is gone.
    fn last_heard(&self, caller: &Caller) -> Option<PodLife>;
    /// Changes its value when something that `last_heard` tells may have changed.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// What the hook server works with.
#[derive(Clone)]
pub struct Parts {
    /// The coordinator.
    pub draining: Handle,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// What a hold may take where its node is shutting down.
    pub node_shutdown: Duration,
}

/// The hook server's paths.
pub fn router(parts: Parts) -> Router {
    Router::new()
        .route(PRESTOP_PATH, post(prestop))
        .fallback(async || Refusal::NoRoute)
        .with_state(parts)
}

async fn prestop(
    State(parts): State<Parts>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let ask: PrestopAsk = serde_json::from_slice(&body)
        .map_err(|error| Refusal::Invalid(format!("the body is not what is asked for: {error}")))?;
    if ask.container.is_empty() {
        return Err(Refusal::Invalid("container is empty".to_owned()));
    }
    let token = bearer(&headers).ok_or(Refusal::NoToken)?;
    let caller = parts.cluster.caller(token).await?;
    let life = parts.cluster.life(&caller, &ask.container).await;
    let allowance = life.allowance(parts.node_shutdown);
    let key = HoldKey {
        id: caller.uid.to_string(),
        container: ask.container,
    };
    let request = HoldRequest {
        key: key.clone(),
        scope: HoldScope::Pod(Arc::clone(&caller.uid)),
        grace: Some(allowance.grace),
        restart: allowance.restart,
    };
    let updates = parts
        .draining
        .hold(request)
        .await
        .map_err(|_| Refusal::ShuttingDown)?;
    // Ends with the answer, whoever ends that.
    let following = follow::follow(parts, caller, key, life);
    let lines = lines::of(updates).map(move |line| {
        let _ = &following;
        line
    });
    Ok(ndjson::response(lines))
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
