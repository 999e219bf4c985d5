//! Moves one pod: drained, evicted, replaced by one that serves. Where that fails before the eviction, it is put
//! back as it was. What decides is in [`super::serving`]; here is what is asked and written.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::PostParams;
use tokio::time::{Instant, sleep, timeout};

use super::choice::{Choice, lacks_the_hook};
use super::patience::{LOOK, Look, Patience, Progress};
use super::serving::{self, Departure};
use super::workload::Workload;
use crate::admin::Route;
use crate::admin::schema::Status;
use crate::api::pods::ADMIN_STATE;
use crate::api::protection::protection;
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::cluster::{Cluster, is_code, is_ready};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two attempts to evict, as `kubectl drain` has it.
const EVICTION_PAUSE: Duration = Duration::from_secs(5);
/// So often it is tried to put a pod back.
const PUT_BACK_TRIES: u32 = 10;

/// Moves the pods of one workload.
pub(super) struct Mover<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) lastcall: &'a Client,
    pub(super) workload: &'a Workload,
    /// How long one pod may take.
    pub(super) limit: Duration,
    pub(super) progress: &'a Progress,
}

/// What was done to the pod that is being moved: what has to be taken back where it fails.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// It was, or may have been, told to drain.
    annotated: bool,
    /// It was evicted: its replacement comes whatever happens here.
    pub(super) evicted: bool,
}

impl Mark {
    /// Whether the pod was, or may have been, told to drain.
    pub(super) fn annotated(&self) -> bool {
        self.annotated
    }
}

/// What came of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Moved {
    /// From the request to drain it to its last byte.
    pub(super) drain: Option<Duration>,
    /// Requests that were cut at the drain's deadline.
    pub(super) cut: u64,
    pub(super) replaced_by: Vec<String>,
    /// A replacement that is not held either, and why.
    pub(super) not_better: Option<String>,
}

/// What there was before a pod was moved.
struct Before {
    status: Status,
    uids: BTreeSet<String>,
}

