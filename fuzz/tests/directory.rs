//! The folder of YAML against files of any bytes.

use std::panic::AssertUnwindSafe;

use lastcall_fuzz::folder::Folder;
use lastcall_fuzz::{Choices, fuzz};

#[test]
fn any_files_are_taken_whole_or_change_nothing() {
    // A check that panics leaves nothing of it behind.
    let folder = AssertUnwindSafe(Folder::new());
    fuzz!(256, 1_000, |choices: &mut Choices<'_>| folder
        .check(choices));
}
