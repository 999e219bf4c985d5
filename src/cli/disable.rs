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
        let target = self.reach.target(&self.target)?;
        let client = self.reach.client();
        let set = block_on(change::set(&client, &target, AdminState::Disabled, None))?;
        self.reach.print(&change::sentence(&target, &set), &set)
    }
}
