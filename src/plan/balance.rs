//! How the endpoints of one Backend share its requests, how much they take, and how many may be retries: what is
//! written, as what runs.

use std::time::Duration;

use crate::api::backend_limits as limits;
use crate::api::balance::{Balance, BalancePolicy, Hash};
use crate::api::retry_budget as budget;
use crate::model::{BackendLimits, HashBy, Policy, QueueLimits, RetryBudget};

/// The rule an endpoint is chosen by.
pub(super) fn policy(balance: &Balance) -> Policy {
    match balance.policy {
        BalancePolicy::RoundRobin => Policy::RoundRobin,
        BalancePolicy::LeastRequest => Policy::LeastRequest,
        BalancePolicy::Random => Policy::Random,
        BalancePolicy::Hash => Policy::Hash(hash_by(balance.hash.as_ref())),
    }
}

/// What a key is. The door lets no Hash through that does not say; the source is what every request has.
fn hash_by(hash: Option<&Hash>) -> HashBy {
    let header = hash.and_then(|hash| hash.header.as_deref());
    let cookie = hash.and_then(|hash| hash.cookie.as_deref());
    match (header, cookie) {
        (Some(name), _) => HashBy::Header(name.into()),
        (None, Some(name)) => HashBy::Cookie(name.into()),
        (None, None) => HashBy::Source,
    }
}

/// How long an endpoint takes to get its whole share.
pub(super) fn slow_start(balance: &Balance) -> Option<Duration> {
    let seconds = balance.slow_start_seconds?;
    // The door lets no other through with Hash.
    let grows = balance.policy != BalancePolicy::Hash && seconds > 0;
    grows.then(|| Duration::from_secs(seconds.into()))
}

/// How much each endpoint takes at once.
pub(super) fn limits(written: &limits::BackendLimits) -> BackendLimits {
    BackendLimits {
        max_in_flight: written.max_in_flight.into(),
        queue: written.queue.as_ref().map(|queue| QueueLimits {
            length: usize::try_from(queue.length).unwrap_or(usize::MAX),
            wait: queue.wait.get(),
        }),
    }
}

/// How many of the requests may be retries.
pub(super) fn retry_budget(written: &budget::RetryBudget) -> RetryBudget {
    RetryBudget {
        percent: written.percent,
        min_per_second: written.min_per_second,
        interval: written.interval.get(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{be, lb};
    use super::super::{Facts, Objects, plan};
    use super::*;
    use crate::model::Backend;

    fn planned(spec: serde_json::Value) -> Backend {
        let objects = Objects {
            backends: vec![be("web", spec)],
            ..Objects::default()
        };
        let plan = plan(&objects, &Facts::default());
        plan.snapshot.backends[0].clone()
    }

    #[test]
    fn what_is_written_of_balancing_and_limits_is_what_runs() {
        let seconds = Duration::from_secs;
        let plain = planned(json!({"static": []}));
        assert_eq!((plain.policy, plain.slow_start), (Policy::RoundRobin, None));
        assert_eq!(plain.limits, None);
        for (hash, by) in [
            (json!({"header": "X-User"}), HashBy::Header("X-User".into())),
            (
                json!({"cookie": "session"}),
                HashBy::Cookie("session".into()),
            ),
            (json!({"source": true}), HashBy::Source),
        ] {
            let backend =
                planned(json!({"static": [], "balance": {"policy": "Hash", "hash": hash}}));
            assert_eq!(backend.policy, Policy::Hash(by));
        }
        let random = planned(json!({
            "static": [],
            "balance": {"policy": "Random", "slowStartSeconds": 30},
            "limits": {"maxInFlight": 7, "queue": {"length": 9, "wait": "500ms"}},
        }));
        assert_eq!(
            (random.policy, random.slow_start),
            (Policy::Random, Some(seconds(30)))
        );
        let queue = QueueLimits {
            length: 9,
            wait: Duration::from_millis(500),
        };
        let limits = BackendLimits {
            max_in_flight: 7,
            queue: Some(queue),
        };
        assert_eq!(random.limits, Some(limits));
    }

    #[test]
    fn a_routes_budget_is_taken_whole_in_place_of_the_backends() {
        let web = be(
            "web",
            json!({"static": [], "retry": {"attempts": 3, "budget": {"percent": 5, "interval": "1m"}}}),
        );
        let shop = lb(
            "shop",
            json!({
                "listeners": [{"name": "http", "port": 80}],
                "routes": [
                    {"backends": [{"name": "web"}], "retry": {"budget": {"minPerSecond": 1}}},
                    {"backends": [{"name": "web"}], "retry": {"attempts": 2}},
                ],
            }),
        );
        let objects = Objects {
            backends: vec![web],
            load_balancers: vec![shop],
        };
        let plan = plan(&objects, &Facts::default());
        let retry = |at: usize| plan.snapshot.load_balancers[0].routes[at].backends[0].retry;
        let budget = |percent, min_per_second, seconds| RetryBudget {
            percent,
            min_per_second,
            interval: Duration::from_secs(seconds),
        };
        assert_eq!(retry(0).budget, Some(budget(20, 1, 10)));
        assert_eq!(retry(1).budget, Some(budget(5, 10, 60)));
        assert_eq!((retry(0).attempts, retry(1).attempts), (3, 2));
    }
}
