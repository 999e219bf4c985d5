//! `lastcall drain`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::reach::{Lastcall, Reach, block_on};
use super::until::{Until, Waited};
use super::{Failure, change};
use crate::admin::schema::{AdminStateSet, Goal};
use crate::model::{AdminState, Target};

/// The longest drain timeout that can be configured.
const LONGEST_DRAIN: Duration = Duration::from_hours(1);
/// How much longer than the drain may last we wait for the word that it is over.
const MARGIN: Duration = Duration::from_secs(10);

/// What `--help` says last.
const AFTER_HELP: &str = "\
The drain ends when the last request in flight has finished, or when its timeout has come: then what
is left is cut, and --wait ends with exit code 3. The target stays drained until lastcall enable;
without a cluster, or until lastcall restarts.

In a cluster the state is written where it lasts, with your own rights: spec.adminState of the
Backend, or the annotation lastcall.dev/admin-state of the endpoint's pod (for all its Backends).
There the drain timeout is the Backend's; --timeout is refused.

Examples:
  lastcall drain be/web/10.0.0.7:8080
  lastcall drain --wait --timeout 60s be/web/10.0.0.7:8080
  lastcall drain --wait --then disable be/web/10.0.0.7:8080";

/// Arguments of `lastcall drain`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Drain {
    /// be/NAME or be/NAME/ADDRESS:PORT
    target: String,
    /// Wait until nothing is in flight
    #[arg(long)]
    wait: bool,
    /// What to do when it is drained
    #[arg(long, value_name = "WHAT", requires = "wait")]
    then: Option<Then>,
    /// After this what is in flight is cut: 30s, 2m, or seconds, from 1s to 1h [default: the
    /// Backend's drain timeout]; not in a cluster
    #[arg(long, value_name = "DURATION", value_parser = drain_timeout)]
    timeout: Option<Duration>,
    #[command(flatten)]
    reach: Reach,
}

/// What to do when it is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Then {
    /// Set Disabled: nothing is let through, whatever the configuration says later
    Disable,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Drained {
    #[serde(flatten)]
    set: AdminStateSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited: Option<Waited>,
}

impl Drain {
    /// Sets `Draining`, waits where asked to, prints how it ended.
    pub fn run(self) -> Result<(), Failure> {
        block_on(async {
            let lastcall = self.reach.open().await?;
            let target = lastcall.target(&self.target)?;
            self.drain(&lastcall, &target).await
        })
    }

    async fn drain(&self, lastcall: &Lastcall, target: &Target) -> Result<(), Failure> {
        let mut set = change::set(lastcall, target, AdminState::Draining, self.timeout).await?;
        let mut text = change::sentence(target, &set);
        let waited = if self.wait {
            Some(self.wait_until_drained(lastcall, target).await?)
        } else {
            None
        };
        if let Some(waited) = &waited {
            text = waited.sentence();
        }
        // A drain that is not over must not be turned into a cut.
        if self.then == Some(Then::Disable) && waited.as_ref().is_some_and(|waited| waited.reached)
        {
            set = change::set(lastcall, target, AdminState::Disabled, None).await?;
            text.push_str(&change::sentence(target, &set));
        }
        let drained = Drained { set, waited };
        self.reach.output.print(&text, &drained)?;
        drained.waited.map_or(Ok(()), |waited| waited.verdict())
    }

    async fn wait_until_drained(
        &self,
        lastcall: &Lastcall,
        target: &Target,
    ) -> Result<Waited, Failure> {
        let until = Until {
            client: &lastcall.client,
            target,
            goal: Goal::Drained,
            limit: self.timeout.unwrap_or(LONGEST_DRAIN) + MARGIN,
            answered: true,
        };
        // A lastcall that was restarted has forgotten the drain: asked again, with the rest of its time. A
        // cluster has not.
        until
            .wait(async |left: Duration| {
                if lastcall.cluster.is_some() {
                    return Ok(());
                }
                let rest = left.saturating_sub(MARGIN).max(Duration::from_secs(1));
                let timeout = self.timeout.map(|_| rest);
                change::set(lastcall, target, AdminState::Draining, timeout).await?;
                Ok(())
            })
            .await
    }
}

fn drain_timeout(text: &str) -> Result<Duration, String> {
    let timeout = lastcall_hold::parse_duration(text).map_err(|error| error.to_string())?;
    if timeout < Duration::from_secs(1) || timeout > LONGEST_DRAIN || timeout.subsec_nanos() != 0 {
        return Err("a drain timeout is a whole number of seconds from 1s to 1h".to_owned());
    }
    Ok(timeout)
}
