//! What has pods and replaces them: a `Deployment`, a `StatefulSet`, a `DaemonSet`; and which pods are its own.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::api::ListParams;
use kube::core::Selector;
use serde::de::DeserializeOwned;

use crate::cli::Failure;
use crate::cli::cluster::{Cluster, is_code};

/// What replaces its pods when they are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Kind {
    /// As kubectl writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Deployment => "deployment",
            Kind::StatefulSet => "statefulset",
            Kind::DaemonSet => "daemonset",
        }
    }

    fn resource(self) -> &'static str {
        match self {
            Kind::Deployment => "deployments",
            Kind::StatefulSet => "statefulsets",
            Kind::DaemonSet => "daemonsets",
        }
    }

    /// The kind of an owner of pods.
    fn of_owner(kind: &str) -> Option<Self> {
        match kind {
            "Deployment" => Some(Kind::Deployment),
            "StatefulSet" => Some(Kind::StatefulSet),
            "DaemonSet" => Some(Kind::DaemonSet),
            _ => None,
        }
    }
}

/// What the command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Workload(Kind, String),
    /// A pod, which is refused with what it belongs to.
    Pod(String),
}

impl Named {
    /// Reads `deployment/NAME` and what else kubectl would call it.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let forms = "deployment/NAME, statefulset/NAME or daemonset/NAME";
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
                (kind, name.to_owned())
            }
            _ => return Err(Failure::Usage(format!("{text:?} is not {forms}"))),
        };
        let kind = kind.split('.').next().unwrap_or_default();
        match kind.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" => Ok(Named::Workload(Kind::Deployment, name)),
            "statefulset" | "statefulsets" | "sts" => Ok(Named::Workload(Kind::StatefulSet, name)),
            "daemonset" | "daemonsets" | "ds" => Ok(Named::Workload(Kind::DaemonSet, name)),
            "pod" | "pods" | "po" => Ok(Named::Pod(name)),
            "job" | "jobs" | "cronjob" | "cronjobs" | "cj" => Err(Failure::Usage(format!(
                "{text} is not moved: a Job's pod that is evicted has its work done again from the beginning, or not at all; let it end"
            ))),
            _ => Err(Failure::Usage(format!("{text:?} is not {forms}"))),
        }
    }
}

/// A workload, as it is now.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    uid: String,
    selector: Selector,
    /// Pods that it shall have.
    pub(super) wanted: usize,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.name)
    }
}

impl Workload {
    /// Reads it.
    pub(super) async fn read(
        cluster: &Cluster,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Self, Failure> {
        let (metadata, selector, wanted) = match kind {
            Kind::Deployment => {
                let found: Deployment = get(cluster, kind, namespace, name).await?;
                let replicas = found.spec.replicas.unwrap_or(1);
                (found.metadata, found.spec.selector, replicas)
            }
            Kind::StatefulSet => {
                let found: StatefulSet = get(cluster, kind, namespace, name).await?;
                let replicas = found.spec.replicas.unwrap_or(1);
                (found.metadata, found.spec.selector, replicas)
            }
            Kind::DaemonSet => {
                let found: DaemonSet = get(cluster, kind, namespace, name).await?;
                let status = found.status.unwrap_or_default();
                let wanted = status.desired_number_scheduled;
                (found.metadata, found.spec.selector, wanted)
            }
        };
        Ok(Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: metadata.uid.unwrap_or_default(),
            selector: readable(selector, kind, name)?,
            wanted: usize::try_from(wanted).unwrap_or(0),
        })
    }

    /// The same, as it is by now.
    pub(super) async fn again(&self, cluster: &Cluster) -> Result<Self, Failure> {
        Self::read(cluster, self.kind, &self.namespace, &self.name).await
    }

    /// Its pods, by name: those that have not ended for good.
    pub(super) async fn pods(&self, cluster: &Cluster) -> Result<Vec<Pod>, Failure> {
        let selected = ListParams::default().labels_from(&self.selector);
        let namespace = Some(self.namespace.as_str());
        let mut owners = BTreeSet::from([self.uid.clone()]);
        if self.kind == Kind::Deployment {
            let sets = cluster
                .api::<ReplicaSet>(&self.namespace)
                .list(&selected)
                .await;
            let sets = sets.map_err(|e| cluster.failed("list", "replicasets", namespace, &e))?;
            let own = sets
                .items
                .iter()
                .filter(|set| is_of(&set.metadata, &owners));
            owners = own.filter_map(|set| set.metadata.uid.clone()).collect();
        }
        let pods = cluster.api::<Pod>(&self.namespace).list(&selected).await;
        let pods = pods.map_err(|error| cluster.failed("list", "pods", namespace, &error))?;
        let mut own: Vec<Pod> = pods
            .items
            .into_iter()
            .filter(|pod| is_of(&pod.metadata, &owners) && !is_over(pod))
            .collect();
        own.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        Ok(own)
    }
}

async fn get<K>(cluster: &Cluster, kind: Kind, namespace: &str, name: &str) -> Result<K, Failure>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + fmt::Debug,
    K::DynamicType: Default,
{
    let found = cluster.api::<K>(namespace).get(name).await;
    found.map_err(|error| {
        if is_code(&error, 404) {
            Failure::Usage(format!(
                "no {}/{name} in namespace {namespace}",
                kind.name()
            ))
        } else {
            cluster.failed("get", kind.resource(), Some(namespace), &error)
        }
    })
}

fn readable(selector: LabelSelector, kind: Kind, name: &str) -> Result<Selector, Failure> {
    Selector::try_from(selector).map_err(|error| {
        Failure::Other(anyhow::anyhow!(
            "the selector of {}/{name}: {error}",
            kind.name()
        ))
    })
}

