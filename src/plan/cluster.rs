//! What a cluster knows, trimmed to what is used, and the [`Facts`] that follow from it. `source` fills a
//! [`Cluster`], `app` passes it through [`facts`] to `plan`; the hook server and the controller read it.
//!
//! Plain values: no clock, no client. There may be tens of thousands of pods, so each is kept small
//! (below 1 KiB) and shared.

mod endpoints;
mod selecting;
mod selector;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::protection::NotProtected;
use crate::model::ObjectName;
use crate::plan::Secrets;

pub use endpoints::facts;
pub use selecting::selecting;

/// All that is known of a cluster at one moment. Kinds are watched apart, so one may be ahead of another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Services.
    pub services: BTreeMap<ObjectName, Arc<Service>>,
    /// EndpointSlices.
    pub slices: BTreeMap<ObjectName, Arc<Slice>>,
    /// Pods.
    pub pods: BTreeMap<ObjectName, Arc<Pod>>,
    /// Nodes, by name.
    pub nodes: BTreeMap<Arc<str>, Arc<Node>>,
    /// Secrets of type kubernetes.io/tls.
    pub secrets: Arc<Secrets>,
}

impl Cluster {
    /// The pod with that UID. Looks at every pod: not for what happens once a request.
    pub fn pod_by_uid(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.values().find(|pod| *pod.uid == *uid)
    }
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its TCP ports.
    pub ports: Box<[ServicePort]>,
    /// Its address families, the first one first. Empty where it has no addresses.
    pub families: Box<[Family]>,
    /// It is a name for something outside (type `ExternalName`) and has no endpoints.
    pub external: bool,
    /// The labels of the pods that it leads to; none where its slices are made by somebody else.
    pub selector: Labels,
}

/// One port of a Service. Its EndpointSlices call it by the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty where the Service has only one and does not name it.
    pub name: Box<str>,
    /// Its number at the Service, not at the pods.
    pub port: u16,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IP version 4.
    V4,
    /// IP version 6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// An EndpointSlice: some of the endpoints of one Service, of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// The name of its Service, in its own namespace.
    pub service: Arc<str>,
    /// Its TCP ports that have a number.
    pub ports: Box<[ServicePort]>,
    /// Its endpoints.
    pub endpoints: Box<[SliceEndpoint]>,
}

/// One endpoint of a slice, its conditions as they are written: absent is not false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its first address: all of them are the same endpoint, and the API asks for the first.
    pub address: IpAddr,
    /// Takes requests. False while it terminates.
    pub ready: Option<bool>,
    /// As `ready`, whether it terminates or not.
    pub serving: Option<bool>,
    /// Its pod has a deletionTimestamp.
    pub terminating: Option<bool>,
    /// The pod it is; absent for an address that somebody wrote into the slice.
    pub pod: Option<PodRef>,
}

/// Which pod is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Its namespace and name.
    pub name: ObjectName,
    /// Its UID: a name can come back (PITFALLS 13).
    pub uid: Option<Arc<str>>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace and name.
    pub name: ObjectName,
    /// Its UID, which no other pod ever has.
    pub uid: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// What its condition Ready says. Stale during node shutdown and eviction (PITFALLS 32).
    pub ready: bool,
    /// Where it has a deletionTimestamp, its deletionGracePeriodSeconds.
    pub deletion: Option<Duration>,
    /// What its spec grants: `terminationGracePeriodSeconds`.
    pub grace: Duration,
    /// What it granted before the hook was added: `lastcall.dev/original-grace-seconds`.
    pub original_grace: Option<Duration>,
    /// A drain of it lasts at least this long: `lastcall.dev/min-seconds`, what its `sleep` hook was.
    pub min: Duration,
    /// All its containers have ended for good: phase Succeeded or Failed.
    pub over: bool,
    /// Its addresses, at most one of a family, the first one first.
    pub addresses: Box<[IpAddr]>,
    /// The TCP ports that its containers name.
    pub ports: Box<[PodPort]>,
    /// The annotation [`ADMIN_STATE`](crate::api::pods::ADMIN_STATE), as it is written.
    pub admin_state: Option<Box<str>>,
    /// Its regular containers, in the order of its spec.
    pub containers: Box<[Container]>,
    /// The Node it runs on.
    pub node: Option<Arc<str>>,
    /// Why it is not held when it is stopped; empty where it is.
    pub gaps: Box<[NotProtected]>,
}

impl Pod {
    /// One for tests: ready, held when it is stopped, and nothing else known of it.
    #[cfg(test)]
    pub(crate) fn sample(name: ObjectName, uid: &str) -> Self {
        Self {
            name,
            uid: uid.into(),
            labels: Labels::default(),
            ready: true,
            deletion: None,
            grace: Duration::from_secs(30),
            original_grace: None,
            min: Duration::ZERO,
            over: false,
            addresses: Box::default(),
            ports: Box::default(),
            admin_state: None,
            containers: Box::default(),
            node: None,
            gaps: Box::default(),
        }
    }

    /// Why it is not held when it is stopped, for people; nothing where it is.
    pub fn unprotected(&self) -> Option<String> {
        self.gaps.first().map(ToString::to_string)
    }
}

/// A named port of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPort {
    /// Its name, unique in the pod.
    pub name: Box<str>,
    /// Its number.
    pub port: u16,
}

/// A container, as the kubelet last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: Box<str>,
    /// How often it was started again: where this has grown and it is ready, it has come back (Law 6).
    pub restarts: u32,
    /// Its own readiness.
    pub ready: bool,
}

/// A Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// What its condition Ready says.
    pub ready: Readiness,
    /// Its kubelet says that the machine is being shut down (PITFALLS 12).
    pub shutting_down: bool,
}

/// A Node's condition Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Its kubelet says so.
    Ready,
    /// Its kubelet says that it is not.
    NotReady,
    /// Its kubelet has not been heard of for a while, or never.
    Unknown,
}

/// Labels. One text of `key=value` lines, sorted: a third of what a map takes, and a pod's are its largest
/// part. Neither sign can be in a label (Kubernetes: "Labels and Selectors", syntax and character set).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<str>);

impl Labels {
    /// The value of that label.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.iter().find(|(own, _)| *own == key);
        found.map(|(_, value)| value)
    }

    /// All of them, in an order of their own.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.split_once('='))
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let own = labels.into_iter();
        let mut lines: Vec<String> = own
            .map(|(key, value)| format!("{}={}\n", key.as_ref(), value.as_ref()))
            .collect();
        lines.sort();
        Self(lines.concat().into())
    }
}
