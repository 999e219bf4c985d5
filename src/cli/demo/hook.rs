//! `lastcall demo-hook` (hidden): what a pod's preStop hook runs, the very code of `lastcall-hold`, so that
//! the demo needs no second program. Run as a child process by [`super::kubelet`].

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lastcall_hold::{Options, run as hold};

/// The flags of `lastcall demo-hook`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The admin socket of lastcall.
    #[arg(long)]
    admin_socket: PathBuf,
    /// The most that can be waited, seconds.
    #[arg(long)]
    grace_seconds: f64,
    /// The endpoint, `be/NAME/ADDRESS:PORT`.
    target: String,
}

/// Holds, and prints the outcome as one JSON line: that of `lastcall-hold -o json`.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut options = Options::new(vec![args.target.clone()]);
    options.socket.clone_from(&args.admin_socket);
    options.grace = Some(Duration::try_from_secs_f64(args.grace_seconds)?);
    let outcome = hold(&options, &mut |_| ());
    writeln!(std::io::stdout(), "{}", outcome.to_json())?;
    Ok(ExitCode::from(outcome.exit_code()))
}
