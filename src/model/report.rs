//! What an endpoint reports: Classic ELB's states and descriptions, which people and scripts know.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backend::AdminState;
use super::snapshot::{HostPattern, LoadBalancer, Protocol};

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

/// Unhealthy: no new work; what is in flight is completed, whatever the drain timeout is.
pub const UNHEALTHY: &str =
    "Instance has failed at least the UnhealthyThreshold number of health checks consecutively";

/// Whole milliseconds, as reports, lines and logs tell them.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One endpoint, as status, CLI and metrics show it. Times are relative, in milliseconds, so that no
/// reader needs our clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointReport {
    /// Address and port requests go to.
    pub address: String,
    /// The pod's name; absent for a static endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<String>,
    /// The pod's UID; absent for a static endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod_uid: Option<String>,
    /// `InService` or `OutOfService`.
    pub state: ServiceState,
    /// Classic ELB's words for why.
    pub description: String,
    /// Why it is not plainly in service, one CamelCase word (`AdminStateDraining`, `AdminStateDisabled`,
    /// `Held`, `PodStopping`, `Removed`, `NotReady`); absent where it is.
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

/// One for tests: since a second, of weight 1, 10 requests so far.
#[cfg(test)]
pub(crate) fn sample_endpoint(
    address: &str,
    state: ServiceState,
    description: &str,
    in_flight: u64,
) -> EndpointReport {
    EndpointReport {
        address: address.to_owned(),
        pod: None,
        pod_uid: None,
        state,
        description: description.to_owned(),
        reason: None,
        admin_state: AdminState::Enabled,
        weight: 1,
        in_flight,
        requests_total: 10,
        cut_total: 0,
        since_millis: 1000,
        deadline_millis: None,
        drain_millis: None,
        holds: 0,
    }
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

/// One LoadBalancer and where it listens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its listeners.
    pub listeners: Vec<ListenerReport>,
}

/// One port that a LoadBalancer listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerReport {
    /// Its name, unique in the LoadBalancer.
    pub name: String,
    /// The port.
    pub port: u16,
    /// What is spoken there: `HTTP`, `HTTPS`, `TCP` or `TLS`.
    pub protocol: String,
    /// Only requests for this host are served; all where absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hostname: Option<String>,
}

impl From<&LoadBalancer> for LoadBalancerReport {
    fn from(load_balancer: &LoadBalancer) -> Self {
        let listeners = load_balancer
            .listeners
            .iter()
            .map(|listener| ListenerReport {
                name: listener.name.to_string(),
                port: listener.port,
                protocol: match listener.protocol {
                    Protocol::Http => "HTTP".to_owned(),
                    Protocol::Https => "HTTPS".to_owned(),
                    Protocol::Tcp => "TCP".to_owned(),
                    Protocol::Tls | Protocol::TlsPassthrough => "TLS".to_owned(),
                },
                hostname: listener.hostname.as_ref().map(|host| match host {
                    HostPattern::Exact(name) => name.to_string(),
                    HostPattern::Suffix(suffix) => format!("*{suffix}"),
                }),
            });
        Self {
            namespace: load_balancer.name.namespace.to_string(),
            name: load_balancer.name.name.to_string(),
            listeners: listeners.collect(),
        }
    }
}

/// Which configuration runs, and what became of the last attempt to change it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationReport {
    /// Grows by one with each configuration that was taken into service; 0 while there is none.
    pub revision: u64,
    /// When the running configuration was taken into service, seconds since 1970 by this machine's clock.
    pub loaded_at_seconds: f64,
    /// Configurations taken into service since the process started.
    pub accepted_total: u64,
    /// Configurations refused since the process started.
    pub refused_total: u64,
    /// Why the last one was refused; empty where the last one runs. The one before goes on (Law 4).
    pub faults: Vec<ConfigurationFault>,
    /// What runs and does not resolve: a missing Backend, a port that cannot be bound. Only its own
    /// listener or route is out of service (Law 4).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub unresolved: Vec<ConfigurationFault>,
}

/// One thing that is wrong with a configuration that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationFault {
    /// The file, or the object where there is no file.
    pub source: String,
    /// The line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// The field, such as `spec.listeners[0].port`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl std::fmt::Display for ConfigurationFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}
