//! How long endpoints may take and what is tried again: the same two types on a route and on a
//! Backend. All fields are optional and without schema defaults; the route's wins over the Backend's,
//! and `plan` fills in what neither says.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::duration::GatewayDuration;
use super::retry_budget::RetryBudget;

/// How long an endpoint may take. On a route each field wins over the Backend's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.connect) || duration(self.connect) > duration('0s')")
        .message("connect must be longer than 0s").field_path(".connect"),
    validation = Rule::new("!has(self.backendIdle) || duration(self.backendIdle) > duration('0s')")
        .message("backendIdle must be longer than 0s").field_path(".backendIdle"),
)]
pub struct UpstreamTimeouts {
    /// The whole exchange, from the request's head to the last byte of the response, retries
    /// included: a duration such as 30s. 0s is no limit, and the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<GatewayDuration>,
    /// To connect to an endpoint: a duration such as 250ms. Default 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<GatewayDuration>,
    /// From the end of the request to the head of the response: a duration such as 10s. 0s is no
    /// limit. Default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_head: Option<GatewayDuration>,
    /// How long a kept connection to an endpoint may be idle: a duration such as 4s. It should be
    /// shorter than the endpoint itself keeps one (Node.js keeps 5s). Default 4s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_idle: Option<GatewayDuration>,
    /// How long a TCP connection, one that was upgraded (a WebSocket), or a call of gRPC whose client may still
    /// send, may pass no byte on, either way: a duration such as 1h; then it is reset. 0s is no limit. Default 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_idle: Option<GatewayDuration>,
}

/// What is tried again on another endpoint. A request of which nothing was sent always is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How many further attempts a request with an idempotent method gets that was sent and not
    /// answered. 0 is none. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub attempts: Option<u32>,
    /// How many of the requests may be such further attempts. A route's is taken whole in place of the
    /// Backend's. No bound where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Box<RetryBudget>>,
}
