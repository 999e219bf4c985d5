//! The admin API's requests and answers, shared by the server, the CLI and the console. Described in
//! docs/admin-api.md; a test reads that page's examples into these types.

use serde::{Deserialize, Serialize};

use crate::model::AdminState;
use crate::model::report::{
    BackendReport, ConfigurationFault, ConfigurationReport, EndpointReport, LoadBalancerReport,
};

pub use lastcall_hold::wire::{Cause, HoldAsk, HoldLine, Problem, default_namespace};

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// lastcall's version.
    pub version: String,
    /// How long the process runs, seconds.
    pub uptime_seconds: u64,
    /// True where requests are served and nothing is missing.
    pub ready: bool,
    /// What is missing where it is not ready.
    pub missing: Vec<String>,
    /// True from the moment lastcall has been told to stop.
    pub shutting_down: bool,
    /// Which configuration runs.
    pub configuration: ConfigurationReport,
    /// Load balancers, sorted by name.
    pub load_balancers: Vec<LoadBalancerReport>,
    /// Backends, sorted by name.
    pub backends: Vec<BackendReport>,
}

/// Body of `POST /v1/admin-state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetAdminState {
    /// `be/NAME` or `be/NAME/ADDRESS:PORT`.
    pub target: String,
    /// The target's namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// What is wanted of it.
    pub state: AdminState,
    /// In place of the Backend's drain timeout, for this drain, 1–3600 seconds; only with `Draining`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout_seconds: Option<u64>,
}

/// Answer of `POST /v1/admin-state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminStateSet {
    /// The state that was set.
    pub state: AdminState,
    /// The endpoints it was set for.
    pub endpoints: Vec<EndpointName>,
}

/// Which endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointName {
    /// Its Backend's namespace.
    pub namespace: String,
    /// Its Backend's name.
    pub backend: String,
    /// `ADDRESS:PORT`, or `UID:PORT` of a pod.
    pub endpoint: String,
}

/// What `GET /v1/wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Every endpoint of the target takes no new work and has nothing in flight.
    Drained,
    /// Every endpoint of the target takes new work.
    InService,
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Goal::Drained => "drained",
            Goal::InService => "in-service",
        })
    }
}

/// Query of `GET /v1/wait`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitQuery {
    /// `be/NAME` or `be/NAME/ADDRESS:PORT`.
    pub target: String,
    /// The target's namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// What to wait for.
    #[serde(rename = "for")]
    pub goal: Goal,
    /// After this the answer ends with `timedOut`, seconds (fractions allowed); without limit where
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout_seconds: Option<f64>,
}

/// One line of the answer of `GET /v1/wait`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum WaitLine {
    /// First, and again when a state or the number in flight changes.
    Waiting {
        /// Requests in flight on the endpoints waited for.
        in_flight: u64,
        /// Those endpoints.
        endpoints: Vec<EndpointReport>,
    },
    /// Sent every few seconds: a reader that hears nothing for three of them has lost the connection.
    Heartbeat {
        /// How long this call has waited, ms.
        waited_millis: u64,
    },
    /// The last line: it is so.
    Reached {
        /// How long this call has waited, ms.
        waited_millis: u64,
        /// Requests that were cut meanwhile on the endpoints waited for.
        cut: u64,
    },
    /// The last line: it is not so, and the time is over.
    TimedOut {
        /// How long this call has waited, ms.
        waited_millis: u64,
        /// Requests in flight on the endpoints waited for.
        in_flight: u64,
        /// Requests that were cut meanwhile on the endpoints waited for.
        cut: u64,
    },
}

/// Answer of `POST /v1/reload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// The configuration that runs now.
    pub configuration: ConfigurationReport,
}

/// Refusal of `POST /v1/reload`: a problem with all that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReloadProblem {
    /// What kind of refusal, and its status.
    #[serde(flatten)]
    pub problem: Problem,
    /// Each thing that is wrong.
    pub faults: Vec<ConfigurationFault>,
}

/// Answer of `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// True where nothing is missing.
    pub ready: bool,
    /// What is missing.
    pub missing: Vec<String>,
}
