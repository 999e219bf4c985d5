//! The admin API's routes: one list, from which the router, the refusals and the test of
//! docs/admin-api.md are made.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{MethodRouter, get, post};

use super::parts::Parts;
use super::problem::Refusal;
use super::{change, hold, status, wait};

/// What the handlers share.
pub(super) type Shared = Arc<Parts>;

/// One route of the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// All there is to see.
    Status,
    /// One Backend.
    Backend,
    /// Drain, enable, disable.
    AdminState,
    /// Wait for a state.
    Wait,
    /// Hold a server until it is drained.
    Hold,
    /// Read the configuration anew.
    Reload,
}

impl Route {
    /// Every route.
    pub const ALL: [Route; 6] = [
        Route::Status,
        Route::Backend,
        Route::AdminState,
        Route::Wait,
        Route::Hold,
        Route::Reload,
    ];

    /// Its method.
    pub fn method(self) -> &'static str {
        match self {
            Route::Status | Route::Backend | Route::Wait => "GET",
            Route::AdminState | Route::Hold | Route::Reload => "POST",
        }
    }

    /// Its path, with parameters in braces.
    pub fn path(self) -> &'static str {
        match self {
            Route::Status => "/v1/status",
            Route::Backend => "/v1/backends/{namespace}/{name}",
            Route::AdminState => "/v1/admin-state",
            Route::Wait => "/v1/wait",
            Route::Hold => lastcall_hold::wire::PATH,
            Route::Reload => "/v1/reload",
        }
    }

    fn handler(self) -> MethodRouter<Shared> {
        match self {
            Route::Status => get(status::status),
            Route::Backend => get(status::backend),
            Route::AdminState => post(change::admin_state),
            Route::Wait => get(wait::wait),
            Route::Hold => post(hold::hold),
            Route::Reload => post(change::reload),
        }
    }
}

/// The admin API over the given parts, the same on every listener.
pub fn router(parts: Arc<Parts>) -> Router {
    Route::ALL
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path(), route.handler())
        })
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(parts)
}

async fn no_route(uri: Uri) -> Refusal {
    let known: Vec<_> = Route::ALL.iter().map(|route| route.path()).collect();
    Refusal::NoRoute(uri.path().to_owned(), known.join(", "))
}

async fn no_method(method: Method, uri: Uri) -> Refusal {
    Refusal::NoMethod(uri.path().to_owned(), method.to_string())
}
