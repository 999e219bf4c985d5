//! Watches for containers that come back (Law 6): the proof is that its restart count has grown since its
//! hook called, and that it is ready again. A Ready condition alone proves nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::drain::{Handle, HoldKey};
use crate::plan::cluster::{Cluster, Container, Pod};
use crate::source::Observed;
use crate::source::kubernetes::Gone;

/// Containers whose hooks have called, with their restart counts then.
#[derive(Clone, Default)]
pub(super) struct Returns(Arc<Mutex<BTreeMap<HoldKey, Option<u32>>>>);

impl Returns {
    /// A hook has called.
    pub(super) fn hook_called(&self, key: &HoldKey, cluster: Option<&Cluster>) {
        if key.container.is_empty() {
            return;
        }
        let restarts = cluster
            .and_then(|cluster| cluster.pod_by_uid(&key.id))
            .and_then(|pod| container(pod, &key.container))
            .map(|container| container.restarts);
        self.lock().insert(key.clone(), restarts);
    }

    /// The containers that have come back; they are not watched for any more.
    fn returned(&self, cluster: &Cluster) -> Vec<HoldKey> {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return Vec::new();
        }
        let mut back = Vec::new();
        for (key, before) in waiting.iter_mut() {
            let Some(pod) = cluster
                .pod_by_uid(&key.id)
                .filter(|pod| pod.deletion.is_none())
            else {
                continue;
            };
            let Some(now) = container(pod, &key.container) else {
                continue;
            };
            // A pod that was not known when its hook called counts from here: later than it should.
            let before = *before.get_or_insert(now.restarts);
            if now.restarts > before && now.ready {
                back.push(key.clone());
            }
        }
        for key in &back {
            waiting.remove(key);
        }
        back
    }

    fn forget_pod(&self, uid: &str) {
        self.lock().retain(|key, _| key.id != uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<HoldKey, Option<u32>>> {
        // Each change is whole in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    pod.containers
        .iter()
        .find(|container| *container.name == *name)
}

/// Tells the coordinator of containers that are back.
pub(super) async fn follow(
    returns: Returns,
    mut observed: watch::Receiver<Option<Arc<Observed>>>,
    draining: Handle,
) {
    while observed.changed().await.is_ok() {
        let Some(now) = observed.borrow_and_update().clone() else {
            continue;
        };
        for key in returns.returned(&now.cluster) {
            draining.came_back(key);
        }
    }
}

/// Tells the coordinator of pods that are gone, when the configuration without them is in service: before
/// that their endpoints would be let in again.
pub(super) async fn follow_gone(
    returns: Returns,
    mut gone: mpsc::UnboundedReceiver<Gone>,
    mut applied: watch::Receiver<u64>,
    draining: Handle,
) {
    while let Some(pod) = gone.recv().await {
        if applied
            .wait_for(|revision| *revision >= pod.revision)
            .await
            .is_err()
        {
            return;
        }
        returns.forget_pod(&pod.uid);
        draining.pod_gone(pod.uid);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::ObjectName;
    use std::time::Duration;

    pub(in crate::app::cluster) fn cluster(
        restarts: u32,
        ready: bool,
        deletion: Option<Duration>,
    ) -> Cluster {
        let name = ObjectName::new("shop", "web-1");
        let pod = Pod {
            ready,
            deletion,
            containers: [Container {
                name: "app".into(),
                restarts,
                ready,
            }]
            .into(),
            ..Pod::sample(name.clone(), "uid-1")
        };
        Cluster {
            pods: [(name, Arc::new(pod))].into(),
            ..Cluster::default()
        }
    }

    fn key() -> HoldKey {
        HoldKey {
            id: "uid-1".to_owned(),
            container: "app".to_owned(),
        }
    }

    #[test]
    fn law_6_a_container_is_back_when_it_was_restarted_and_is_ready() {
        let grace = Some(Duration::from_secs(30));
        for (restarts, ready, deletion, back) in [
            (3, true, None, false),
            (4, false, None, false),
            (4, true, None, true),
            (4, true, grace, false),
        ] {
            let returns = Returns::default();
            returns.hook_called(&key(), Some(&cluster(3, true, None)));
            let now = cluster(restarts, ready, deletion);
            let expected = if back { vec![key()] } else { Vec::new() };
            assert_eq!(returns.returned(&now), expected, "{restarts} {ready}");
            assert!(!back || returns.returned(&now).is_empty(), "told twice");
        }
    }

    #[test]
    fn a_pod_that_was_not_known_when_its_hook_called_counts_from_when_it_is_seen() {
        let returns = Returns::default();
        returns.hook_called(&key(), None);
        assert!(returns.returned(&cluster(4, true, None)).is_empty());
        assert_eq!(returns.returned(&cluster(5, true, None)), [key()]);
    }
}
