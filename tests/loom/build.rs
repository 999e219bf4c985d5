//! Turns on the gate's loom atomics for this package alone (a `--cfg` in RUSTFLAGS would reach every
//! dependency).
fn main() {
    println!("cargo::rustc-cfg=lastcall_loom");
}
