//! What lastcall writes back: the status of a LoadBalancer and of a Backend.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a LoadBalancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct LoadBalancerStatus {
    /// Addresses clients reach it at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<Address>,
    /// What became of each listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<ListenerStatus>,
    /// Accepted, Programmed, ResolvedRefs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// An address clients reach a LoadBalancer at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Address {
    /// IPAddress or Hostname.
    #[serde(rename = "type")]
    pub kind: AddressType,
    /// The address or the name.
    #[schemars(length(min = 1, max = 253))]
    pub value: String,
}

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AddressType {
    /// An IP address.
    #[serde(rename = "IPAddress")]
    IpAddress,
    /// A name.
    Hostname,
}

/// What became of a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct ListenerStatus {
    /// The listener's name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Accepted, Programmed, and with TLS ResolvedRefs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What became of a Backend, and the states of its endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct BackendStatus {
    /// All its endpoints.
    #[serde(default)]
    pub total: u32,
    /// Endpoints that take new work.
    #[serde(default)]
    pub in_service: u32,
    /// Endpoints that are leaving, with something in flight.
    #[serde(default)]
    pub draining: u32,
    /// Endpoints that are drained, disabled or unhealthy.
    #[serde(default)]
    pub out_of_service: u32,
    /// Endpoints whose pods have no hook: their requests are cut when their pod is stopped.
    #[serde(default)]
    pub unprotected: u32,
    /// Its endpoints, those not plainly in service first; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub endpoints: Vec<EndpointStatus>,
    /// Further endpoints that are not listed.
    #[serde(default)]
    pub endpoints_omitted: u32,
    /// Accepted, Ready, Drained, and advice (DrainTimeoutTooShort, GracePeriodTooShort).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The state of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct EndpointStatus {
    /// Address and port, such as 10.0.0.7:8080.
    #[schemars(length(min = 1, max = 64))]
    pub address: String,
    /// The pod's name; absent for a static endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod: Option<String>,
    /// Whether it serves.
    pub state: EndpointState,
    /// Why, in the words of Classic ELB.
    #[schemars(length(max = 256))]
    pub description: String,
    /// Why it is not plainly in service, one CamelCase word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// Requests in flight when this was written.
    #[serde(default)]
    pub in_flight: u64,
    /// When it came into this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When what is in flight will be cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
}

/// InService takes new work or finishes what it has; OutOfService does neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum EndpointState {
    /// Takes new work, or still has some in flight while it leaves.
    InService,
    /// Drained, disabled or unhealthy.
    OutOfService,
}
