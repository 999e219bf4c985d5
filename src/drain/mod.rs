//! Draining: one coordinator owns every gate (Law 9), closes and opens them, keeps the deadlines, and
//! answers holds. What is decided is in `model::drain` and `model::release`; here are the channel, the
//! clock and the wake-ups.
//!
//! Everyone else speaks to it through [`Handle`]: the source of the configuration, the admin API, the
//! hook server.

mod coordinator;
mod endpoint;
mod endpoints;
mod hold;
mod holds;
pub mod hook;
pub(crate) mod lines;
pub(crate) mod ndjson;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::model::grace::Allowance;
use crate::model::report::BackendReport;
use crate::model::{AdminState, EndpointId, Snapshot, Target};

pub use coordinator::{Coordinator, DataPlane, Leaving, LiveLookup, Published};

/// Hears every [`Entry`]; called on the coordinator's task, so it must not block.
pub type Journal = Arc<dyn Fn(&Entry) + Send + Sync>;

/// What an operator wants to know of draining, as it happens: the log, metrics and Events are made of
/// these (Law 8).
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A gate was closed.
    DrainStarted {
        /// Whose.
        id: EndpointId,
        /// Why, one CamelCase word.
        reason: &'static str,
        /// Requests in flight then.
        in_flight: u64,
    },
    /// Nothing is in flight any more.
    DrainCompleted {
        /// On which endpoint.
        id: EndpointId,
        /// From the closing of the gate to the last byte.
        took: Duration,
        /// Requests that were cut in this drain.
        cut: u64,
    },
    /// The deadline came first: what was in flight is being cut.
    DrainTimedOut {
        /// On which endpoint.
        id: EndpointId,
        /// Requests in flight then.
        in_flight: u64,
    },
    /// A gate was opened again.
    BackInService {
        /// Whose.
        id: EndpointId,
    },
    /// A server asked to be let go.
    HoldStarted {
        /// Who asked.
        key: HoldKey,
        /// What it waits for.
        endpoints: Vec<EndpointId>,
        /// Requests in flight there.
        in_flight: u64,
    },
    /// It was let go.
    Released {
        /// Who asked.
        key: HoldKey,
        /// How it ended.
        released: Released,
    },
    /// A container that was let go, or whose hook vanished, runs anew and is ready (Law 6).
    CameBack {
        /// Whose hold it was.
        key: HoldKey,
    },
    /// It had come to its end with nobody there to hear it, and its caller asks again: that is a hold of its
    /// own.
    HoldUnheard {
        /// Who asked.
        key: HoldKey,
    },
    /// Its caller vanished, and its server is not leaving (Law 6).
    HoldWithdrawn {
        /// Who asked.
        key: HoldKey,
    },
}

/// Speaks to the coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::UnboundedSender<coordinator::Command>,
    changes: watch::Receiver<u64>,
}

/// Who holds: a pod's UID and one of its containers, or in standalone any name that a server keeps over
/// repeated calls. The same key asked twice is one hold (hooks are at-least-once, PITFALLS 5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldKey {
    /// The pod's UID, or the target's text.
    pub id: String,
    /// The container; empty in standalone.
    pub container: String,
}

/// One call of a preStop hook.
#[derive(Clone, Debug)]
pub struct HoldRequest {
    /// Who asks.
    pub key: HoldKey,
    /// The endpoints to wait for.
    pub scope: HoldScope,
    /// What the caller can wait at most; the Backend's drain timeout where absent or longer.
    pub grace: Option<Duration>,
    /// The server comes back: `restartTimeoutSeconds` in place of `timeoutSeconds`.
    pub restart: bool,
    /// The caller proved nothing and its pod is not being deleted: the last endpoint that could serve a
    /// Backend is not drained for it.
    pub spare_last: bool,
}

/// What a hold waits for.
#[derive(Clone, Debug)]
pub enum HoldScope {
    /// What a person named; each must be there.
    Targets(Vec<Target>),
    /// Every endpoint of the pod with this UID, in whichever Backends. One that this process hears of only
    /// later begins closed, so a pod of which nothing is known can be let go at once (Law 2).
    Pod(Arc<str>),
}

