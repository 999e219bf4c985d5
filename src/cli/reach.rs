//! The options that all clients of a running lastcall share, and what they lead to.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Failure;
use super::client::Client;
use super::cluster::Cluster;
use super::dial::Socket;
use super::place::{ClusterOptions, Place, Surroundings, choose};
use crate::model::Target;

/// What `--help` says of `--admin-socket`.
const ADMIN_SOCKET: &str = "Ask lastcall on this machine: its admin socket [env: LASTCALL_ADMIN_SOCKET] [default: $XDG_RUNTIME_DIR/lastcall/admin.sock; for root /run/lastcall/admin.sock]";

/// Where lastcall is and how to print.
#[derive(Debug, Args)]
pub struct Reach {
    /// Namespace of the target [default: that of the kubeconfig's context; without a cluster: default]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// lastcall's admin socket, on this machine.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["kubeconfig", "context", "lastcall_namespace"],
        help = ADMIN_SOCKET)]
    pub admin_socket: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterOptions,
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

impl Output {
    /// Prints the result: `table` for people, `value` for programs.
    pub(super) fn print(self, table: &str, value: &impl Serialize) -> Result<(), Failure> {
        match self {
            Output::Table => write_out(table),
            Output::Json => write_out(&format!("{}\n", json(value)?)),
        }
    }
}

/// A running lastcall: here, or in a cluster.
pub(super) struct Lastcall {
    pub(super) client: Client,
    /// The namespace of targets.
    namespace: String,
    /// Where it runs in one: what is to last is written there.
    pub(super) cluster: Option<Cluster>,
}

impl Lastcall {
    /// The one in that cluster; targets are in `namespace`, or in that of the kubeconfig's context.
    pub(super) fn in_cluster(cluster: Cluster, namespace: Option<String>) -> Self {
        Self {
            client: Client::new(cluster.way()),
            namespace: namespace.unwrap_or_else(|| cluster.namespace().to_owned()),
            cluster: Some(cluster),
        }
    }

    /// The target, which must be one before lastcall is asked.
    pub(super) fn target(&self, text: &str) -> Result<Target, Failure> {
        Target::parse(text, &self.namespace).map_err(|error| Failure::Usage(error.to_string()))
    }
}

impl Reach {
    /// The way to lastcall. Nobody is asked yet.
    pub(super) async fn open(&self) -> Result<Lastcall, Failure> {
        let socket = self.admin_socket.as_deref();
        let given = self.namespace.clone();
        match choose(socket, &self.cluster, &Surroundings::look()) {
            Place::Socket { path, because } => Ok(Lastcall {
                client: Client::new(Arc::new(Socket { path, because })),
                namespace: given.unwrap_or_else(crate::admin::schema::default_namespace),
                cluster: None,
            }),
            Place::Cluster { because } => {
                let cluster = Cluster::open(&self.cluster, because).await?;
                Ok(Lastcall::in_cluster(cluster, given))
            }
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
