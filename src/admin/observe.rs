//! `/metrics`, `/healthz` and `/readyz`, on a port of their own: for Prometheus, for balancers in front
//! of lastcall, for probes. Nothing can be changed here.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::metrics::{self, Scrape};
use super::parts::Parts;
use super::schema::Ready;

/// A scrape goes on without the endpoints where the coordinator is silent for so long: the rest of the
/// numbers is what tells why.
const PATIENCE: Duration = Duration::from_secs(2);

/// The paths of this port.
pub const PATHS: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

/// The router of the metrics port.
pub fn observe_router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(parts)
}

async fn scrape(State(parts): State<Arc<Parts>>) -> Response {
    let report = tokio::time::timeout(PATIENCE, parts.draining.report()).await;
    let scrape = Scrape {
        uptime: parts.started.elapsed(),
        ready: parts.readiness.missing().is_empty(),
        configuration: parts.configuration.report(),
        snapshot: parts.configuration.snapshot(),
        data_plane: parts.statistics.data_plane(),
        drains: parts.statistics.drains(),
        cluster: parts.statistics.cluster(),
        backends: report.ok().and_then(Result::ok),
    };
    match metrics::encode(&scrape) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics not encoded");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// The control plane's runtime answers: that is what it says, and all it says.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(parts): State<Arc<Parts>>) -> Response {
    let missing: Vec<_> = parts
        .readiness
        .missing()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let ready = missing.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Ready { ready, missing })).into_response()
}
