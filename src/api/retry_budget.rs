//! How many of the requests may be retries: `retry.budget`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::duration::GatewayDuration;

/// How many of the requests to a Backend may be retries, so that retries do not finish off endpoints that cannot
/// keep up. What was sent and is sent again counts; what was never sent may always be tried elsewhere. Counted in
/// each replica of lastcall. Where it is used up, the client gets the answer of the last attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.interval) >= duration('1s') && duration(self.interval) <= duration('1h')")
        .message("interval must be from 1s to 1h").field_path(".interval"),
)]
pub struct RetryBudget {
    /// Retries for each hundred requests of the interval.
    #[serde(default = "percent")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
    /// Retries that may be made besides, for each second of the interval.
    #[serde(default = "min_per_second")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_per_second: u32,
    /// What lies further back is not counted any more: a duration such as 10s.
    #[serde(default = "interval")]
    pub interval: GatewayDuration,
}

/// As Gateway API has it (GEP-3388).
fn percent() -> u32 {
    20
}

/// As Gateway API has it.
fn min_per_second() -> u32 {
    10
}

/// As Gateway API has it.
fn interval() -> GatewayDuration {
    GatewayDuration::from_secs(10)
}
