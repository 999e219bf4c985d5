//! `POST /v1/admin-state` and `POST /v1/reload`.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;

use super::problem::Refusal;
use super::routes::Shared;
use super::schema::{AdminStateSet, EndpointName, Reloaded, SetAdminState};
use super::{request, status};
use crate::model::{AdminState, EndpointId};

pub(super) async fn admin_state(
    State(parts): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<AdminStateSet>, Refusal> {
    let wish: SetAdminState = request::json(&headers, &body)?;
    let target = request::target("target", &wish.target, &wish.namespace)?;
    let timeout = drain_timeout(&wish)?;
    status::configured(&parts)?;
    let covered = parts
        .draining
        .set_admin_state(target.clone(), wish.state, timeout)
        .await?;
    tracing::info!(%target, namespace = wish.namespace, state = ?wish.state, endpoints = covered.len(), "admin state set");
    Ok(Json(AdminStateSet {
        state: wish.state,
        endpoints: covered.iter().map(name).collect(),
    }))
}

fn drain_timeout(wish: &SetAdminState) -> Result<Option<Duration>, Refusal> {
    const FIELD: &str = "timeoutSeconds";
    match (wish.timeout_seconds, wish.state) {
        (None, _) => Ok(None),
        (Some(seconds @ 1..=3600), AdminState::Draining) => Ok(Some(Duration::from_secs(seconds))),
        (Some(_), AdminState::Draining) => {
            Err(Refusal::field(FIELD, "timeoutSeconds is 1 to 3600"))
        }
        (Some(_), state) => Err(Refusal::field(
            FIELD,
            format!("timeoutSeconds goes with Draining only: {state:?} has no time"),
        )),
    }
}

fn name(id: &EndpointId) -> EndpointName {
    EndpointName {
        namespace: id.backend.namespace.to_string(),
        backend: id.backend.name.to_string(),
        endpoint: id.member.to_string(),
    }
}

pub(super) async fn reload(State(parts): State<Shared>) -> Result<Json<Reloaded>, Refusal> {
    let configuration = parts
        .configuration
        .reload()
        .await
        .map_err(Refusal::Faults)?;
    Ok(Json(Reloaded { configuration }))
}
