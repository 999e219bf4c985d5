//! `GET /v1/status` and `GET /v1/backends/{namespace}/{name}`.

use axum::Json;
use axum::extract::{Path, State};

use super::parts::Parts;
use super::problem::Refusal;
use super::routes::Shared;
use super::schema::Status;
use crate::drain::TargetError;
use crate::model::report::{BackendReport, LoadBalancerReport};

pub(super) async fn status(State(parts): State<Shared>) -> Result<Json<Status>, Refusal> {
    let backends = parts.draining.report().await?;
    let missing = parts.readiness.missing();
    let snapshot = parts.configuration.snapshot();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: parts.started.elapsed().as_secs(),
        ready: missing.is_empty(),
        missing: missing.into_iter().map(str::to_owned).collect(),
        shutting_down: *parts.shutting_down.borrow(),
        configuration: parts.configuration.report(),
        load_balancers: snapshot
            .load_balancers
            .iter()
            .map(LoadBalancerReport::from)
            .collect(),
        backends,
    }))
}

pub(super) async fn backend(
    State(parts): State<Shared>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<BackendReport>, Refusal> {
    configured(&parts)?;
    let reports = parts.draining.report().await?;
    find(reports, &namespace, &name)
        .map(Json)
        .map_err(Refusal::from)
}

/// The Backend's report, or the refusal that names the Backends there are.
pub(super) fn find(
    reports: Vec<BackendReport>,
    namespace: &str,
    name: &str,
) -> Result<BackendReport, TargetError> {
    let known = reports
        .iter()
        .map(|report| format!("{}/{}", report.namespace, report.name))
        .collect();
    reports
        .into_iter()
        .find(|report| report.namespace == namespace && report.name == name)
        .ok_or_else(|| TargetError::NoBackend {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            known,
        })
}

/// While there is no configuration no target is known, and "unknown" would be a guess (Law 5).
pub(super) fn configured(parts: &Parts) -> Result<(), Refusal> {
    match parts.configuration.report().revision {
        0 => Err(Refusal::NotConfigured),
        _ => Ok(()),
    }
}
