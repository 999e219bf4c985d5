//! The gate itself, not a copy: the same files, compiled here with loom's atomics.
#![allow(dead_code, unused_imports)]

#[path = "../../../src/gate/mod.rs"]
pub mod gate;
