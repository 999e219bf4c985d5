//! Whether a pod is held when it is stopped, and why not: read from the pod itself, so it is true also of pods
//! that are older than the installation or that the webhook missed (PITFALLS 27). Pure: the webhook's
//! warnings, status and Events are made of it.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::pods::{DISABLED, DRAIN, HOLD_DIRECTORY, HOOK_ID, TOKEN_DIRECTORY};
use super::pre_stop::{self, PreStop};

/// Annotation of the mirror pod that a kubelet makes of a static one.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether a pod is held when it is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Each of its regular containers is.
    Protected,
    /// Some containers are; these are not.
    PartlyProtected(Vec<NotProtected>),
    /// None is.
    Unprotected(Vec<NotProtected>),
}

impl Protection {
    /// Why it is not held, or not in all of its containers; empty where it is.
    pub fn gaps(self) -> Vec<NotProtected> {
        match self {
            Protection::Protected => Vec::new(),
            Protection::PartlyProtected(gaps) | Protection::Unprotected(gaps) => gaps,
        }
    }
}

/// Why a pod, or one of its containers, is not held when it is stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProtected {
    /// It says that it must not be.
    #[error("the pod has the label lastcall.dev/drain: disabled")]
    Disabled,
    /// It comes from a file of its node; the kubelet reads nothing else.
    #[error("it is a static pod: its kubelet does not see what is added here")]
    StaticPod,
    /// `lastcall-hold` is a Linux program.
    #[error("lastcall-hold does not run on Windows; HTTPGet mode would hold it")]
    Windows,
    /// A hook that names a host would make the API server refuse the pod.
    #[error(
        "Pod Security of the namespace forbids hooks that name a host, as HTTPGet mode needs; exec mode would hold it"
    )]
    PodSecurity,
    /// The pod has a volume or container of its own with a name that the hook needs.
    #[error("the pod has a {kind} of its own named {name}; the hook needs that name")]
    NameTaken {
        /// `volume` or `container`.
        kind: &'static str,
        /// The name.
        name: &'static str,
    },
    /// The container mounts something of its own where the hook's files must be.
    #[error("container {container} mounts a volume of its own at {path}; the hook needs that path")]
    PathTaken {
        /// The container.
        container: String,
        /// The path.
        path: &'static str,
    },
    /// The container has a preStop hook of its own, which was kept.
    #[error(
        "container {container} has a preStop hook of its own, which is kept; to be held, it must run lastcall-hold or have none"
    )]
    OwnPreStop {
        /// The container.
        container: String,
    },
    /// The container has no hook: it is older than the installation or the Backend, or the webhook did
    /// not answer when it was made.
    #[error(
        "container {container} has no hook: the pod was made without it; one that is made now gets it"
    )]
    NoHook {
        /// The container.
        container: String,
    },
    /// The container has the hook and lacks what the hook needs: another program took it out.
    #[error("container {container} has the hook, and nothing is mounted at {path}: the hook fails")]
    HookIncomplete {
        /// The container.
        container: String,
        /// The path.
        path: &'static str,
    },
    /// The container's hook calls by an id that its pod does not have: another program changed the label.
    #[error(
        "container {container} has the hook, and its pod has not the id that it calls by as its label lastcall.dev/hook-id: nobody is found by it"
    )]
    HookIdLost {
        /// The container.
        container: String,
    },
}

impl NotProtected {
    /// One CamelCase word, for conditions, Events and metrics; it does not change.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Disabled => "DrainDisabled",
            Self::StaticPod => "StaticPod",
            Self::Windows => "WindowsPod",
            Self::PodSecurity => "PodSecurity",
            Self::NameTaken { .. } => "NameTaken",
            Self::PathTaken { .. } => "PathTaken",
            Self::OwnPreStop { .. } => "OwnPreStop",
            Self::NoHook { .. } => "NoHook",
            Self::HookIncomplete { .. } => "HookIncomplete",
            Self::HookIdLost { .. } => "HookIdLost",
        }
    }
}

/// Whether the pod, as it is, is held when it is stopped.
pub fn protection(pod: &Pod) -> Protection {
    if drain_label(pod) == Some(DISABLED) {
        return Protection::Unprotected(vec![NotProtected::Disabled]);
    }
    if is_static(pod) {
        return Protection::Unprotected(vec![NotProtected::StaticPod]);
    }
    let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
    let labels = pod.metadata.labels.as_ref();
    let id = labels
        .and_then(|labels| labels.get(HOOK_ID))
        .map(String::as_str);
    let gaps: Vec<NotProtected> = containers.iter().filter_map(|one| gap(one, id)).collect();
    if gaps.is_empty() {
        Protection::Protected
    } else if gaps.len() < containers.len() {
        Protection::PartlyProtected(gaps)
    } else {
        Protection::Unprotected(gaps)
    }
}

/// Why this container of a pod with that hook id is not held; `None` where it is.
fn gap(container: &Container, id: Option<&str>) -> Option<NotProtected> {
    let name = container.name.clone();
    match pre_stop::of(container) {
        PreStop::OurHttpGet => (pre_stop::called_id(container) != id || id.is_none())
            .then_some(NotProtected::HookIdLost { container: name }),
        PreStop::OurExec => [HOLD_DIRECTORY, TOKEN_DIRECTORY]
            .into_iter()
            .find(|path| !mounts(container, path))
            .map(|path| NotProtected::HookIncomplete {
                container: name,
                path,
            }),
        PreStop::Absent | PreStop::Sleep(_) => Some(NotProtected::NoHook { container: name }),
        PreStop::Own => Some(NotProtected::OwnPreStop { container: name }),
    }
}

