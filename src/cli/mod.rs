//! The command line: one file a subcommand. What each does and its exit codes: docs/cli.md.
//!
//! `standalone` runs lastcall; the others are clients of a running one, by its admin API.

mod change;
mod client;
mod cluster;
pub mod crds;
pub mod demo;
mod dial;
mod disable;
#[cfg(test)]
mod document_tests;
mod drain;
mod enable;
mod failure;
mod place;
mod reach;
pub mod rollout;
pub mod run;
#[cfg(test)]
mod socket_tests;
pub mod standalone;
mod status;
mod table;
mod until;
mod wait;

use clap::{Parser, Subcommand};

pub use failure::Failure;

/// What `lastcall --help` says after the commands.
const AFTER_HELP: &str = "\
Targets: be/NAME is a Backend, be/NAME/ADDRESS:PORT one of its endpoints (be/web/10.0.0.7:8080).

Exit codes:
  0  done
  1  failed, or lastcall refused (the configuration itself says otherwise, a bad configuration)
  2  the command line is wrong, or there is no such target
  3  not reached in time, or reached only because requests were cut
  4  lastcall could not be asked: not running, another socket, no permission

Examples:
  lastcall standalone --config /etc/lastcall
  lastcall status
  lastcall drain --wait be/web/10.0.0.7:8080 && systemctl restart web
  lastcall enable be/web/10.0.0.7:8080
  lastcall rollout --dry-run --all-namespaces
  lastcall rollout deployment/web --namespace shop";

/// A load balancer that knows when a server is drained.
#[derive(Debug, Parser)]
#[command(name = "lastcall", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands. A new one is a variant here and a line in [`Command::run`].
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve load balancers from a folder of YAML files
    Standalone(standalone::Standalone),
    /// Serve the load balancers of a Kubernetes cluster, and hold its pods until they are drained
    // Boxed: it has by far the most arguments.
    Run(Box<run::Run>),
    /// Show load balancers, Backends and their endpoints
    Status(status::Status),
    /// Give a target no new work and let finish what it has
    Drain(drain::Drain),
    /// Give a target new work again
    Enable(enable::Enable),
    /// Give a target no work and cut what it has
    Disable(disable::Disable),
    /// Wait until a target is drained or in service
    Wait(wait::Wait),
    /// Move the pods that nothing holds yet, one by one and without a lost request
    Rollout(rollout::Rollout),
    /// Print the CustomResourceDefinitions, for `kubectl apply -f -`
    Crds(crds::Crds),
    /// Show what draining is for: real servers under load, with and without it
    Demo(demo::Demo),
    /// One of the demo's servers
    #[command(hide = true)]
    DemoBackend(demo::backend::DemoBackend),
    /// The stop hook of one of the demo's servers
    #[command(hide = true)]
    DemoHook(demo::hook::DemoHook),
}

impl Command {
    /// Runs it to its end.
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::Standalone(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Drain(command) => command.run(),
            Command::Enable(command) => command.run(),
            Command::Disable(command) => command.run(),
            Command::Wait(command) => command.run(),
            Command::Rollout(command) => command.run(),
            Command::Crds(command) => command.run(&mut std::io::stdout()).map_err(Failure::Other),
            Command::Demo(command) => command.run(),
            Command::DemoBackend(command) => command.run(),
            Command::DemoHook(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_page_of_the_cli_names_every_command_and_option() {
        let page = include_str!("../../docs/cli.md");
        let mut cli = Cli::command();
        cli.build();
        for command in cli
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
        {
            let name = command.get_name();
            assert!(page.contains(&format!("lastcall {name}")), "{name}");
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{option}")), "{name} --{option}");
            }
        }
    }
}
