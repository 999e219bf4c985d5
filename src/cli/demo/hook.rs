//! `lastcall demo-hook` (hidden): what a pod's preStop hook runs, the very code of `lastcall-hold`, so that
//! the demo needs no second program. Run as a child process by [`super::kubelet`].

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use lastcall_hold::{Options, Outcome, run as hold};

use crate::cli::Failure;

/// `lastcall demo-hook`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoHook {
    /// The admin socket of lastcall.
    #[arg(long)]
    admin_socket: PathBuf,
    /// The most that can be waited, seconds.
    #[arg(long)]
    grace_seconds: f64,
    /// The endpoint, `be/NAME/ADDRESS:PORT`.
    target: String,
}

impl DemoHook {
    /// Holds, and prints the outcome as one JSON line: that of `lastcall-hold -o json`.
    pub fn run(self) -> Result<(), Failure> {
        let mut options = Options::new(vec![self.target]);
        options.socket = self.admin_socket;
        options.grace = Some(
            Duration::try_from_secs_f64(self.grace_seconds)
                .map_err(|error| Failure::Usage(format!("--grace-seconds: {error}")))?,
        );
        let outcome = hold(&options, &mut |_| ());
        writeln!(std::io::stdout(), "{}", outcome.to_json()).context("print the outcome")?;
        match outcome {
            Outcome::Refused(problem) => Err(Failure::Usage(problem.detail)),
            Outcome::Released { .. } | Outcome::GaveUp { .. } | Outcome::Uninstalled { .. } => {
                Ok(())
            }
        }
    }
}
