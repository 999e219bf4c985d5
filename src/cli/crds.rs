//! `lastcall crds`: prints the CustomResourceDefinitions, for `kubectl apply -f -`.

use std::io::Write;

use anyhow::Context;

use crate::api;

/// Print the CustomResourceDefinitions of LoadBalancer and Backend as YAML, both in one stream:
/// `lastcall crds | kubectl apply -f -`
#[derive(Clone, Debug, clap::Args)]
pub struct Crds {}

impl Crds {
    /// Prints both, each as a document of its own.
    // A method, as every subcommand's.
    #[allow(clippy::unused_self)]
    pub fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        for (_, yaml) in api::crds_yaml() {
            write!(out, "---\n{yaml}").context("cannot print the CustomResourceDefinitions")?;
        }
        Ok(())
    }
}
