//! How the endpoints of a Backend leave: each LoadBalancer's settings, the Backend's own fields over
//! them, and where several LoadBalancers use one Backend the kinder of what they say.

use std::time::Duration;

use crate::api::{self, ConnectionDraining, ConnectionDrainingOverride};
use crate::model::{DrainPolicy, LastEndpoint, ObjectName};

/// The LoadBalancers that send requests to a Backend, and how they want its endpoints to leave.
pub(super) type Users<'a> = Vec<(&'a ObjectName, &'a ConnectionDraining)>;

/// Finds who uses the Backend, in the order given.
pub(super) fn users<'a>(
    backend: &ObjectName,
    load_balancers: &'a [(ObjectName, &'a api::LoadBalancer)],
) -> Users<'a> {
    load_balancers
        .iter()
        .filter(|(name, object)| {
            // References stay in the namespace.
            name.namespace == backend.namespace
                && backend_names(&object.spec).any(|used| *used == *backend.name)
        })
        .map(|(name, object)| (name, &object.spec.connection_draining))
        .collect()
}

fn backend_names(spec: &api::LoadBalancerSpec) -> impl Iterator<Item = &str> {
    let routed = spec.routes.iter().flat_map(|route| &route.backends);
    let filters = spec.routes.iter().flat_map(|route| &route.filters);
    let mirrors = filters.filter_map(|filter| filter.mirror.as_ref());
    let named = mirrors
        .map(|mirror| &mirror.backend)
        .chain(&spec.default_backend);
    let named = named.map(|backend| backend.name.as_str());
    routed.map(|backend| backend.name.as_str()).chain(named)
}

/// The settings of one LoadBalancer as the model says them.
pub(super) fn policy(settings: &ConnectionDraining) -> DrainPolicy {
    DrainPolicy {
        enabled: settings.enabled,
        timeout: seconds(settings.timeout_seconds),
        restart_timeout: seconds(settings.restart_timeout_seconds),
        min: seconds(settings.min_seconds),
        last_endpoint: last_endpoint(settings.last_endpoint),
    }
}

fn overridden(policy: DrainPolicy, own: &ConnectionDrainingOverride) -> DrainPolicy {
    DrainPolicy {
        enabled: own.enabled.unwrap_or(policy.enabled),
        timeout: own.timeout_seconds.map_or(policy.timeout, seconds),
        restart_timeout: own
            .restart_timeout_seconds
            .map_or(policy.restart_timeout, seconds),
        min: own.min_seconds.map_or(policy.min, seconds),
        last_endpoint: own
            .last_endpoint
            .map_or(policy.last_endpoint, last_endpoint),
    }
}

/// Enabled if either says so, the longer times, kept serving if either says so.
fn kinder(a: DrainPolicy, b: DrainPolicy) -> DrainPolicy {
    DrainPolicy {
        enabled: a.enabled || b.enabled,
        timeout: a.timeout.max(b.timeout),
        restart_timeout: a.restart_timeout.max(b.restart_timeout),
        min: a.min.max(b.min),
        last_endpoint: match (a.last_endpoint, b.last_endpoint) {
            (LastEndpoint::Drain, LastEndpoint::Drain) => LastEndpoint::Drain,
            _ => LastEndpoint::KeepServing,
        },
    }
}

/// What holds for a Backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merged {
    /// The policy; its minimum never exceeds its timeout.
    pub policy: DrainPolicy,
    /// The minimum that was asked for, where it is longer than the timeout.
    pub min_cut_from: Option<Duration>,
    /// Whether the users disagreed, so that some are not served as they asked.
    pub mixed: bool,
}

