//! The data plane: workers that accept, route, balance and count.

mod attempts;
pub mod backends;
pub mod balance;
pub mod buffer;
pub mod connection_counts;
mod destination;
mod exchange;
pub mod filters;
mod grpc;
mod hash_key;
pub mod http1;
pub mod http2;
mod keep_alive;
mod linger;
pub mod listener;
mod mirror;
mod origin;
mod pick;
pub mod proxy_protocol;
pub mod queue;
pub mod rate_limit;
pub mod respond;
pub mod retry_budget;
pub mod rng;
pub mod room;
pub mod router;
#[cfg(test)]
mod samples;
pub mod sheets;
pub mod sni;
mod splice;
pub mod stats;
mod tcp;
pub mod timer;
pub mod tls;
pub mod transport;
mod tunnel;
pub mod upstream;
mod worker;
mod workers;

pub use workers::{Farewell, Workers};
