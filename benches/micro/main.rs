//! `cargo bench --bench micro [-- NAME]`: what the parts of the request path and of the plan cost by themselves.
//! One program, because each would be linked with all of lastcall anew.

mod balance;
mod gate;
mod router;
mod snapshot;

fn main() {
    divan::main();
}
