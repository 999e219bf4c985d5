//! Which of the watched pods have a hook id, and which pods may call by one. The lookups ask it for each call of a kubelet
//! and on each change while one is under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::pods::HOOK_ID;
use crate::drain::hook::{Caller, Named};
use crate::model::ObjectName;
use crate::plan::cluster::{Cluster, Pod};
use crate::source::Observed;

/// A change among tens of thousands of pods has them all gone through again, no more often than this. A pod that
/// is younger makes calls of its own, which are looked up live.
const FRESH: Duration = Duration::from_millis(250);

/// The watched pods by namespace and id.
#[derive(Default)]
pub(super) struct HookIds(Mutex<Option<Index>>);

struct Index {
    revision: u64,
    made: Instant,
    by_id: HashMap<String, Vec<ObjectName>>,
}

impl HookIds {
    /// The watched pods with this id, each as it is in what was observed.
    pub(super) fn seen(&self, observed: &Observed, namespace: &str, id: &str) -> Vec<Arc<Pod>> {
        let now = Instant::now();
        // Each change is whole in itself.
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = index.as_ref().is_none_or(|index| {
            index.revision != observed.revision && now.duration_since(index.made) >= FRESH
        });
        if stale {
            *index = Some(Index {
                revision: observed.revision,
                made: now,
                by_id: by_id(&observed.cluster),
            });
        }
        let names = index
            .as_ref()
            .and_then(|index| index.by_id.get(&key(namespace, id)));
        let pods = names.into_iter().flatten();
        pods.filter_map(|name| observed.cluster.pods.get(name).cloned())
            .filter(|pod| pod.labels.get(HOOK_ID) == Some(id))
            .collect()
    }
}

fn by_id(cluster: &Cluster) -> HashMap<String, Vec<ObjectName>> {
    let mut by_id: HashMap<String, Vec<ObjectName>> = HashMap::new();
    for (name, pod) in &cluster.pods {
        if let Some(id) = pod.labels.get(HOOK_ID) {
            let named = by_id.entry(key(&name.namespace, id)).or_default();
            named.push(name.clone());
        }
    }
    by_id
}

/// A slash is in neither.
fn key(namespace: &str, id: &str) -> String {
    format!("{namespace}/{id}")
}

/// The pods that may call, of those that the API server says there are and those that were seen before it was asked:
/// where there are some that run, those that are over for good call no more. `live` is absent where the API server did
/// not answer.
pub(super) fn callers(live: Option<&[Pod]>, seen: &[Arc<Pod>]) -> Vec<Named> {
    let there: Vec<&Pod> = live.into_iter().flatten().collect();
    let unknown = |pod: &&Arc<Pod>| !there.iter().any(|one| one.uid == pod.uid);
    // What is gone from the API server and was there a moment ago is being killed.
    let rest = seen.iter().filter(unknown);
    let rest = rest.map(|pod| (&**pod, live.is_some() || pod.deletion.is_some()));
    let there = there.iter().map(|pod| (*pod, pod.deletion.is_some()));
    let all: Vec<(&Pod, bool)> = there.chain(rest).collect();
    let any_runs = all
        .iter()
        .any(|(pod, terminating)| *terminating || !pod.over);
    all.into_iter()
        .filter(|(pod, terminating)| *terminating || !pod.over || !any_runs)
        .map(|(pod, terminating)| Named {
            pod: Caller {
                namespace: pod.name.namespace.to_string(),
                pod: pod.name.name.to_string(),
                uid: Arc::clone(&pod.uid),
            },
            terminating,
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::Objects;

    pub(in crate::app::cluster) fn pod(name: &str, id: Option<&str>) -> Pod {
        Pod {
            labels: id.map(|id| (HOOK_ID, id)).into_iter().collect(),
            ..Pod::sample(ObjectName::new("shop", name), &format!("uid-of-{name}"))
        }
    }

    fn deleted(pod: Pod) -> Pod {
        Pod {
            deletion: Some(Duration::from_secs(30)),
            ..pod
        }
    }

    fn observed(revision: u64, pods: Vec<Pod>) -> Observed {
        let pods = pods
            .into_iter()
            .map(|pod| (pod.name.clone(), Arc::new(pod)));
        Observed {
            objects: Arc::new(Objects::default()),
            cluster: Arc::new(Cluster {
                pods: pods.collect(),
                ..Cluster::default()
            }),
            faults: Vec::new(),
            revision,
        }
    }

    #[test]
    fn pods_are_found_by_namespace_and_id_as_they_are_now() {
        let ids = HookIds::default();
        let pods = || vec![pod("a", Some("x")), pod("b", Some("y")), pod("c", None)];
        let first = observed(1, pods());
        let names = |observed: &Observed, namespace, id| -> Vec<(String, bool)> {
            let found = ids.seen(observed, namespace, id);
            let named = |pod: &Arc<Pod>| (pod.name.name.to_string(), pod.deletion.is_some());
            found.iter().map(named).collect()
        };
        assert_eq!(names(&first, "shop", "x"), [("a".to_owned(), false)]);
        assert!(names(&first, "other", "x").is_empty());
        // A deletion counts at once, whenever the pods were last gone through.
        let mut later = pods();
        later[0] = deleted(pod("a", Some("x")));
        let later = observed(2, later);
        assert_eq!(names(&later, "shop", "x"), [("a".to_owned(), true)]);
    }

    #[test]
    fn who_may_call_as_a_table() {
        let over = |pod: Pod| Pod { over: true, ..pod };
        let a = || pod("a", Some("x"));
        let b = || pod("b", Some("x"));
        for (case, live, seen, expected) in [
            ("nobody", Some(vec![]), vec![], vec![]),
            (
                "the API server knows better",
                Some(vec![deleted(a())]),
                vec![a()],
                vec![("a", true)],
            ),
            ("away: as last seen", None, vec![a()], vec![("a", false)]),
            (
                "away: seen to stop",
                None,
                vec![deleted(a())],
                vec![("a", true)],
            ),
            (
                "gone there, seen here",
                Some(vec![]),
                vec![a()],
                vec![("a", true)],
            ),
            (
                "one that is over calls no more",
                Some(vec![over(a()), b()]),
                vec![],
                vec![("b", false)],
            ),
            (
                "unless there is no other",
                Some(vec![over(a())]),
                vec![],
                vec![("a", false)],
            ),
            (
                "one that is being deleted may",
                Some(vec![over(deleted(a())), b()]),
                vec![],
                vec![("a", true), ("b", false)],
            ),
        ] {
            let seen: Vec<Arc<Pod>> = seen.into_iter().map(Arc::new).collect();
            let named = callers(live.as_deref(), &seen);
            let named: Vec<_> = named
                .iter()
                .map(|one| (one.pod.pod.as_str(), one.terminating))
                .collect();
            assert_eq!(named, expected, "{case}");
        }
    }
}
