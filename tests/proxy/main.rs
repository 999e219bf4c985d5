//! The whole proxy over real sockets: `lastcall standalone` as a child process, servers that record every
//! byte and misbehave as told, and clients that see how a connection ends.

/// How long a condition may take to come on a busy machine.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
mod at_the_cut;
mod cases;
mod connections;
mod endings;
mod fields;
mod interim;
mod limits;
mod listeners;
mod messages;
mod resend;
mod routing;
mod support;
mod table;
mod timeouts;
mod tunnels;
mod unread;
