//! What people and programs see of a running lastcall, and what they can ask of it: the admin API on a
//! Unix socket (and on a loopback TCP port by choice), and metrics, health and readiness on a port of
//! their own. docs/admin-api.md is the description, [`schema`] the types.
//!
//! It owns nothing that it shows: `app` passes in the parts behind the traits of [`parts`].

mod backend_metrics;
mod certificates;
mod change;
#[cfg(test)]
mod document_tests;
mod endpoint_metrics;
mod exposition;
mod guard;
mod hold;
mod metrics;
mod observe;
pub mod parts;
#[cfg(test)]
mod port_tests;
mod problem;
pub mod readiness;
mod request;
mod routes;
pub mod schema;
mod server;
mod status;
#[cfg(test)]
pub(crate) mod test_parts;
mod unix_socket;
mod wait;
mod watched;

pub use observe::{PATHS as OBSERVE_PATHS, observe_router};
pub use parts::{Configuration, Draining, Parts, Statistics};
pub use readiness::{Guard, Readiness};
pub use routes::{Route, router};
pub use server::{serve_observe, serve_tcp, serve_unix};
pub use unix_socket::{AdminSocket, SocketError};
