//! What an endpoint reports: Classic ELB's states and descriptions, which people and scripts know.

use serde::{Deserialize, Serialize};

use super::snapshot::AdminState;

/// Takes new work or finishes what it has (`InService`), or neither (`OutOfService`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceState {
    /// Takes new work, or still has some in flight while it leaves.
    InService,
    /// Drained, released, disabled, gone or unhealthy.
    OutOfService,
}

/// `InService` and taking new work.
pub const IN_SERVICE: &str = "N/A";
/// Draining, and something is in flight, or the minimum time is not over.
pub const DEREGISTERING: &str = "Instance deregistration currently in progress";
/// Drained, released, disabled or gone.
pub const DEREGISTERED: &str = "Instance is not currently registered with the LoadBalancer";

/// One endpoint, as status, CLI and metrics show it. Times are relative, in milliseconds, so that no
/// reader needs our clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointReport {
    /// Address and port requests go to.
    pub address: String,
    /// The pod's UID; absent for a static endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod_uid: Option<String>,
    /// `InService` or `OutOfService`.
    pub state: ServiceState,
    /// Classic ELB's words for why.
    pub description: String,
    /// Why it is not plainly in service, one CamelCase word (`AdminStateDraining`, `AdminStateDisabled`,
    /// `Held`, `Removed`); absent where it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What the operator wants of it: its own and its Backend's state and what was set at run time, narrowest first.
    pub admin_state: AdminState,
    /// Share of the Backend's requests.
    pub weight: u32,
    /// Requests in flight in this process.
    pub in_flight: u64,
    /// Requests it was picked for since the process started.
    pub requests_total: u64,
    /// Requests of it that were ended by force since the process started.
    pub cut_total: u64,
    /// How long it has been in this state, ms.
    pub since_millis: u64,
    /// Time left until what is in flight is cut, ms; absent where nothing will be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_millis: Option<u64>,
    /// How long its last finished drain took, from its begin to its last byte, ms.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drain_millis: Option<u64>,
    /// preStop calls that wait for it.
    pub holds: u64,
}

/// One Backend and its endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Endpoints that are configured or still have something in flight.
    pub total: u64,
    /// Those that take new work.
    pub in_service: u64,
    /// Those that are leaving, with something in flight.
    pub draining: u64,
    /// The rest.
    pub out_of_service: u64,
    /// Each of them.
    pub endpoints: Vec<EndpointReport>,
}
