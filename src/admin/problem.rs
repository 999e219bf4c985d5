//! Refusals: the one place that makes the admin API's error answers (RFC 9457, `problem+json`).

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::schema::{Problem, ReloadProblem};
use crate::drain;
use crate::model::report::ConfigurationFault;
use crate::model::target;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The request itself is wrong: 400 and the field.
    #[error("{detail}")]
    Invalid {
        /// What is wrong and what is allowed.
        detail: String,
        /// Which field, where one is.
        field: Option<String>,
    },
    /// The body is not called JSON: 415. A browser sends no other type across origins unasked.
    #[error("send the body as Content-Type: application/json")]
    NotJson,
    /// No such path: 404.
    #[error("no {0} here; docs/admin-api.md names what there is: {1}")]
    NoRoute(String, String),
    /// The path has another method: 405.
    #[error("{0} does not take {1}")]
    NoMethod(String, String),
    /// The request comes from a web page or by a name that is not ours: 403.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The target is unknown or cannot be changed: 404, 409 or 503.
    #[error(transparent)]
    Target(#[from] drain::TargetError),
    /// There is no configuration yet, so nothing can be said about targets: 503.
    #[error("lastcall has no configuration yet; ask again")]
    NotConfigured,
    /// The configuration was refused: 422 with all that is wrong.
    #[error("the configuration was refused, the one before goes on: {} fault(s)", .0.len())]
    Faults(Vec<ConfigurationFault>),
}

impl Refusal {
    /// A field that is wrong.
    pub(super) fn field(field: &str, detail: impl Into<String>) -> Self {
        Self::Invalid {
            detail: detail.into(),
            field: Some(field.to_owned()),
        }
    }

    /// A target that cannot be read, in `field`.
    pub(super) fn target(field: &str, error: &target::TargetError) -> Self {
        Self::field(field, error.to_string())
    }

    fn status(&self) -> StatusCode {
        use drain::TargetError as T;
        match self {
            Refusal::Invalid { .. } => StatusCode::BAD_REQUEST,
            Refusal::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::NoMethod(..) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::NoRoute(..) | Refusal::Target(T::NoBackend { .. } | T::NoEndpoint { .. }) => {
                StatusCode::NOT_FOUND
            }
            Refusal::Target(T::ConfiguredOtherwise { .. }) => StatusCode::CONFLICT,
            Refusal::Target(T::ShuttingDown) | Refusal::NotConfigured => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::Faults(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn title(&self) -> &'static str {
        use drain::TargetError as T;
        match self {
            Refusal::Invalid { .. } => "invalid request",
            Refusal::NotJson => "not JSON",
            Refusal::Forbidden(_) => "forbidden",
            Refusal::NoRoute(..) => "no such path",
            Refusal::NoMethod(..) => "no such method",
            Refusal::Target(T::NoBackend { .. } | T::NoEndpoint { .. }) => "unknown target",
            Refusal::Target(T::ConfiguredOtherwise { .. }) => "configured otherwise",
            Refusal::Target(T::ShuttingDown) => "shutting down",
            Refusal::NotConfigured => "not configured yet",
            Refusal::Faults(_) => "configuration refused",
        }
    }

    fn problem(&self) -> Problem {
        Problem {
            title: self.title().to_owned(),
            status: self.status().as_u16(),
            detail: self.to_string(),
            field: match self {
                Refusal::Invalid { field, .. } => field.clone(),
                Refusal::Target(error) if *error != drain::TargetError::ShuttingDown => {
                    Some("target".to_owned())
                }
                _ => None,
            },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = self.problem();
        match self {
            Refusal::Faults(faults) => problem_json(status, &ReloadProblem { problem, faults }),
            _ => problem_json(status, &problem),
        }
    }
}

fn problem_json(status: StatusCode, body: &impl Serialize) -> Response {
    // Plain structs of strings and numbers: they always serialize.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}
