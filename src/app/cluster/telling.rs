//! What the coordinator reports, in the words of Events of the pod that it is about: the number, and the next
//! step where there is one (Law 8).

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::returns::Returns;
use crate::controller::notices::Notice;
use crate::drain::{Entry, HoldKey, ReleaseCause, Released};
use crate::model::{EndpointId, Member};
use crate::plan::cluster::{Cluster, Pod};
use crate::source::Observed;

/// Follows what the coordinator reports: who watches for containers that come back hears of the hooks, and what
/// people should know becomes Events. Not on the coordinator's own task: to find a pod takes time.
pub(super) async fn follow(
    mut entries: mpsc::UnboundedReceiver<Entry>,
    observed: watch::Receiver<Option<Arc<Observed>>>,
    returns: Returns,
    notices: mpsc::UnboundedSender<Notice>,
) {
    while let Some(entry) = entries.recv().await {
        let seen = observed.borrow().clone();
        let cluster = seen.as_ref().map(|seen| &*seen.cluster);
        if let Entry::HoldStarted { key, .. } = &entry {
            returns.hook_called(key, cluster);
        }
        if let Some(notice) = notice_of(&entry, cluster) {
            // Fails only where the process is going down.
            let _ = notices.send(notice);
        }
    }
}

/// The Event of an entry; none where it is about no pod that is known.
fn notice_of(entry: &Entry, cluster: Option<&Cluster>) -> Option<Notice> {
    let cluster = cluster?;
    match entry {
        Entry::DrainStarted {
            id,
            reason,
            in_flight,
        } => {
            let pod = of_endpoint(cluster, id)?;
            let note = match (*reason, pod.unprotected()) {
                ("PodStopping", Some(why)) => {
                    return Some(Notice {
                        reason: "Unprotected",
                        warning: true,
                        ..notice(
                            pod,
                            format!(
                                "stopping with {in_flight} requests in flight that nothing waits for: {why}; a pod that is made now gets the hook"
                            ),
                        )
                    });
                }
                _ => format!(
                    "no new requests for Backend {} ({reason}); {in_flight} in flight",
                    id.backend
                ),
            };
            Some(Notice {
                reason: "DrainStarted",
                drained: Some(false),
                ..notice(pod, note)
            })
        }
        Entry::DrainCompleted { id, took, cut } => {
            let pod = of_endpoint(cluster, id)?;
            let took = took.as_secs_f64();
            let note = match cut {
                0 => format!(
                    "nothing in flight from Backend {} after {took:.3} s",
                    id.backend
                ),
                cut => format!(
                    "nothing in flight from Backend {} after {took:.3} s; {cut} requests were cut",
                    id.backend
                ),
            };
            Some(Notice {
                reason: "DrainCompleted",
                warning: *cut > 0,
                drained: Some(true),
                ..notice(pod, note)
            })
        }
        Entry::DrainTimedOut { id, in_flight } => Some(Notice {
            reason: "DrainTimedOut",
            warning: true,
            ..notice(
                of_endpoint(cluster, id)?,
                format!(
                    "{in_flight} requests of Backend {} were still in flight and are cut; if they need longer, raise connectionDraining.timeoutSeconds",
                    id.backend
                ),
            )
        }),
        Entry::BackInService { id } => Some(Notice {
            reason: "BackInService",
            drained: Some(false),
            ..notice(
                of_endpoint(cluster, id)?,
                format!("takes requests of Backend {} again", id.backend),
            )
        }),
        Entry::Released { key, released } => release(cluster, key, released),
        Entry::HoldWithdrawn { key } => Some(Notice {
            reason: "HoldWithdrawn",
            warning: true,
            ..notice(
                cluster.pod_by_uid(&key.id)?,
                format!(
                    "the hook of container {} vanished and the pod is not stopping: it serves on",
                    key.container
                ),
            )
        }),
        Entry::HoldStarted { .. } | Entry::CameBack { .. } => None,
    }
}

/// A release is told where it lost something; that all went well is said by `DrainCompleted`.
fn release(cluster: &Cluster, key: &HoldKey, released: &Released) -> Option<Notice> {
    let held = released.held.as_secs_f64();
    let why = match released.cause {
        ReleaseCause::Drained => return None,
        ReleaseCause::Deadline => "at its deadline",
        ReleaseCause::Cut => "with draining disabled",
    };
    Some(Notice {
        reason: "ReleasedEarly",
        warning: true,
        ..notice(
            cluster.pod_by_uid(&key.id)?,
            format!(
                "container {} was let go {why}, after {held:.3} s; {} requests were cut",
                key.container, released.cut
            ),
        )
    })
}

fn notice(pod: &Pod, note: String) -> Notice {
    Notice {
        pod: pod.name.clone(),
        uid: Arc::clone(&pod.uid),
        reason: "",
        note,
        warning: false,
        drained: None,
    }
}

fn of_endpoint<'a>(cluster: &'a Cluster, id: &EndpointId) -> Option<&'a Pod> {
    match &id.member {
        Member::Pod { uid, .. } => cluster.pod_by_uid(uid).map(|pod| &**pod),
        Member::Static(_) => None,
    }
}
