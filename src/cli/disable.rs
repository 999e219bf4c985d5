//! `lastcall disable`.

use clap::Args;

use super::reach::{Reach, block_on};
use super::{Failure, change};
use crate::model::AdminState;

/// What `--help` says last.
const AFTER_HELP: &str = "\
Requests in flight are cut at once, and counted. To let them finish first:
  lastcall drain --wait --then disable be/web/10.0.0.7:8080";

/// Arguments of `lastcall disable`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Disable {
    /// be/NAME or be/NAME/ADDRESS:PORT
    target: String,
    #[command(flatten)]
    reach: Reach,
}

impl Disable {
    /// Sets `Disabled`.
    pub fn run(self) -> Result<(), Failure> {
        block_on(async {
            let lastcall = self.reach.open().await?;
            let target = lastcall.target(&self.target)?;
            let set = change::set(&lastcall, &target, AdminState::Disabled, None).await?;
            let sentence = change::sentence(&target, &set);
            self.reach.output.print(&sentence, &set)
        })
    }
}
