//! Lastcall: a load balancer that knows when a server is drained.
//!
//! The router is the counter: a server that leaves its pool is let go when its last in-flight request
//! has finished, and not a moment later. README.md says what it is for, docs/architecture.md how the
//! parts fit.

pub mod admin;
pub mod admission;
pub mod api;
pub mod app;
pub mod cli;
pub mod controller;
pub mod drain;
pub mod gate;
pub mod model;
pub mod plan;
pub mod proxy;
pub mod source;
pub mod tls_port;
