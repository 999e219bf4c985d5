//! How long a pod's preStop hook may hold: what is left of the pod's life, less what the app needs after it.
//!
//! Pure. What the kubelet does is DESIGN section 6: the hook's time counts against the grace period, and
//! hooks run also where there is no deletionTimestamp.

use std::time::Duration;

/// What an app gets for its own SIGTERM handling where nobody knows how long it needs.
const RESERVE: Duration = Duration::from_secs(5);

/// `terminationGracePeriodSeconds` where a pod says none (Kubernetes API reference, `PodSpec`).
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// What is known of a pod whose hook calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodLife {
    /// Its deletionGracePeriodSeconds; absent where it has no deletionTimestamp.
    pub deletion: Option<Duration>,
    /// Its terminationGracePeriodSeconds.
    pub grace: Option<Duration>,
    /// What that was before the hook was added.
    pub original: Option<Duration>,
    /// Why it is stopped where it is not deleted, as far as there is evidence.
    pub evidence: Option<Evidence>,
}

/// Why a container is stopped though its pod is not deleted (PITFALLS 1, 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Its liveness or startup probe failed: it is restarted, and probably hangs.
    Probe,
    /// The node is shutting down, or evicts it.
    NodeGoesDown,
}

/// How long a hold may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// At most this, from the call.
    pub grace: Duration,
    /// `restartTimeoutSeconds` counts, not `timeoutSeconds`.
    pub restart: bool,
}

impl PodLife {
    /// What a hold that is asked for now gets. `node_shutdown` is the installation's node-shutdown grace.
    pub fn allowance(&self, node_shutdown: Duration) -> Allowance {
        let known = self.grace.unwrap_or(DEFAULT_GRACE);
        let (total, restart) = match (self.deletion, self.evidence) {
            (Some(deletion), _) => (deletion, false),
            // Its probe has the original grace for itself, where the hook was added by us.
            (None, Some(Evidence::Probe)) => (self.original.unwrap_or(known).min(known), true),
            (None, Some(Evidence::NodeGoesDown)) => (known.min(node_shutdown), false),
            (None, None) => (known, false),
        };
        Allowance {
            grace: total.saturating_sub(self.reserve(total)),
            restart,
        }
    }

    /// What the app keeps for itself: its original grace, but never more than a third of the whole.
    fn reserve(&self, total: Duration) -> Duration {
        self.original.unwrap_or(RESERVE).min(total / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_hold_gets_what_its_pods_life_leaves() {
        let node = s(20);
        let hooked = PodLife {
            grace: Some(s(330)),
            original: Some(s(30)),
            ..PodLife::default()
        };
        let deleted = |seconds| PodLife {
            deletion: Some(s(seconds)),
            ..hooked
        };
        let because = |evidence| PodLife {
            evidence: Some(evidence),
            ..hooked
        };
        let rows = [
            ("deleted", deleted(330), 300, false),
            ("deleted with a shorter grace", deleted(60), 40, false),
            ("deleted with next to none", deleted(3), 2, false),
            ("deleted with none", deleted(0), 0, false),
            ("nothing is known of why", hooked, 300, false),
            ("its probe failed", because(Evidence::Probe), 20, true),
            (
                "its node goes down",
                because(Evidence::NodeGoesDown),
                13,
                false,
            ),
            ("nothing is known at all", PodLife::default(), 25, false),
            (
                "a deletion is a deletion, whatever else",
                PodLife {
                    evidence: Some(Evidence::Probe),
                    ..deleted(330)
                },
                300,
                false,
            ),
        ];
        for (name, life, grace, restart) in rows {
            let got = life.allowance(node);
            assert_eq!(
                (got.grace.as_secs(), got.restart),
                (grace, restart),
                "{name}"
            );
        }
    }
}
