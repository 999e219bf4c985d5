//! The whole proxy over real sockets: `lastcall standalone` as a child process, servers that record every
//! byte and misbehave as told, and clients that see how a connection ends.

mod at_the_cut;
mod balance;
mod breaker;
mod cases;
mod connections;
mod endings;
mod fields;
mod filters;
mod grpc;
mod http2;
mod http2_early;
mod http2_floods;
mod http2_interim;
mod http2_leaving;
mod http2_lost;
mod http2_retries;
mod http2_reuse;
mod http2_routes;
mod http2_slow_end;
mod http2_small;
mod http2_targets;
mod http2_websocket;
mod http2_without_content;
mod interim;
mod leaving;
mod limits;
mod listeners;
mod log;
mod matches;
mod messages;
mod mirror;
mod neighbours;
mod passthrough;
mod proxy_protocol;
mod resend;
mod retries;
mod routing;
mod support;
mod table;
mod tcp;
mod tcp_bulk;
mod tcp_leaving;
mod timeouts;
mod tls_http2;
mod tls_listener;
mod tls_reload;
mod tls_streams;
mod tls_upstream;
mod tunnels;
mod unread;
mod upstream_change;

/// How long a condition may take to come on a busy machine.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
