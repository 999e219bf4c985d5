//! The data plane: workers that accept, route, balance and count.

pub mod balance;
pub mod buffer;
pub mod connection_counts;
mod destination;
pub mod filters;
pub mod http1;
mod keep_alive;
pub mod listener;
pub mod rate_limit;
pub mod respond;
pub mod rng;
pub mod router;
#[cfg(test)]
mod samples;
pub mod stats;
pub mod timer;
mod tunnel;
pub mod upstream;
mod worker;
mod workers;

pub use workers::{Farewell, Workers};
