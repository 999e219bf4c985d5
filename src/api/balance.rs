//! How an endpoint of a Backend is chosen: `balance`.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::route_match::FIELD_NAME;

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline, extend("x-kubernetes-validations" = [
    Rule::new("(self.policy == 'Hash') == has(self.hash)")
        .message("hash goes with policy Hash, which needs it: write hash: {header: NAME}, {cookie: NAME} or {source: true}")
        .field_path(".hash"),
    Rule::new("self.policy != 'Hash' || !has(self.slowStartSeconds)")
        .message("slowStartSeconds does not go with policy Hash: a key has its endpoint from the first request on")
        .field_path(".slowStartSeconds")]))]
pub struct Balance {
    /// The rule an endpoint is chosen by.
    pub policy: BalancePolicy,
    /// What of a request its endpoint is chosen by, with policy Hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// An endpoint that is new in a Backend that serves already, or ready again, gets a tenth of its share of
    /// the requests at first and all of it after so many seconds, growing evenly. Absent: all of it at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub slow_start_seconds: Option<u32>,
}

/// RoundRobin takes each in turn, by weight. LeastRequest takes the less busy of two at random. Random takes any
/// at random, by weight. Hash takes the same one for the same key, by weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum BalancePolicy {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// The less busy of two at random, by requests in flight over weight.
    LeastRequest,
    /// Any at random, by weight.
    Random,
    /// The same one for the same key, by weight.
    Hash,
}

/// The key of a request: exactly one field. All replicas send a key to the same endpoint. One that takes no new
/// work is passed over, and the other keys stay where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.header), has(self.cookie), has(self.source) && self.source].exists_one(x, x)")
    .message("hash is exactly one of header: NAME, cookie: NAME and source: true"))]
pub struct Hash {
    /// The value of the first header of this name; the client's address where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = FIELD_NAME))]
    pub header: Option<String>,
    /// The value of the first cookie of this name; the client's address where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = FIELD_NAME))]
    pub cookie: Option<String>,
    /// The client's address: behind trustedProxies, for HTTP, the last in X-Forwarded-For that is none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<bool>,
}
