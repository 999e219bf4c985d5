//! The atomics the gate is built on: the standard library's, or loom's where `tests/loom` includes
//! this module to explore every interleaving.

#[cfg(not(lastcall_loom))]
pub use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(lastcall_loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};
