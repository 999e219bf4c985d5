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
        Entry::HoldStarted { .. } | Entry::HoldUnheard { .. } | Entry::CameBack { .. } => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::protection::NotProtected;
    use crate::app::cluster::returns;
    use crate::model::ObjectName;
    use std::time::Duration;

    fn id(uid: &str) -> EndpointId {
        EndpointId {
            backend: ObjectName::new("shop", "web"),
            member: Member::Pod {
                uid: uid.into(),
                port: 80,
            },
        }
    }

    fn key() -> HoldKey {
        HoldKey {
            id: "uid-1".to_owned(),
            container: "app".to_owned(),
        }
    }

    fn started(reason: &'static str) -> Entry {
        Entry::DrainStarted {
            id: id("uid-1"),
            reason,
            in_flight: 7,
        }
    }

    fn completed(cut: u64) -> Entry {
        Entry::DrainCompleted {
            id: id("uid-1"),
            took: Duration::from_millis(1_234),
            cut,
        }
    }

    fn released(cause: ReleaseCause) -> Entry {
        Entry::Released {
            key: key(),
            released: Released {
                cause,
                held: Duration::from_secs(9),
                since_last_byte: Duration::ZERO,
                cut: 3,
            },
        }
    }

    /// The Event of each entry, where the pod is held and where nothing holds it.
    #[test]
    fn an_event_names_the_number_and_what_it_means_for_the_pods_condition() {
        let timed_out = Entry::DrainTimedOut {
            id: id("uid-1"),
            in_flight: 7,
        };
        let back = Entry::BackInService { id: id("uid-1") };
        let withdrawn = Entry::HoldWithdrawn { key: key() };
        let hold = Entry::HoldStarted {
            key: key(),
            endpoints: Vec::new(),
            in_flight: 7,
        };
        let (normal, warning) = (false, true);
        for (entry, is_held, expected) in [
            (
                started("Held"),
                true,
                Some(("DrainStarted", normal, "7 in flight", Some(false))),
            ),
            (
                started("PodStopping"),
                true,
                Some(("DrainStarted", normal, "7 in flight", Some(false))),
            ),
            (
                started("PodStopping"),
                false,
                Some(("Unprotected", warning, "7 requests in flight", None)),
            ),
            (
                started("AdminStateDraining"),
                false,
                Some(("DrainStarted", normal, "7 in flight", Some(false))),
            ),
            (
                completed(0),
                true,
                Some(("DrainCompleted", normal, "after 1.234 s", Some(true))),
            ),
            (
                completed(2),
                true,
                Some(("DrainCompleted", warning, "2 requests were cut", Some(true))),
            ),
            (
                timed_out,
                true,
                Some(("DrainTimedOut", warning, "timeoutSeconds", None)),
            ),
            (
                back,
                true,
                Some(("BackInService", normal, "shop/web", Some(false))),
            ),
            (released(ReleaseCause::Drained), true, None),
            (
                released(ReleaseCause::Deadline),
                true,
                Some(("ReleasedEarly", warning, "3 requests were cut", None)),
            ),
            (
                released(ReleaseCause::Cut),
                true,
                Some(("ReleasedEarly", warning, "draining disabled", None)),
            ),
            (
                withdrawn,
                true,
                Some(("HoldWithdrawn", warning, "container app", None)),
            ),
            (hold, true, None),
        ] {
            let mut cluster = returns::tests::cluster(0, true, None);
            if !is_held {
                let pod = cluster.pods.values_mut().next().unwrap();
                Arc::make_mut(pod).gaps = [NotProtected::NoHook {
                    container: "app".into(),
                }]
                .into();
            }
            let found = notice_of(&entry, Some(&cluster));
            match (found, expected) {
                (None, None) => {}
                (Some(found), Some((reason, warning, part, drained))) => {
                    assert_eq!(
                        (found.reason, found.warning, found.drained),
                        (reason, warning, drained)
                    );
                    assert!(found.note.contains(part), "{part}: {}", found.note);
                    assert_eq!(&*found.uid, "uid-1");
                }
                (found, expected) => panic!("{entry:?}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn nothing_is_told_of_what_is_no_pod_or_not_known() {
        let cluster = returns::tests::cluster(0, true, None);
        let of = |id: EndpointId| Entry::BackInService { id };
        assert_eq!(notice_of(&of(id("uid-1")), None), None);
        assert_eq!(notice_of(&of(id("uid-2")), Some(&cluster)), None);
        let fixed = EndpointId {
            member: Member::Static(([10, 0, 0, 7], 80).into()),
            ..id("uid-1")
        };
        assert_eq!(notice_of(&of(fixed), Some(&cluster)), None);
    }
}
