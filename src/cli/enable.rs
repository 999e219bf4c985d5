//! `lastcall enable`.

use clap::Args;

use super::reach::{Reach, block_on};
use super::{Failure, change};
use crate::model::AdminState;

/// What `--help` says last.
const AFTER_HELP: &str = "\
Takes back what drain or disable set. What the configuration itself says (adminState in the file)
stays: change it there.

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
        let target = self.reach.target(&self.target)?;
        let client = self.reach.client();
        let set = block_on(change::set(&client, &target, AdminState::Enabled, None))?;
        self.reach.print(&change::sentence(&target, &set), &set)
    }
}
