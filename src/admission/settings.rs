//! What an injection is told: the installation's settings, and what the cluster says of one pod.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

use crate::api::pods::{DISABLED, ENABLED};
use crate::api::protection::drain_label;

/// What the installation wants of the hook.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How a pod asks to be held.
    pub mode: HookMode,
    /// Report and change nothing.
    pub observe_only: bool,
    /// Drain timeout of pods that no Backend selects yet, in seconds.
    pub drain_timeout_seconds: u32,
    /// To how much, at most, a pod's grace period is raised, in seconds.
    pub max_grace_seconds: u32,
    /// Where holds are asked for.
    pub service: HookService,
}

/// The Service of the hook server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookService {
    /// Its DNS name, whole: `lastcall-hook.lastcall.svc.cluster.local`.
    pub name: String,
    /// Its `ClusterIP`.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The CA its certificate is checked by, in PEM.
    pub ca_pem: String,
}

/// How a pod asks to be held.
#[derive(Clone, Debug, PartialEq)]
pub enum HookMode {
    /// `lastcall-hold` runs in the pod's containers.
    Exec(Delivery),
    /// The kubelet calls. `PodSecurity` forbids it (baseline and restricted, from Kubernetes 1.34).
    HttpGet,
}

/// How `lastcall-hold` comes into a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// An init container copies it into an emptyDir.
    InitContainer {
        /// An image that has it in its root.
        image: String,
        /// The image's pull policy; Kubernetes' default where absent.
        pull_policy: Option<String>,
        /// The init container's. Requests equal to limits keep a pod of class Guaranteed so.
        resources: ResourceRequirements,
    },
    /// The image itself is mounted (Kubernetes 1.35, or the feature gate `ImageVolume`).
    ImageVolume {
        /// An image that has it in its root.
        image: String,
        /// The image's pull policy; Kubernetes' default where absent.
        pull_policy: Option<String>,
    },
}

/// What the cluster says of a pod that is about to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// The longest drain timeout of the Backends that select it, in seconds; `None` where none does.
    pub backend_timeout_seconds: Option<u32>,
    /// The value of its namespace's label `lastcall.dev/drain`.
    pub namespace_label: Option<String>,
    /// Whether its namespace refuses pods in `HTTPGet` mode; see [`super::pod_security::forbids_host`].
    pub forbids_host: bool,
}

/// All that decides about one pod.
#[derive(Clone, Debug)]
pub struct InjectRequest<'a> {
    /// The pod's namespace; a pod that is about to be made may not say it itself.
    pub namespace: &'a str,
    /// What the installation wants.
    pub settings: &'a Settings,
    /// What the cluster says of the pod.
    pub facts: &'a PodFacts,
    /// The pod's id in `HTTPGet` mode, random: 63 characters of a DNS label at most.
    pub hook_id: &'a str,
}

impl InjectRequest<'_> {
    /// The drain timeout of a pod that is to get the hook, in seconds; `None` where it is not to get
    /// one. The narrowest word counts: the pod's label, its namespace's, the Backends.
    pub fn wanted(&self, pod: &Pod) -> Option<u32> {
        let said = drain_label(pod).or(self.facts.namespace_label.as_deref());
        let selected = self.facts.backend_timeout_seconds;
        match said {
            Some(DISABLED) => None,
            Some(ENABLED) => Some(selected.unwrap_or(self.settings.drain_timeout_seconds)),
            _ => selected,
        }
    }
}
