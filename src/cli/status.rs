//! `lastcall status`.

use std::time::Duration;

use clap::Args;

use super::client::Client;
use super::reach::{Output, Reach, block_on, json, write_out};
use super::{Failure, table};
use crate::admin::Route;
use crate::admin::schema;
use crate::model::Target;
use crate::model::report::BackendReport;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(1);

/// What `--help` says last.
const AFTER_HELP: &str = "\
Examples:
  lastcall status
  lastcall status --watch be/web
  lastcall status -o json be/web/10.0.0.7:8080
  lastcall status --context production --namespace shop be/web";

/// Arguments of `lastcall status`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Status {
    /// be/NAME or be/NAME/ADDRESS:PORT; everything where absent
    target: Option<String>,
    /// Look again every second, until interrupted
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Status {
    /// Prints what there is.
    pub fn run(self) -> Result<(), Failure> {
        block_on(async {
            let lastcall = self.reach.open().await?;
            let client = &lastcall.client;
            let target = self
                .target
                .as_deref()
                .map(|text| lastcall.target(text))
                .transpose()?;
            let first = self.look(client, target.as_ref()).await?;
            if !self.watch {
                return write_out(&first);
            }
            self.show(&first)?;
            loop {
                tokio::time::sleep(LOOK).await;
                match self.look(client, target.as_ref()).await {
                    Ok(text) => self.show(&text)?,
                    // lastcall restarts: whoever watches wants to see it come back.
                    Err(failure) if failure.is_passing() => eprintln!("lastcall: {failure}"),
                    Err(failure) => return Err(failure),
                }
            }
        })
    }

    async fn look(&self, client: &Client, target: Option<&Target>) -> Result<String, Failure> {
        match (target, self.reach.output) {
            (None, output) => {
                let status: schema::Status = client.get(Route::Status.path()).await?;
                match output {
                    Output::Table => Ok(table::status(&status)),
                    Output::Json => Ok(json(&status)? + "\n"),
                }
            }
            (Some(target), output) => {
                let backend = backend(client, target).await?;
                match output {
                    Output::Table => Ok(table::backends(&[backend])),
                    Output::Json => Ok(json(&backend)? + "\n"),
                }
            }
        }
    }

    /// On a terminal each look replaces the one before.
    fn show(&self, text: &str) -> Result<(), Failure> {
        use std::io::IsTerminal;
        if self.reach.output == Output::Table && std::io::stdout().is_terminal() {
            write_out(&format!("\x1b[H\x1b[2J{text}"))
        } else {
            write_out(text)
        }
    }
}

/// The Backend, with the endpoints that the target covers.
pub(super) async fn backend(client: &Client, target: &Target) -> Result<BackendReport, Failure> {
    let path = Route::Backend
        .path()
        .replace(
            "{namespace}",
            &super::client::in_query(&target.backend.namespace),
        )
        .replace("{name}", &super::client::in_query(&target.backend.name));
    let mut backend: BackendReport = client.get(&path).await?;
    if let Some(address) = target.address {
        let address = address.to_string();
        let known: Vec<_> = backend
            .endpoints
            .iter()
            .map(|one| one.address.clone())
            .collect();
        backend.endpoints.retain(|one| one.address == address);
        if backend.endpoints.is_empty() {
            return Err(Failure::Usage(format!(
                "{target} is no endpoint of its Backend; it has: {}",
                known.join(", ")
            )));
        }
    }
    Ok(backend)
}