impl Mover<'_> {
    /// Moves the pod. Nothing where it is gone, or on its way out, already.
    pub(super) async fn move_pod(
        &self,
        pod: &Pod,
        choice: &Choice,
        mark: &mut Mark,
    ) -> Result<Option<Moved>, Failure> {
        let deadline = Instant::now() + self.limit;
        let Some(before) = self.begin(pod, choice, deadline).await? else {
            return Ok(None);
        };
        let mut moved = Moved::default();
        if *choice == Choice::Drain {
            let begun = Instant::now();
            moved.cut = self.drain(pod, &before, mark, deadline).await?;
            moved.drain = Some(begun.elapsed());
        }
        self.evict(pod, mark, deadline).await?;
        let new = self.replaced(pod, &before, deadline).await?;
        moved.not_better = new.iter().find_map(|pod| {
            let gaps = protection(pod).gaps();
            let worst = gaps.first().filter(|_| lacks_the_hook(&gaps))?;
            Some(format!("{}: {worst}", name(pod)))
        });
        moved.replaced_by = new.iter().map(|pod| name(pod).to_owned()).collect();
        Ok(Some(moved))
    }

    /// Takes back what was done to the pod; says how, where that cannot be done.
    pub(super) async fn put_back(&self, pod: &Pod, mark: &Mark) -> Result<(), Failure> {
        if !mark.annotated || mark.evicted {
            return Ok(());
        }
        let previous = pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(ADMIN_STATE));
        let mut last = String::new();
        for _ in 0..PUT_BACK_TRIES {
            let asked = timeout(LOOK, self.cluster.mark(pod, previous.map(String::as_str)));
            match asked.await {
                Ok(Ok(())) => return Ok(()),
                // Gone, or another by its name: nothing to take back.
                Ok(Err(error)) if is_code(&error, 404) || is_code(&error, 422) => return Ok(()),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => "no answer".clone_into(&mut last),
            }
            sleep(PAUSE).await;
        }
        let namespace = &self.workload.namespace;
        let undo = previous.map_or_else(
            || format!("{ADMIN_STATE}-"),
            |state| format!("--overwrite {ADMIN_STATE}={state}"),
        );
        Err(Failure::Other(anyhow::anyhow!(
            "pod {} still drains and could not be put back ({last}): kubectl annotate pod {} --namespace {namespace} {undo}",
            name(pod),
            name(pod),
        )))
    }

    /// Waits until the pod may go: the others are there, and each of its Backends can do without it.
    async fn begin(
        &self,
        pod: &Pod,
        choice: &Choice,
        deadline: Instant,
    ) -> Result<Option<Before>, Failure> {
        self.patience(pod, deadline)
            .until(PAUSE, async || {
                let workload = self.workload.again(self.cluster).await?;
                let pods = workload.pods(self.cluster).await?;
                let is_it = |one: &&Pod| one.metadata.uid == pod.metadata.uid;
                let Some(own) = pods.iter().find(is_it) else {
                    return Ok(Look::Done(None));
                };
                if own.metadata.deletion_timestamp.is_some() {
                    return Ok(Look::Done(None));
                }
                let others = pods
                    .iter()
                    .filter(|one| !is_it(one) && is_ready(one))
                    .count();
                if others + 1 < workload.wanted {
                    return Ok(Look::NotYet(format!(
                        "waits: {others} of the {} other pods of {workload} are ready",
                        workload.wanted - 1
                    )));
                }
                let Some(status) = self.status().await? else {
                    return Ok(Look::NotYet("waits until lastcall is ready".to_owned()));
                };
                if *choice == Choice::Drain {
                    match serving::may_leave(&status, uid(pod)) {
                        Departure::May => {}
                        Departure::Wait(backend) => {
                            return Ok(Look::NotYet(format!(
                                "waits until another endpoint of Backend {backend} is in service"
                            )));
                        }
                        Departure::Last(backend) => return Err(self.last_of(pod, &backend)),
                    }
                }
                let uids = pods.iter().map(|pod| uid(pod).to_owned()).collect();
                Ok(Look::Done(Some(Before { status, uids })))
            })
            .await
    }

    fn last_of(&self, pod: &Pod, backend: &str) -> Failure {
        let Workload {
            kind,
            name: workload,
            namespace,
            wanted,
            ..
        } = self.workload;
        let what_now = match kind {
            super::workload::Kind::DaemonSet => {
                "Let another node run it first, or restart it when nobody asks it".to_owned()
            }
            _ => format!(
                "Let its replacement come first: kubectl scale {}/{workload} --namespace {namespace} --replicas={} (or an autoscaler's minReplicas), then this command again, then back to {wanted}: the pods that are left are held by then, and lose nothing",
                kind.name(),
                wanted + 1
            ),
        };
        Failure::Other(anyhow::anyhow!(
            "pod {} is the only endpoint of Backend {backend}: drained, it would leave its clients without one, and evicted without that, it would lose what is in flight. It was left alone. {what_now}",
            name(pod)
        ))
    }

    /// Tells the pod to drain and waits until nothing is in flight on it, in any Backend. Returns how many
    /// requests were cut.
    async fn drain(
        &self,
        pod: &Pod,
        before: &Before,
        mark: &mut Mark,
        deadline: Instant,
    ) -> Result<u64, Failure> {
        // Before it is asked: an answer that is lost may have been yes.
        mark.annotated = true;
        let namespace = Some(self.workload.namespace.as_str());
        let patience = self.patience(pod, deadline);
        let told = patience
            .until(PAUSE, async || {
                match self.cluster.mark(pod, Some("Draining")).await {
                    Ok(()) => Ok(Look::Done(())),
                    Err(error) => Err(self.cluster.failed("patch", "pods", namespace, &error)),
                }
            })
            .await;
        // The API server has refused: nothing was written.
        mark.annotated = matches!(told, Ok(()) | Err(Failure::NotReached(_)));
        told?;
        let cut_before = serving::progress(&before.status, uid(pod)).cut;
        let mut cut = 0;
        self.patience(pod, deadline)
            .until(PAUSE, async || {
                let Some(status) = self.status().await? else {
                    return Ok(Look::NotYet("drains; lastcall is not ready".to_owned()));
                };
                let seen = serving::progress(&status, uid(pod));
                // What a lastcall that was restarted meanwhile counted before is gone with it.
                cut = cut.max(seen.cut.saturating_sub(cut_before));
                Ok(match seen.left {
                    0 => Look::Done(()),
                    _ => Look::NotYet(format!("drains: {} in flight", seen.in_flight)),
                })
            })
            .await?;
        self.progress.say(name(pod), "drained");
        Ok(cut)
    }

    /// Evicts the pod, as often as budgets refuse it.
    async fn evict(&self, pod: &Pod, mark: &mut Mark, deadline: Instant) -> Result<(), Failure> {
        let namespace = self.workload.namespace.as_str();
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: pod.metadata.name.clone(),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                preconditions: Some(Preconditions {
                    uid: pod.metadata.uid.clone(),
                    ..Preconditions::default()
                }),
                ..DeleteOptions::default()
            }),
        };
        let pods = self.cluster.api::<Pod>(namespace);
        self.patience(pod, deadline)
            .until(EVICTION_PAUSE, async || {
                let asked = pods
                    .create_subresource::<_, kube::core::Status>(
                        "eviction",
                        name(pod),
                        &PostParams::default(),
                        &eviction,
                    )
                    .await;
                let Err(error) = asked else {
                    return Ok(Look::Done(()));
                };
                match &error {
                    kube::Error::Api(status) if status.code == 429 => Ok(Look::NotYet(format!(
                        "eviction refused for now: {}",
                        status.message
                    ))),
                    kube::Error::Api(status) if status.code == 404 => Ok(Look::Done(())),
                    // Another has its name by now; or a budget was changed by others at this moment.
                    kube::Error::Api(status) if status.code == 409 => {
                        if self.stays(pod).await? {
                            Ok(Look::NotYet(format!(
                                "eviction refused for now: {}",
                                status.message
                            )))
                        } else {
                            Ok(Look::Done(()))
                        }
                    }
                    // More than one budget selects it: asking again does not help.
                    kube::Error::Api(status) if status.code == 500 => Err(Failure::Other(
                        anyhow::anyhow!("pod {} cannot be evicted: {}", name(pod), status.message),
                    )),
                    _ => {
                        Err(self
                            .cluster
                            .failed("create", "pods/eviction", Some(namespace), &error))
                    }
                }
            })
            .await?;
        mark.evicted = true;
        self.progress.say(name(pod), "evicted");
        Ok(())
    }

    /// Whether this very pod is there and nobody has asked it to end.
    async fn stays(&self, pod: &Pod) -> Result<bool, Failure> {
        let pods = self.workload.pods(self.cluster).await?;
        let own = pods.iter().find(|one| uid(one) == uid(pod));
        Ok(own.is_some_and(|own| own.metadata.deletion_timestamp.is_none()))
    }

    /// Waits until the workload has all its pods again, and what is new serves where the old one did.
    async fn replaced(
        &self,
        pod: &Pod,
        before: &Before,
        deadline: Instant,
    ) -> Result<Vec<Pod>, Failure> {
        let wanted_in = serving::backends(&before.status, uid(pod));
        self.patience(pod, deadline)
            .until(PAUSE, async || {
                let workload = self.workload.again(self.cluster).await?;
                let pods = workload.pods(self.cluster).await?;
                let ready: Vec<&Pod> = pods.iter().filter(|one| is_ready(one)).collect();
                let left = ready.iter().filter(|one| uid(one) != uid(pod)).count();
                if left < workload.wanted {
                    return Ok(Look::NotYet(format!(
                        "is being replaced: {left} of {} pods of {workload} are ready",
                        workload.wanted
                    )));
                }
                let Some(status) = self.status().await? else {
                    return Ok(Look::NotYet(
                        "is replaced; lastcall is not ready".to_owned(),
                    ));
                };
                let new = || ready.iter().filter(|one| !before.uids.contains(uid(one)));
                let late = new().find_map(|one| {
                    let backend = serving::missing(&status, uid(one), &wanted_in)?;
                    Some(format!(
                        "{} is ready, and not yet in service in Backend {backend}",
                        name(one)
                    ))
                });
                Ok(match late {
                    Some(late) => Look::NotYet(late),
                    None => Look::Done(new().map(|one| (*one).clone()).collect()),
                })
            })
            .await
    }

    fn patience<'a>(&'a self, pod: &'a Pod, deadline: Instant) -> Patience<'a> {
        Patience {
            pod: name(pod),
            deadline,
            progress: self.progress,
        }
    }

    /// lastcall's status; nothing where it does not know all yet.
    async fn status(&self) -> Result<Option<Status>, Failure> {
        let status: Status = self.lastcall.get(Route::Status.path()).await?;
        Ok(Some(status).filter(serving::is_complete))
    }
}

pub(super) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}