/// What a holder hears.
#[derive(Clone, Debug, PartialEq)]
pub enum HoldUpdate {
    /// Sent at once, and again when the deadline or the number changes; the last one is `Released`.
    Holding {
        /// Time left until the deadline.
        remaining: Duration,
        /// Requests in flight on the endpoints waited for.
        in_flight: u64,
        /// The endpoints waited for.
        endpoints: Vec<EndpointId>,
    },
    /// The hold is over: SIGTERM may come.
    Released(Released),
}

/// How a hold ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Released {
    /// Why.
    pub cause: ReleaseCause,
    /// From the first call to the release.
    pub held: Duration,
    /// From the moment the last request left to the release; zero where nothing was in flight.
    pub since_last_byte: Duration,
    /// Requests that were cut by this drain.
    pub cut: u64,
}

/// Why a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseCause {
    /// Every member confirmed: closed, and nothing in flight.
    Drained,
    /// The deadline came; what was in flight was cut.
    Deadline,
    /// `enabled: false` or `Disabled`: what was in flight was cut at once.
    Cut,
}

/// Why a hold or a change of admin state was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No Backend of that name.
    #[error("no Backend {namespace}/{name}; there are: {}", list(.known))]
    NoBackend {
        /// Where it was looked for.
        namespace: String,
        /// What was asked for.
        name: String,
        /// The Backends there are.
        known: Vec<String>,
    },
    /// The Backend has no such endpoint.
    #[error("{target} is no endpoint of its Backend; it has: {}", list(.known))]
    NoEndpoint {
        /// What was asked for.
        target: String,
        /// The endpoints it has.
        known: Vec<String>,
    },
    /// The file itself says Draining or Disabled; the admin API cannot overrule it.
    #[error("{target} is {state:?} by its configuration: change adminState there")]
    ConfiguredOtherwise {
        /// What was asked for.
        target: String,
        /// What the configuration says.
        state: AdminState,
    },
    /// The coordinator has ended: the process is going down.
    #[error("lastcall is shutting down")]
    ShuttingDown,
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

impl Handle {
    /// Takes a new configuration in. Returns when every worker runs it.
    pub async fn configure(&self, snapshot: Arc<Snapshot>) -> Result<(), TargetError> {
        self.ask(|reply| coordinator::Command::Configure { snapshot, reply })
            .await
    }

    /// Begins or joins a hold. The receiver gets updates until `Released`; dropping it is what a caller
    /// that vanished looks like (Law 6), never a reason to let others go.
    pub async fn hold(
        &self,
        request: HoldRequest,
    ) -> Result<mpsc::UnboundedReceiver<HoldUpdate>, TargetError> {
        self.ask(|reply| coordinator::Command::Hold { request, reply })
            .await?
    }

    /// Sets the admin state of all endpoints the target covers until it is set again or the process ends.
    /// `timeout` replaces the Backend's drain timeout for this drain. Returns the endpoints covered.
    pub async fn set_admin_state(
        &self,
        target: Target,
        state: AdminState,
        timeout: Option<Duration>,
    ) -> Result<Vec<EndpointId>, TargetError> {
        self.ask(|reply| coordinator::Command::SetAdminState {
            target,
            state,
            timeout,
            reply,
        })
        .await?
    }

    /// The container of that hold was restarted and is ready again: where nothing else holds its pod, the
    /// pod serves on (Law 6).
    pub fn came_back(&self, key: HoldKey) {
        // Fails only where the process is going down.
        let _ = self.commands.send(coordinator::Command::CameBack { key });
    }

    /// The pod's object is gone: what was kept of its holds is of no use any more (PITFALLS 7).
    pub fn pod_gone(&self, uid: Arc<str>) {
        let _ = self.commands.send(coordinator::Command::PodGone { uid });
    }

    /// The caller of that hold can wait less than was known: its pod's grace was shortened, or there is
    /// evidence now of why it is stopped. Counts from the hold's beginning; never makes it longer.
    pub fn shorten(&self, key: HoldKey, allowance: Allowance) {
        let _ = self
            .commands
            .send(coordinator::Command::Shorten { key, allowance });
    }

    /// Every Backend as it is now, sorted by name.
    pub async fn report(&self) -> Result<Vec<BackendReport>, TargetError> {
        self.ask(|reply| coordinator::Command::Report { reply })
            .await
    }

    /// Changes its value whenever an endpoint's state changes (not for in-flight numbers alone).
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> coordinator::Command,
    ) -> Result<T, TargetError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .map_err(|_| TargetError::ShuttingDown)?;
        answer.await.map_err(|_| TargetError::ShuttingDown)
    }
}
