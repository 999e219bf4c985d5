//! What the tests under traffic share: the real `lastcall` as a child process ([`lastcall`]), a folder of
//! YAML for it ([`config`]), a server that records and misbehaves as told ([`backend`]), a client that sees
//! raw bytes and how a connection ends ([`client`]), and waiting for conditions ([`wait`]).
//!
//! Open-loop load is the demo's: [`load`] and [`plan`], with [`app`] as the server that serves it.

// Each test binary uses another part of it.
#![allow(dead_code, unused_imports)]

pub mod app;
pub mod backend;
pub mod client;
pub mod config;
pub mod http2;
pub mod lastcall;
pub mod raw_http2;
pub mod raw_server;
pub mod scripted;
pub mod tls;
pub mod tls_http;
pub mod tls_raw;
pub mod wait;

pub use ::lastcall::cli::demo::{load, plan, record};

pub use app::App;
pub use backend::{Backend, Seen, Step};
pub use client::{End, RawClient};
pub use config::{Config, free_port};
pub use lastcall::Lastcall;
pub use raw_server::RawServer;
pub use wait::{wait_until, wait_until_async};
