//! The paths of the webhooks' port. Served by [`crate::tls_port`], put together by `app`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use kube::core::DynamicObject;
use kube::core::admission::AdmissionReview;

use super::review::{ReviewError, Reviewer};

/// Where the mutating webhook is.
pub const MUTATE: &str = "/mutate-pods";
/// Where the validating webhook is.
pub const VALIDATE: &str = "/validate";

/// etcd takes objects of 1.5 MiB; a review may have two, the new and the old.
const BODY_BYTES: usize = 8 * 1024 * 1024;

/// Both webhooks.
pub fn routes(reviewer: Arc<Reviewer>) -> Router {
    Router::new()
        .route(MUTATE, post(mutate))
        .route(VALIDATE, post(validate))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(reviewer)
}

async fn mutate(State(reviewer): State<Arc<Reviewer>>, body: Bytes) -> Response {
    answer(reviewer.mutate(&body).await)
}

async fn validate(State(reviewer): State<Arc<Reviewer>>, body: Bytes) -> Response {
    answer(reviewer.validate(&body))
}

fn answer(review: Result<AdmissionReview<DynamicObject>, ReviewError>) -> Response {
    match review {
        Ok(review) => Json(review).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}
