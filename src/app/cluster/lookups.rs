//! What the drain asks of the cluster: who shows a token, how long a pod lives, why a container is stopped,
//! whether a pod whose hook vanished is leaving. Live, past every cache; in doubt as last seen (Law 5).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ListParams};
use tokio::sync::{Semaphore, watch};

use super::hook_ids::{HookIds, callers};
use crate::api::pods::HOOK_ID;
use crate::drain::hook::{self, Caller, Found, Named, Refusal};
use crate::drain::{HoldKey, Leaving, LiveLookup};
use crate::model::ObjectName;
use crate::model::grace::{Evidence, PodLife};
use crate::plan::cluster::Pod;
use crate::source::Observed;
use crate::source::kubernetes::{Live, LookupError};
use crate::source::tokens::{TokenError, Tokens};

/// Each look-up is waited for so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Looks for hook ids at once, see [`Lookups::turns`].
pub(super) const LOOKS: usize = 32;
/// Events of an earlier stop are no evidence for this one. Clocks of Nodes may differ by some of it.
const RECENT: SignedDuration = SignedDuration::from_secs(60);

/// The cluster, for the coordinator and for the hook server.
pub(super) struct Lookups {
    pub(super) client: kube::Client,
    pub(super) live: Live,
    pub(super) tokens: Tokens,
    pub(super) observed: watch::Receiver<Option<Arc<Observed>>>,
    /// Changes when something is observed, which is when a pod's life may have changed.
    pub(super) changes: watch::Receiver<u64>,
    pub(super) hook_ids: HookIds,
    /// Looks for hook ids at once.
    pub(super) turns: Semaphore,
}

impl Lookups {
    /// The pod as it was last seen.
    fn seen(&self, caller: &Caller) -> Option<Arc<Pod>> {
        let name = ObjectName::new(&caller.namespace, &caller.pod);
        let observed = self.observed.borrow();
        let pod = observed.as_ref()?.cluster.pods.get(&name)?;
        (pod.uid == caller.uid).then(|| Arc::clone(pod))
    }

    /// The pods with this hook id as they were last seen.
    fn with_id(&self, namespace: &str, id: &str) -> Vec<Arc<Pod>> {
        let observed = self.observed.borrow().clone();
        observed.map_or_else(Vec::new, |observed| {
            self.hook_ids.seen(&observed, namespace, id)
        })
    }

    async fn named_of(&self, namespace: &str, id: &str) -> Found {
        // Before the look: what is watched only after it is not gone, it is new.
        let before = self.with_id(namespace, id);
        match self.list(namespace, id).await {
            Ok(live) => Found {
                pods: callers(Some(&live), &before),
                live: true,
            },
            Err(error) => {
                tracing::warn!(namespace, id, %error, "pods of a hook id as they were last seen");
                Found {
                    pods: callers(None, &self.with_id(namespace, id)),
                    live: false,
                }
            }
        }
    }

    /// The pods with that id live. Whoever reaches the hook server can ask for any id, so no more than a few
    /// questions at once are passed on to the API server.
    async fn list(&self, namespace: &str, id: &str) -> Result<Vec<Pod>, LookupError> {
        let its = format!("{HOOK_ID}={id}");
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| LookupError::Timeout(PATIENCE))?;
        self.live.selected(namespace, &its).await
    }

    async fn life_of(&self, caller: &Caller, container: &str) -> PodLife {
        match self.live.pod(&caller.namespace, &caller.pod).await {
            Ok(Some(pod)) if *pod.uid == *caller.uid => {
                let evidence = match pod.deletion {
                    Some(_) => None,
                    None => self.evidence(&pod, container).await,
                };
                life(&pod, pod.deletion, evidence)
            }
            // Its object is gone, or another pod has its name: it is being killed (PITFALLS 7).
            Ok(_) => self.as_last_seen(caller),
            Err(error) => {
                tracing::warn!(pod = caller.pod, %error, "pod held as it was last seen");
                self.as_last_seen(caller)
            }
        }
    }

    /// As last seen, and as a deletion.
    fn as_last_seen(&self, caller: &Caller) -> PodLife {
        self.seen(caller).map_or_else(PodLife::default, |pod| {
            life(&pod, Some(pod.deletion.unwrap_or(pod.grace)), None)
        })
    }

    /// Why a container of a pod that is not deleted is stopped, as far as anything says so.
    async fn evidence(&self, pod: &Pod, container: &str) -> Option<Evidence> {
        if self.node_goes_down(pod) {
            return Some(Evidence::NodeGoesDown);
        }
        let events: Api<Event> = Api::namespaced(self.client.clone(), &pod.name.namespace);
        let its = ListParams::default().fields(&format!("involvedObject.uid={}", pod.uid));
        let listed = tokio::time::timeout(PATIENCE, events.list(&its)).await;
        // Where they cannot be read there is no evidence.
        let listed = listed.ok()?.ok()?;
        let now = Timestamp::now();
        let mut recent = listed.items.iter().filter(|event| is_recent(event, now));
        recent.find_map(|event| said(event, container))
    }

    fn node_goes_down(&self, pod: &Pod) -> bool {
        let observed = self.observed.borrow();
        let node = observed
            .as_ref()
            .zip(pod.node.as_ref())
            .and_then(|(observed, node)| observed.cluster.nodes.get(node).cloned());
        node.is_some_and(|node| node.shutting_down)
    }
}

