//! The whole proxy over real sockets: `lastcall standalone` as a child process, servers that record every
//! byte and misbehave as told, and clients that see how a connection ends.

mod cases;
mod endings;
mod interim;
mod messages;
mod support;
mod table;
mod tunnels;
