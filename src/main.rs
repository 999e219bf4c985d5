//! The program `lastcall`: parses the command line, runs the subcommand, and turns its end into an exit
//! code (docs/cli.md).

use std::process::ExitCode;

use clap::Parser;
use lastcall::cli::Cli;

// The workers allocate on every core at once; the system's allocator contends there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lastcall: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
