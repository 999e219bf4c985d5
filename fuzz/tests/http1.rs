//! The HTTP/1 codec against any bytes, from both sides.
//!
//! `cargo test -p lastcall-fuzz` runs each target 300,000 times; `LASTCALL_FUZZ_SECONDS=60` for so
//! long. A failure prints the seed that repeats it (`BOLERO_RANDOM_SEED`).

use bolero::check;
use lastcall_fuzz::cases::{requests, responses};
use lastcall_fuzz::{Choices, Shown, cuts, effort, message};

/// Long messages only slow it down.
fn short(messages: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    messages.filter(|bytes| bytes.len() < 400).collect()
}

#[test]
fn any_bytes_of_a_client_are_read_alike_and_passed_on_plainly() {
    let seeds = short(requests::CASES.iter().map(|case| case.bytes.to_vec()));
    let (time, iterations) = effort();
    check!()
        .with_test_time(time)
        .with_iterations(iterations)
        .with_max_len(256)
        .for_each(|bytes: &[u8]| {
            let mut choices = Choices::new(bytes);
            let input = message(&mut choices, &seeds);
            let _shown = Shown(&input);
            let cuts = cuts(&mut choices, input.len());
            lastcall_fuzz::check::requests(&input, &cuts);
        });
}

#[test]
fn any_bytes_of_a_backend_are_read_alike_and_passed_on_plainly() {
    let seeds = short(responses::CASES.iter().map(|case| case.bytes.to_vec()));
    let (time, iterations) = effort();
    check!()
        .with_test_time(time)
        .with_iterations(iterations)
        .with_max_len(256)
        .for_each(|bytes: &[u8]| {
            let mut choices = Choices::new(bytes);
            let input = message(&mut choices, &seeds);
            let _shown = Shown(&input);
            let cuts = cuts(&mut choices, input.len());
            let (head, upgrade) = (choices.below(4) == 1, choices.below(2) == 1);
            lastcall_fuzz::check::response(&input, &cuts, head, upgrade);
        });
}
