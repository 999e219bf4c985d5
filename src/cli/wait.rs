//! `lastcall wait`.

use std::time::Duration;

use clap::Args;

use super::Failure;
use super::reach::{Reach, block_on};
use super::until::Until;
use crate::admin::schema::Goal;

/// What `--help` says last.
const AFTER_HELP: &str = "\
drained: every endpoint of the target takes no new work and has nothing in flight.
in-service: every endpoint of the target takes new work.
Exit code 3 where it is not so in time, or where requests were cut while waiting.

Examples:
  lastcall wait be/web/10.0.0.7:8080 --for=drained --timeout 2m
  lastcall wait be/web --for=in-service";

/// Arguments of `lastcall wait`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Wait {
    /// be/NAME or be/NAME/ADDRESS:PORT
    target: String,
    /// What to wait for
    #[arg(long = "for", value_name = "STATE")]
    goal: Goal,
    /// How long to wait: 30s, 2m, or seconds
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = lastcall_hold::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    reach: Reach,
}

impl Wait {
    /// Waits, prints how it ended.
    pub fn run(self) -> Result<(), Failure> {
        let waited = block_on(async {
            let lastcall = self.reach.open().await?;
            let target = lastcall.target(&self.target)?;
            let until = Until {
                client: &lastcall.client,
                target: &target,
                goal: self.goal,
                limit: self.timeout,
                answered: false,
            };
            until.wait(|_| async { Ok(()) }).await
        })?;
        self.reach.output.print(&waited.sentence(), &waited)?;
        waited.verdict()
    }
}
