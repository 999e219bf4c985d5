//! `POST /v1/hold`: passes a hold on to the coordinator and its updates back, a line each.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::problem::Refusal;
use super::routes::Shared;
use super::schema::HoldAsk;
use super::{request, status};
use crate::drain::{HoldKey, HoldRequest, HoldScope, lines, ndjson};

pub(super) async fn hold(
    State(parts): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let ask: HoldAsk = request::json(&headers, &body)?;
    let request = read(&ask)?;
    status::configured(&parts)?;
    let updates = parts.draining.hold(request).await?;
    Ok(ndjson::response(lines::of(updates)))
}

fn read(ask: &HoldAsk) -> Result<HoldRequest, Refusal> {
    if ask.key.is_empty() {
        return Err(Refusal::field("key", "key is empty: say who holds"));
    }
    if ask.targets.is_empty() {
        return Err(Refusal::field(
            "targets",
            "targets is empty: name at least one, such as be/web/10.0.0.7:8080",
        ));
    }
    Ok(HoldRequest {
        key: HoldKey {
            id: ask.key.clone(),
            container: String::new(),
        },
        scope: HoldScope::Targets(
            ask.targets
                .iter()
                .map(|text| request::target("targets", text, &ask.namespace))
                .collect::<Result<_, _>>()?,
        ),
        grace: request::seconds("graceSeconds", ask.grace_seconds)?,
        restart: ask.restart,
        spare_last: false,
    })
}
