//! `lastcall-hold`: see `lastcall-hold --help`, or [`lastcall_hold::arguments::HELP`].

use std::io::Write;
use std::process::ExitCode;

use lastcall_hold::arguments::{HELP, Wish, parse};
use lastcall_hold::install::install;
use lastcall_hold::{Options, Progress, run};

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    match parse(arguments, std::env::var_os("LASTCALL_ADMIN_SOCKET")) {
        Ok(Wish::Help) => print(HELP),
        Ok(Wish::Version) => print(concat!("lastcall-hold ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Wish::Hold {
            options,
            json,
            quiet,
        }) => return hold(&options, json, quiet),
        Ok(Wish::Install { folder, service }) => {
            if let Err(error) = install(&folder, &service) {
                say(&format!("cannot install: {error}"));
                return ExitCode::FAILURE;
            }
        }
        Err(error) => {
            say(&error.to_string());
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn hold(options: &Options, json: bool, quiet: bool) -> ExitCode {
    let mut tell = |progress: &Progress| {
        if !quiet {
            say(&progress.to_string());
        }
    };
    let outcome = run(options, &mut tell);
    if !quiet || outcome.is_loud() {
        say(&outcome.to_string());
    }
    if json {
        print(&format!("{}\n", outcome.to_json()));
    }
    ExitCode::from(outcome.exit_code())
}

/// A hook's output may be closed or full: what cannot be printed must not end a hold.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "lastcall-hold: {text}");
}

fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
