//! How much the endpoints of a Backend take at once, and what becomes of the rest: `limits`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::duration::GatewayDuration;

/// How much the endpoints of a Backend take at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendLimits {
    /// Requests in flight on each endpoint at once, or TCP connections, in each replica of lastcall. An endpoint
    /// that has as many gets no more. The worker threads count without a lock: where several pick it at the same
    /// moment it may get one more for each worker but the first.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_in_flight: u32,
    /// Where requests wait while every endpoint has all it may have. Without it they are answered 503 at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
}

/// Where requests wait for an endpoint, the first come first. One that finds no room, or waits too long, is
/// answered 503 with Retry-After; a TCP connection is reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.wait) > duration('0s')")
        .message("wait must be longer than 0s").field_path(".wait"),
)]
pub struct Queue {
    /// Requests that wait at once, in each replica of lastcall.
    #[schemars(range(min = 1, max = 100_000))]
    pub length: u32,
    /// How long a request waits at most: a duration such as 500ms.
    pub wait: GatewayDuration,
}
