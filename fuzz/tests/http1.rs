//! The HTTP/1 codec against any bytes, from both sides.

use lastcall_fuzz::cases::{requests, responses};
use lastcall_fuzz::{Choices, Shown, check, cuts, fuzz, message, short};

#[test]
fn any_bytes_of_a_client_are_read_alike_and_passed_on_plainly() {
    let seeds = short(requests::CASES.iter().map(|case| case.bytes.to_vec()));
    fuzz!(256, 300_000, |choices: &mut Choices<'_>| {
        let input = message(choices, &seeds);
        let _shown = Shown(&input);
        check::requests(&input, &cuts(choices, input.len()));
    });
}

#[test]
fn any_bytes_of_a_backend_are_read_alike_and_passed_on_plainly() {
    let seeds = short(responses::CASES.iter().map(|case| case.bytes.to_vec()));
    fuzz!(256, 300_000, |choices: &mut Choices<'_>| {
        let input = message(choices, &seeds);
        let _shown = Shown(&input);
        let cuts = cuts(choices, input.len());
        let (head, upgrade) = (choices.below(4) == 1, choices.below(2) == 1);
        check::response(&input, &cuts, head, upgrade);
    });
}
