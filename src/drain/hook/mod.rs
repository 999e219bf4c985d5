//! The hook server: answers the preStop hooks of pods. In exec mode `lastcall-hold` asks
//! `POST /v1/prestop` and shows its pod's own token; the answer is a stream that ends with the release. In
//! `HTTPGet` mode the kubelet asks `GET /v1/prestop/NAMESPACE/ID/CONTAINER`, and any answer is the release
//! (`get`). Both are always answered: pods keep the hooks that they were given in another mode.
//!
//! It sits behind a TLS port that `app` opens. What only the cluster knows it asks through [`Cluster`].
//! An unknown caller, a caller that cannot be looked up and an internal error release nobody (Law 5):
//! the caller asks again.

mod calls;
mod follow;
mod get;
mod judge;
mod problem;
#[cfg(test)]
mod tests;
mod together;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use lastcall_hold::wire::{PRESTOP_PATH, PrestopAsk};
use tokio::sync::{mpsc, watch};

use super::{Handle, HoldKey, HoldRequest, HoldScope, HoldUpdate, TargetError, lines, ndjson};
use crate::model::grace::PodLife;
pub use calls::Calls;
use follow::Following;
pub use judge::{Found, Named};
pub use problem::Refusal;

/// A pod whose hook calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: Arc<str>,
}

/// What the hook server has to ask of the cluster; `app` answers it by what `source` watches.
pub trait Cluster: Send + Sync {
    /// The pod that shows this token.
    fn caller<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, Refusal>>;
    /// What is known of its life and of why the container is stopped: looked up live, and where that fails
    /// as last seen, and as a deletion (DESIGN section 6).
    fn life<'a>(&'a self, caller: &'a Caller, container: &'a str) -> BoxFuture<'a, PodLife>;
    /// What was last heard of its life, without asking anybody and without evidence; nothing where it was
    /// never heard of, or is gone.
    fn last_heard(&self, caller: &Caller) -> Option<PodLife>;
    /// The pods with this hook id, as the API server says now and, where it does not answer, as last seen. A
    /// pod whose object is gone there and that was seen last is being killed.
    fn named<'a>(&'a self, namespace: &'a str, id: &'a str) -> BoxFuture<'a, Found>;
    /// The pods with this hook id as last seen.
    fn named_as_seen(&self, namespace: &str, id: &str) -> Vec<Named>;
    /// Changes its value when something that the others tell may have changed.
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
    /// The kubelet's calls under way.
    pub calls: Calls,
    /// True from when calls of the kubelet can be handed over: this replica is leaving, its delay is over, and
    /// another one is known to be ready.
    pub peer_ready: watch::Receiver<bool>,
}

/// What the webhook writes into pods: [`PRESTOP_PATH`] and who is meant.
const CALLED_PATH: &str = "/v1/prestop/{namespace}/{id}/{container}";

/// The hook server's paths.
pub fn router(parts: Parts) -> Router {
    Router::new()
        .route(PRESTOP_PATH, routing::post(prestop))
        .route(CALLED_PATH, routing::get(get::prestop))
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
    let (updates, following) = begin(&parts, caller, ask.container, false)
        .await
        .map_err(|_| Refusal::ShuttingDown)?;
    // It ends with the answer, whoever ends that.
    let lines = lines::of(updates).map(move |line| {
        let _ = &following;
        line
    });
    Ok(ndjson::response(lines))
}

/// Begins the hold of one container, or joins it, and follows what its pod's life leaves to it. `hearsay`:
/// nothing proves that the pod calls, nor is it being deleted.
async fn begin(
    parts: &Parts,
    pod: Caller,
    container: String,
    hearsay: bool,
) -> Result<(mpsc::UnboundedReceiver<HoldUpdate>, Following), TargetError> {
    let life = parts.cluster.life(&pod, &container).await;
    let allowance = life.allowance(parts.node_shutdown);
    let key = HoldKey {
        id: pod.uid.to_string(),
        container,
    };
    let request = HoldRequest {
        key: key.clone(),
        scope: HoldScope::Pod(Arc::clone(&pod.uid)),
        grace: Some(allowance.grace),
        restart: allowance.restart,
        spare_last: hearsay,
    };
    let updates = parts.draining.hold(request).await?;
    let following = follow::follow(parts.clone(), pod, key, life);
    Ok((updates, following))
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
