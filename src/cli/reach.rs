//! The options that all clients of a running lastcall share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Failure;
use super::client::Client;
use crate::model::Target;

/// Where lastcall is and how to print.
#[derive(Debug, Args)]
pub struct Reach {
    /// Namespace of the target
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub namespace: String,
    /// lastcall's admin socket
    #[arg(long, value_name = "PATH", env = "LASTCALL_ADMIN_SOCKET",
        default_value_os_t = lastcall_hold::default_admin_socket())]
    pub admin_socket: PathBuf,
    /// How to print the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs: one JSON document
    Json,
}

impl Reach {
    /// A client of that socket.
    pub(super) fn client(&self) -> Client {
        Client::new(self.admin_socket.clone())
    }

    /// The target, which must be one before lastcall is asked.
    pub(super) fn target(&self, text: &str) -> Result<Target, Failure> {
        Target::parse(text, &self.namespace).map_err(|error| Failure::Usage(error.to_string()))
    }

    /// Prints the result: `table` for people, `value` for programs.
    pub(super) fn print(&self, table: &str, value: &impl Serialize) -> Result<(), Failure> {
        match self.output {
            Output::Table => write_out(table),
            Output::Json => write_out(&format!("{}\n", json(value)?)),
        }
    }
}

/// Pretty JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Other(error.into()))
}

/// Writes to stdout. A reader that has gone (`lastcall status | head`) is an end, not a failure.
pub(super) fn write_out(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(error.into()))
        }
        _ => Ok(()),
    }
}

/// Runs a client command on a runtime of its own.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(error.into()))?
        .block_on(command)
}
