//! How endpoints leave: `connectionDraining`, with defaults on a LoadBalancer, and as overrides
//! without defaults on a Backend (a default there would always win, PITFALLS 38).

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How endpoints of this LoadBalancer's Backends leave. A Backend may override each field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline, extend("x-kubernetes-validations" = [
    Rule::new("self.minSeconds <= self.timeoutSeconds")
        .message("minSeconds must not be more than timeoutSeconds").field_path(".minSeconds")]))]
pub struct ConnectionDraining {
    /// Whether what is in flight on a leaving endpoint may finish. If false it is cut at once.
    pub enabled: bool,
    /// How long requests in flight may take to finish, in seconds; then they are cut.
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: u32,
    /// In place of timeoutSeconds where a container is restarted and not removed, in seconds. Short,
    /// because a container killed by its liveness probe is probably hung.
    #[schemars(range(min = 1, max = 3600))]
    pub restart_timeout_seconds: u32,
    /// A drain lasts at least this long, in seconds, for routers that do not ask lastcall, kube-proxy
    /// among them.
    #[schemars(range(min = 0, max = 3600))]
    pub min_seconds: u32,
    /// What happens to the last endpoint that could serve a Backend.
    pub last_endpoint: LastEndpoint,
}

impl Default for ConnectionDraining {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout_seconds: 300,
            restart_timeout_seconds: 10,
            min_seconds: 0,
            last_endpoint: LastEndpoint::KeepServing,
        }
    }
}

/// How endpoints of this Backend leave: each field overrides the LoadBalancer's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.minSeconds) || !has(self.timeoutSeconds) || self.minSeconds <= self.timeoutSeconds")
    .message("minSeconds must not be more than timeoutSeconds").field_path(".minSeconds"))]
pub struct ConnectionDrainingOverride {
    /// Whether what is in flight on a leaving endpoint may finish. If false it is cut at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How long requests in flight may take to finish, in seconds; then they are cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<u32>,
    /// In place of timeoutSeconds where a container is restarted and not removed, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub restart_timeout_seconds: Option<u32>,
    /// A drain lasts at least this long, in seconds, for routers that do not ask lastcall.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_seconds: Option<u32>,
    /// What happens to the last endpoint that could serve this Backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_endpoint: Option<LastEndpoint>,
}

/// KeepServing: it takes new work until a replacement is available or half of the hold's time is
/// gone. Drain: it drains at once, and requests get 503 until a replacement is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LastEndpoint {
    /// It takes new work until a replacement is available or half of the hold's time is gone.
    #[default]
    KeepServing,
    /// It drains at once.
    Drain,
}
