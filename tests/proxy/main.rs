//! The whole proxy over real sockets: `lastcall standalone` as a child process, servers that record every
//! byte and misbehave as told, and clients that see how a connection ends.

mod at_the_cut;
mod cases;
mod connections;
mod endings;
mod fields;
mod filters;
mod interim;
mod leaving;
mod limits;
mod listeners;
mod log;
mod matches;
mod messages;
mod mirror;
mod resend;
mod retries;
mod routing;
mod support;
mod table;
mod timeouts;
mod tunnels;
mod unread;

/// How long a condition may take to come on a busy machine.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