fn mounts(container: &Container, path: &str) -> bool {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    mounts.iter().any(|mount| mount.mount_path == path)
}

/// The value of the pod's own label `lastcall.dev/drain`.
pub fn drain_label(pod: &Pod) -> Option<&str> {
    let labels = pod.metadata.labels.as_ref()?;
    labels.get(DRAIN).map(String::as_str)
}

/// Whether it is the mirror of a pod in a file of its node.
pub fn is_static(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(MIRROR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pod: &str) -> Vec<&'static str> {
        match protection(&serde_saphyr::from_str(pod).unwrap()) {
            Protection::Protected => vec!["Protected"],
            Protection::PartlyProtected(gaps) => ["Partly"]
                .into_iter()
                .chain(gaps.iter().map(NotProtected::reason))
                .collect(),
            Protection::Unprotected(gaps) => gaps.iter().map(NotProtected::reason).collect(),
        }
    }

    const HELD: &str = "{name: a, lifecycle: {preStop: {exec: {command: [/.lastcall/lastcall-hold, --pod]}}}, volumeMounts: [{name: l, mountPath: /.lastcall}, {name: t, mountPath: /.lastcall-token}]}";
    const BARE: &str = "{name: b}";
    const OWN: &str = "{name: c, lifecycle: {preStop: {exec: {command: [/quit]}}}}";
    const STRIPPED: &str =
        "{name: d, lifecycle: {preStop: {exec: {command: [/.lastcall/lastcall-hold, --pod]}}}}";
    const CALLED: &str =
        "{name: e, lifecycle: {preStop: {httpGet: {path: /v1/prestop/a/b/e, port: 1}}}}";
    const CALLED_OTHERWISE: &str =
        "{name: e, lifecycle: {preStop: {httpGet: {path: /v1/prestop/a/x/e, port: 1}}}}";
    const NAMED: &str = "{name: g, lifecycle: {preStop: {exec: {command: [/bin/other, --pod]}}}}";
    const NOTHING: &str = "{name: h, lifecycle: {preStop: {exec: {}}}}";
    const QUITS: &str = "{name: i, lifecycle: {preStop: {httpGet: {path: /quit, port: 1}}}}";
    const SLEEPS: &str = "{name: f, lifecycle: {preStop: {sleep: {seconds: 5}}}}";

    #[test]
    fn a_pod_is_protected_when_each_of_its_containers_is() {
        for (containers, expected) in [
            (vec![HELD], &["Protected"][..]),
            (vec![CALLED], &["Protected"]),
            (vec![HELD, CALLED], &["Protected"]),
            (vec![BARE], &["NoHook"]),
            (vec![SLEEPS], &["NoHook"]),
            (vec![OWN], &["OwnPreStop"]),
            (vec![HELD, BARE, OWN], &["Partly", "NoHook", "OwnPreStop"]),
            (vec![HELD, STRIPPED], &["Partly", "HookIncomplete"]),
            (vec![STRIPPED], &["HookIncomplete"]),
            (vec![CALLED_OTHERWISE], &["HookIdLost"]),
            (vec![NAMED], &["OwnPreStop"]),
            (vec![NOTHING], &["OwnPreStop"]),
            (vec![QUITS], &["OwnPreStop"]),
            (vec![HELD, BARE], &["Partly", "NoHook"]),
            (vec![BARE, OWN], &["NoHook", "OwnPreStop"]),
        ] {
            // A native sidecar needs no hook: it waits for the others.
            let sidecar = "initContainers: [{name: mesh, restartPolicy: Always}]";
            let containers = containers.join(", ");
            let named = "metadata: {labels: {lastcall.dev/hook-id: b}}";
            let pod = format!("{{{named}, spec: {{containers: [{containers}], {sidecar}}}}}");
            assert_eq!(of(&pod), expected, "{pod}");
            let declines = "metadata: {labels: {lastcall.dev/drain: disabled}}";
            let pod = format!("{{{declines}, spec: {{containers: [{containers}]}}}}");
            assert_eq!(of(&pod), ["DrainDisabled"], "{pod}");
        }
    }

    #[test]
    fn what_the_pod_is_counts_before_its_containers() {
        for (metadata, expected) in [
            ("{labels: {lastcall.dev/drain: disabled}}", "DrainDisabled"),
            ("{labels: {lastcall.dev/drain: enabled}}", "NoHook"),
            (
                "{annotations: {kubernetes.io/config.mirror: x}}",
                "StaticPod",
            ),
        ] {
            let pod = format!("{{metadata: {metadata}, spec: {{containers: [{BARE}]}}}}");
            assert_eq!(of(&pod), [expected], "{pod}");
        }
    }

    #[test]
    fn a_pod_without_the_id_that_its_hook_calls_by_is_found_by_nobody() {
        let pod = |metadata| format!("{{metadata: {metadata}, spec: {{containers: [{CALLED}]}}}}");
        assert_eq!(of(&pod("{}")), ["HookIdLost"]);
        assert_eq!(
            of(&pod("{labels: {lastcall.dev/hook-id: b}}")),
            ["Protected"]
        );
    }

    #[test]
    fn what_is_not_protected_says_why() {
        let container = || "app".to_owned();
        for (gap, reason, says) in [
            (
                NotProtected::Disabled,
                "DrainDisabled",
                "lastcall.dev/drain",
            ),
            (
                NotProtected::NoHook {
                    container: container(),
                },
                "NoHook",
                "container app",
            ),
            (
                NotProtected::OwnPreStop {
                    container: container(),
                },
                "OwnPreStop",
                "preStop",
            ),
        ] {
            let sentence = gap.to_string();
            assert!(
                gap.reason() == reason && sentence.contains(says),
                "{sentence}"
            );
        }
    }
}