fn life(pod: &Pod, deletion: Option<Duration>, evidence: Option<Evidence>) -> PodLife {
    PodLife {
        deletion,
        grace: Some(pod.grace),
        original: pod.original_grace,
        evidence,
    }
}

fn is_recent(event: &Event, now: Timestamp) -> bool {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let time = series
        .map(|time| time.0)
        .or(event.last_timestamp.as_ref().map(|time| time.0))
        .or(event.event_time.as_ref().map(|time| time.0));
    time.is_some_and(|time| now.duration_since(time) < RECENT)
}

/// What the kubelet's Event says of this container (`pkg/kubelet/events`, `pkg/kubelet/eviction`).
fn said(event: &Event, container: &str) -> Option<Evidence> {
    let about = event
        .involved_object
        .field_path
        .as_deref()
        .unwrap_or_default();
    let its = about == format!("spec.containers{{{container}}}");
    let message = event.message.as_deref().unwrap_or_default();
    match event.reason.as_deref() {
        Some("Killing") if its && message.contains("probe, will be restarted") => {
            Some(Evidence::Probe)
        }
        Some("Evicted") => Some(Evidence::NodeGoesDown),
        _ => None,
    }
}

impl hook::Cluster for Lookups {
    fn caller<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, Refusal>> {
        Box::pin(async move {
            let identity = self
                .tokens
                .identify(token)
                .await
                .map_err(|error| match error {
                    TokenError::Invalid(why) => Refusal::BadToken(why),
                    TokenError::NoKeys(why) => Refusal::NoKeys(why),
                })?;
            Ok(Caller {
                namespace: identity.namespace,
                pod: identity.pod,
                uid: identity.uid.into(),
            })
        })
    }

    fn life<'a>(&'a self, caller: &'a Caller, container: &'a str) -> BoxFuture<'a, PodLife> {
        Box::pin(self.life_of(caller, container))
    }

    fn last_heard(&self, caller: &Caller) -> Option<PodLife> {
        let pod = self.seen(caller)?;
        Some(life(&pod, pod.deletion, None))
    }

    fn named<'a>(&'a self, namespace: &'a str, id: &'a str) -> BoxFuture<'a, Found> {
        Box::pin(self.named_of(namespace, id))
    }

    fn named_as_seen(&self, namespace: &str, id: &str) -> Vec<Named> {
        callers(None, &self.with_id(namespace, id))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

impl LiveLookup for Lookups {
    fn leaving(&self, key: &HoldKey) -> Pin<Box<dyn Future<Output = Leaving> + Send>> {
        let observed = self.observed.borrow().clone();
        let seen = observed.and_then(|now| now.cluster.pod_by_uid(&key.id).cloned());
        let live = self.live.clone();
        let uid = key.id.clone();
        Box::pin(async move {
            let Some(seen) = seen else {
                return Leaving::Unknown;
            };
            match live.pod(&seen.name.namespace, &seen.name.name).await {
                Ok(Some(pod)) if *pod.uid == *uid && pod.deletion.is_none() => Leaving::No,
                Ok(_) => Leaving::Yes,
                Err(_) => Leaving::Unknown,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_containers_own_probe_and_an_eviction_are_evidence() {
        let event = |reason: &str, field: &str, message: &str| -> Event {
            serde_json::from_value(serde_json::json!({
                "metadata": {},
                "involvedObject": {"fieldPath": field},
                "reason": reason,
                "message": message,
            }))
            .unwrap()
        };
        let app = "spec.containers{app}";
        let probe = "Container app failed liveness probe, will be restarted";
        for (event, expected) in [
            (event("Killing", app, probe), Some(Evidence::Probe)),
            (event("Killing", "spec.containers{other}", probe), None),
            (event("Killing", app, "Stopping container app"), None),
            (event("Unhealthy", app, "Liveness probe failed"), None),
            (
                event("Evicted", "", "The node was low on memory"),
                Some(Evidence::NodeGoesDown),
            ),
        ] {
            assert_eq!(said(&event, "app"), expected, "{event:?}");
        }
    }

    #[test]
    fn an_event_of_an_earlier_stop_is_no_evidence() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let event = |time: &str| -> Event {
            serde_json::from_value(serde_json::json!({
                "metadata": {}, "involvedObject": {}, "lastTimestamp": time,
            }))
            .unwrap()
        };
        assert!(is_recent(&event("2026-01-01T00:09:30Z"), now));
        assert!(!is_recent(&event("2026-01-01T00:08:00Z"), now));
    }
}
