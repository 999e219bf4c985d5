//! The side of a hold that waits: a server that is asked to stop asks lastcall first, and stops when
//! its last in-flight request has finished.
//!
//! Used by the program `lastcall-hold` (preStop hooks, systemd's `ExecStop`) and by `lastcall demo`,
//! which runs the same code. In a pod ([`pod`]) it asks the hook service over TLS, elsewhere the admin
//! socket. [`wire`] is what is said there, shared with lastcall itself so that the two cannot drift.
//!
//! A crash or a restart of lastcall releases nobody (Law 5): a lost connection, a refused one, a
//! missing socket, a 5xx and a silence are all reasons to ask again, until the deadline, of which the
//! waiting side keeps a copy of its own.

pub mod arguments;
mod ask;
mod deadline;
mod dns;
mod duration;
mod http;
pub mod install;
pub mod pod;
mod progress;
mod socket;
mod tls;
mod wait;
pub mod wire;

pub use duration::{DurationError, parse_duration};
pub use progress::{Outcome, Progress};
pub use socket::default_admin_socket;
pub use wait::{Options, run};
