//! The data path.

pub mod http1;