/// Who sees to it that the object is there.
fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true))
}

fn is_of(metadata: &ObjectMeta, owners: &BTreeSet<String>) -> bool {
    controller(metadata).is_some_and(|owner| owners.contains(&owner.uid))
}

/// All its containers have ended for good.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// What the pod belongs to, as kubectl names it (`deployment/app`, `job/nightly`); nothing for a bare pod. `sets`:
/// the `ReplicaSet`s of its namespace, as far as they are known.
pub(super) fn owner(pod: &Pod, sets: &[ReplicaSet]) -> Option<String> {
    let direct = controller(&pod.metadata)?;
    let set = sets.iter().find(|set| {
        direct.kind == "ReplicaSet" && set.metadata.uid.as_deref() == Some(&direct.uid)
    });
    let top = set
        .and_then(|set| controller(&set.metadata))
        .unwrap_or(direct);
    Some(format!("{}/{}", top.kind.to_ascii_lowercase(), top.name))
}

/// Why `lastcall rollout` does not take what owns this pod; nothing where it does.
pub(super) fn not_moved(owner: Option<&str>) -> Option<&'static str> {
    let kind = owner.and_then(|owner| owner.split('/').next());
    match kind {
        None => Some("a bare pod: nobody would replace it"),
        Some("job") => {
            Some("a Job's pod: its work would be done again from the beginning, or not at all")
        }
        Some("node") => Some("a static pod: its kubelet alone makes it"),
        Some(kind) => {
            let known = ["Deployment", "StatefulSet", "DaemonSet"];
            let is_known = known
                .iter()
                .any(|own| Kind::of_owner(own).is_some() && own.eq_ignore_ascii_case(kind));
            (!is_known).then_some("lastcall rollout takes Deployments, StatefulSets and DaemonSets")
        }
    }
}

/// Why a pod by its own name is refused, and what to do.
pub(super) async fn refuse_pod(cluster: &Cluster, namespace: &str, name: &str) -> Failure {
    let pod = match cluster.api::<Pod>(namespace).get(name).await {
        Ok(pod) => pod,
        Err(error) if is_code(&error, 404) => {
            return Failure::Usage(format!("no pod/{name} in namespace {namespace}"));
        }
        Err(error) => return cluster.failed("get", "pods", Some(namespace), &error),
    };
    let sets = cluster
        .api::<ReplicaSet>(namespace)
        .list(&ListParams::default())
        .await
        // Only for a better word.
        .map_or_else(|_| Vec::new(), |sets| sets.items);
    let owner = owner(&pod, &sets);
    Failure::Usage(match (owner.as_deref(), not_moved(owner.as_deref())) {
        (Some(owner), None) => format!("pod/{name} is one of {owner}: lastcall rollout {owner}"),
        (owner, why) => format!(
            "pod/{name} ({}) is not moved: {}",
            owner.unwrap_or("no owner"),
            why.unwrap_or_default()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_named_as_kubectl_names_it() {
        for (text, kind) in [
            ("deployment/app", Kind::Deployment),
            ("deploy/app", Kind::Deployment),
            ("deployments.apps/app", Kind::Deployment),
            ("sts/app", Kind::StatefulSet),
            ("DaemonSet/app", Kind::DaemonSet),
        ] {
            assert_eq!(
                Named::parse(text).unwrap(),
                Named::Workload(kind, "app".to_owned()),
                "{text}"
            );
        }
        assert_eq!(
            Named::parse("pod/a-1").unwrap(),
            Named::Pod("a-1".to_owned())
        );
        for (text, says) in [
            ("app", "deployment/NAME"),
            ("deployment/", "deployment/NAME"),
            ("deployment/a/b", "deployment/NAME"),
            ("service/app", "deployment/NAME"),
            ("job/nightly", "Job's pod"),
            ("cronjob/nightly", "Job's pod"),
        ] {
            let failure = Named::parse(text).unwrap_err();
            assert!(failure.to_string().contains(says), "{text}: {failure}");
            assert_eq!(failure.exit_code(), 2);
        }
    }

    fn pod(owner: &str) -> Pod {
        let owners = match owner.split_once('/') {
            Some((kind, name)) => format!(
                "[{{apiVersion: v1, kind: {kind}, name: {name}, uid: {name}-uid, controller: true}}]"
            ),
            None => "[]".to_owned(),
        };
        serde_saphyr::from_str(&format!(
            "{{metadata: {{name: a, ownerReferences: {owners}}}}}"
        ))
        .unwrap()
    }

    #[test]
    fn who_would_replace_a_pod_decides_whether_it_is_moved() {
        let set: ReplicaSet = serde_saphyr::from_str(
            "{metadata: {name: app-1, uid: app-1-uid, ownerReferences: [
              {apiVersion: apps/v1, kind: Deployment, name: app, uid: d, controller: true}]}}",
        )
        .unwrap();
        for (direct, named, moved) in [
            ("ReplicaSet/app-1", Some("deployment/app"), true),
            ("ReplicaSet/alone", Some("replicaset/alone"), false),
            ("StatefulSet/db", Some("statefulset/db"), true),
            ("DaemonSet/log", Some("daemonset/log"), true),
            ("Job/nightly", Some("job/nightly"), false),
            ("Node/n1", Some("node/n1"), false),
            ("", None, false),
        ] {
            let owner = owner(&pod(direct), std::slice::from_ref(&set));
            assert_eq!(owner.as_deref(), named);
            assert_eq!(not_moved(owner.as_deref()).is_none(), moved, "{direct}");
        }
    }
}