/// Merges what the users say with the Backend's own fields. A Backend that nobody uses takes the
/// defaults: it can still be drained.
pub(super) fn merge(users: &Users<'_>, own: Option<&ConnectionDrainingOverride>) -> Merged {
    let mut each = users.iter().map(|(_, settings)| {
        let policy = policy(settings);
        own.map_or(policy, |own| overridden(policy, own))
    });
    let first = each.next().unwrap_or_else(|| {
        let policy = DrainPolicy::default();
        own.map_or(policy, |own| overridden(policy, own))
    });
    let mut mixed = false;
    let mut policy = each.fold(first, |merged, next| {
        mixed |= next != first;
        kinder(merged, next)
    });
    let min_cut_from = (policy.min > policy.timeout).then_some(policy.min);
    policy.min = policy.min.min(policy.timeout);
    Merged {
        policy,
        min_cut_from,
        mixed,
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

fn last_endpoint(word: api::LastEndpoint) -> LastEndpoint {
    match word {
        api::LastEndpoint::KeepServing => LastEndpoint::KeepServing,
        api::LastEndpoint::Drain => LastEndpoint::Drain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lb(timeout: u32, restart: u32, min: u32) -> ConnectionDraining {
        ConnectionDraining {
            timeout_seconds: timeout,
            restart_timeout_seconds: restart,
            min_seconds: min,
            ..ConnectionDraining::default()
        }
    }

    #[test]
    fn each_field_of_the_backend_overrides_and_no_other_changes() {
        let name = ObjectName::new("default", "a");
        let settings = lb(60, 5, 1);
        let users = vec![(&name, &settings)];
        let base = policy(&settings);
        let none = ConnectionDrainingOverride::default();
        assert_eq!(merge(&users, None).policy, base);
        assert_eq!(merge(&users, Some(&none)).policy, base);
        let table = [
            (
                ConnectionDrainingOverride {
                    enabled: Some(false),
                    ..none.clone()
                },
                DrainPolicy {
                    enabled: false,
                    ..base
                },
            ),
            (
                ConnectionDrainingOverride {
                    timeout_seconds: Some(7),
                    ..none.clone()
                },
                DrainPolicy {
                    timeout: seconds(7),
                    ..base
                },
            ),
            (
                ConnectionDrainingOverride {
                    restart_timeout_seconds: Some(7),
                    ..none.clone()
                },
                DrainPolicy {
                    restart_timeout: seconds(7),
                    ..base
                },
            ),
            (
                ConnectionDrainingOverride {
                    min_seconds: Some(0),
                    ..none.clone()
                },
                DrainPolicy {
                    min: seconds(0),
                    ..base
                },
            ),
            (
                ConnectionDrainingOverride {
                    last_endpoint: Some(api::LastEndpoint::Drain),
                    ..none.clone()
                },
                DrainPolicy {
                    last_endpoint: LastEndpoint::Drain,
                    ..base
                },
            ),
        ];
        for (own, expected) in table {
            let merged = merge(&users, Some(&own));
            assert_eq!(merged.policy, expected, "{own:?}");
            assert!(!merged.mixed && merged.min_cut_from.is_none());
        }
    }

    #[test]
    fn two_load_balancers_get_the_kinder_of_both() {
        let (a, b) = (
            ObjectName::new("default", "a"),
            ObjectName::new("default", "b"),
        );
        let one = ConnectionDraining {
            enabled: false,
            last_endpoint: api::LastEndpoint::Drain,
            ..lb(60, 20, 0)
        };
        let two = lb(30, 30, 5);
        let expected = DrainPolicy {
            enabled: true,
            timeout: seconds(60),
            restart_timeout: seconds(30),
            min: seconds(5),
            last_endpoint: LastEndpoint::KeepServing,
        };
        for users in [vec![(&a, &one), (&b, &two)], vec![(&a, &two), (&b, &one)]] {
            let merged = merge(&users, None);
            assert_eq!(merged.policy, expected);
            assert!(merged.mixed);
        }
        assert!(!merge(&vec![(&a, &one), (&b, &one)], None).mixed);
    }

    #[test]
    fn a_minimum_longer_than_the_timeout_is_cut_and_told() {
        let name = ObjectName::new("default", "a");
        let settings = lb(60, 10, 50);
        let own = ConnectionDrainingOverride {
            timeout_seconds: Some(20),
            ..ConnectionDrainingOverride::default()
        };
        let merged = merge(&vec![(&name, &settings)], Some(&own));
        assert_eq!(merged.policy.min, seconds(20));
        assert_eq!(merged.min_cut_from, Some(seconds(50)));
    }

    #[test]
    fn nobody_uses_it_and_the_defaults_hold() {
        assert_eq!(merge(&Vec::new(), None).policy, DrainPolicy::default());
        // The schema's defaults and the model's are the same.
        assert_eq!(
            policy(&ConnectionDraining::default()),
            DrainPolicy::default()
        );
    }
}
