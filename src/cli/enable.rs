//! `lastcall enable`.

use clap::Args;

use super::reach::{Reach, block_on};
use super::{Failure, change};
use crate::model::AdminState;

/// What `--help` says last.
const AFTER_HELP: &str = "\
Takes back what drain or disable set. Without a cluster: what the configuration itself says
(adminState in the file) stays; change it there. In a cluster: be/NAME takes the Backend's own state
back, be/NAME/ADDRESS:PORT the endpoint's own, and each leaves the other as it is.

Example:
  lastcall enable be/web/10.0.0.7:8080";

/// Arguments of `lastcall enable`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Enable {
    /// be/NAME or be/NAME/ADDRESS:PORT
    target: String,
    #[command(flatten)]
    reach: Reach,
}

impl Enable {
    /// Sets `Enabled`.
    pub fn run(self) -> Result<(), Failure> {
        block_on(async {
            let lastcall = self.reach.open().await?;
            let target = lastcall.target(&self.target)?;
            let set = change::set(&lastcall, &target, AdminState::Enabled, None).await?;
            let sentence = change::sentence(&target, &set);
            self.reach.output.print(&sentence, &set)
        })
    }
}
