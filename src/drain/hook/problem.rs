//! Why a hook is not answered with a hold: problem+json (RFC 9457), and the caller asks again.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lastcall_hold::wire::Problem;

/// Why a hook is not answered with a hold. None of them lets the pod go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("{0}")]
    Invalid(String),
    /// 401: no token at all.
    #[error(
        "a pod's service account token of audience lastcall.dev is needed: Authorization: Bearer …"
    )]
    NoToken,
    /// 401: a token that proves nothing.
    #[error("the token proves no pod: {0}")]
    BadToken(String),
    /// 404.
    #[error("no such path on the hook server")]
    NoRoute,
    /// 503: what the token is checked with is not there.
    #[error("tokens cannot be checked now: {0}")]
    NoKeys(String),
    /// 503.
    #[error("lastcall is shutting down")]
    ShuttingDown,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::NoToken | Refusal::BadToken(_) => StatusCode::UNAUTHORIZED,
            Refusal::NoRoute => StatusCode::NOT_FOUND,
            Refusal::NoKeys(_) | Refusal::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        // lastcall-hold asks again; a kubelet does not.
        tracing::warn!(%status, detail = %self, "a preStop hook was refused");
        let problem = Problem {
            title: status.canonical_reason().unwrap_or("refused").to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
            field: None,
        };
        // A struct of strings and numbers always is JSON.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
