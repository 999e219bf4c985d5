//! All kinds together: what the watches have said so far, and how soon that is to be published. No I/O and
//! no clock. Called by the source's task.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kept::{Change, Difference, Kept};
use super::{ObjectFault, Observed};
use crate::api;
use crate::model::ObjectName;
use crate::plan::cluster::{Cluster, Node, Pod, Service, Slice};
use crate::plan::tls::Secret;
use crate::plan::{Kind, ObjectRef, Objects, Secrets};

/// One step of one watch. The number says which scope it is of: the place of its namespace in the settings.
#[derive(Debug)]
pub(super) enum Seen {
    LoadBalancer(usize, Change<api::LoadBalancer>),
    Backend(usize, Change<api::Backend>),
    Service(usize, Change<Service>),
    Slice(usize, Change<Slice>),
    Pod(usize, Change<Pod>),
    Secret(usize, Change<Secret>),
    Node(Change<Node>),
}

/// How soon what has changed is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Nothing has changed.
    None,
    /// More may be on its way.
    Soon,
    /// A pod is being deleted or is gone: its hook may be called any moment.
    Now,
}

/// What is known of everything.
#[derive(Debug)]
pub(super) struct View {
    load_balancers: Vec<Kept<api::LoadBalancer>>,
    backends: Vec<Kept<api::Backend>>,
    services: Vec<Kept<Service>>,
    slices: Vec<Kept<Slice>>,
    pods: Vec<Kept<Pod>>,
    secrets: Vec<Kept<Secret>>,
    nodes: Kept<Node>,
    /// UIDs of pods that went and were not told of yet.
    gone: Vec<Arc<str>>,
    /// As they were last published, where none has changed since.
    objects: Option<Arc<Objects>>,
    /// The same of the Secrets.
    published_secrets: Option<Arc<Secrets>>,
}

fn scopes<T>(count: usize) -> Vec<Kept<T>> {
    std::iter::repeat_with(Kept::default).take(count).collect()
}

impl View {
    /// Nothing is known, of so many scopes.
    pub fn new(count: usize) -> Self {
        Self {
            load_balancers: scopes(count),
            backends: scopes(count),
            services: scopes(count),
            slices: scopes(count),
            pods: scopes(count),
            secrets: scopes(count),
            nodes: Kept::default(),
            gone: Vec::new(),
            objects: None,
            published_secrets: None,
        }
    }

    /// No Secret will be told of.
    pub fn go_without_secrets(&mut self) {
        for scope in &mut self.secrets {
            scope.take(Change::Complete);
        }
    }

    /// The kinds of which no listing has been complete in some scope.
    pub fn missing(&self) -> Vec<&'static str> {
        let kinds = [
            ("LoadBalancer", all_listed(&self.load_balancers)),
            ("Backend", all_listed(&self.backends)),
            ("Service", all_listed(&self.services)),
            ("EndpointSlice", all_listed(&self.slices)),
            ("Pod", all_listed(&self.pods)),
            ("Secret", all_listed(&self.secrets)),
            ("Node", self.nodes.listed()),
        ];
        let missing = kinds.into_iter().filter(|(_, listed)| !listed);
        missing.map(|(kind, _)| kind).collect()
    }

    /// Takes one step of one watch in.
    pub fn take(&mut self, seen: Seen) -> Urgency {
        match seen {
            Seen::LoadBalancer(scope, change) => {
                let urgency = plain(&mut self.load_balancers[scope], change);
                self.written(urgency)
            }
            Seen::Backend(scope, change) => {
                let urgency = plain(&mut self.backends[scope], change);
                self.written(urgency)
            }
            Seen::Service(scope, change) => plain(&mut self.services[scope], change),
            Seen::Slice(scope, change) => plain(&mut self.slices[scope], change),
            Seen::Node(change) => plain(&mut self.nodes, change),
            Seen::Secret(scope, change) => {
                let urgency = plain(&mut self.secrets[scope], change);
                if urgency != Urgency::None {
                    self.published_secrets = None;
                }
                urgency
            }
            Seen::Pod(scope, change) => {
                let differences = self.pods[scope].take(change).differences;
                let urgency = differences.iter().map(urgency).max();
                self.gone.extend(differences.iter().filter_map(gone));
                urgency.unwrap_or(Urgency::None)
            }
        }
    }

    fn written(&mut self, urgency: Urgency) -> Urgency {
        if urgency != Urgency::None {
            self.objects = None;
        }
        urgency
    }

    /// The UIDs of the pods that have gone since this was last asked. No snapshot of what is known holds them.
    pub fn take_gone(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.gone)
    }

    /// All that is known.
    pub fn observe(&mut self, revision: u64) -> Observed {
        let objects = self.objects.take().unwrap_or_else(|| {
            Arc::new(Objects {
                load_balancers: owned(&self.load_balancers),
                backends: owned(&self.backends),
            })
        });
        self.objects = Some(Arc::clone(&objects));
        let secrets = self
            .published_secrets
            .take()
            .unwrap_or_else(|| Arc::new(shared(&self.secrets)));
        self.published_secrets = Some(Arc::clone(&secrets));
        let nodes = self.nodes.iter();
        let cluster = Cluster {
            services: shared(&self.services),
            slices: shared(&self.slices),
            pods: shared(&self.pods),
            nodes: nodes
                .map(|(name, node)| (Arc::clone(&name.name), Arc::clone(node)))
                .collect(),
            secrets,
        };
        Observed {
            objects,
            cluster: Arc::new(cluster),
            faults: self.faults(),
            revision,
        }
    }

    fn faults(&self) -> Vec<ObjectFault> {
        let load_balancers = self.load_balancers.iter().flat_map(Kept::faults);
        let backends = self.backends.iter().flat_map(Kept::faults);
        let fault = |kind| {
            move |(name, message): (&ObjectName, &str)| ObjectFault {
                object: ObjectRef {
                    kind,
                    name: name.clone(),
                },
                message: message.to_owned(),
            }
        };
        let first = load_balancers.map(fault(Kind::LoadBalancer));
        first.chain(backends.map(fault(Kind::Backend))).collect()
    }
}

fn all_listed<T: PartialEq>(scopes: &[Kept<T>]) -> bool {
    scopes.iter().all(Kept::listed)
}

fn plain<T: PartialEq>(kept: &mut Kept<T>, change: Change<T>) -> Urgency {
    let outcome = kept.take(change);
    if outcome.differences.is_empty() && !outcome.faults_changed {
        Urgency::None
    } else {
        Urgency::Soon
    }
}

/// The UID of a pod that is not there any more; another may have its name.
fn gone(difference: &Difference<Pod>) -> Option<Arc<str>> {
    let before = difference.before.as_ref()?;
    let after = difference.after.as_ref();
    after
        .is_none_or(|after| after.uid != before.uid)
        .then(|| Arc::clone(&before.uid))
}

fn urgency(difference: &Difference<Pod>) -> Urgency {
    let deletion = |pod: &Option<Arc<Pod>>| pod.as_ref().and_then(|pod| pod.deletion);
    let deleted = deletion(&difference.before) != deletion(&difference.after);
    if deleted || gone(difference).is_some() {
        Urgency::Now
    } else {
        Urgency::Soon
    }
}

fn owned<T: Clone + PartialEq>(scopes: &[Kept<T>]) -> Vec<T> {
    let all = scopes.iter().flat_map(Kept::iter);
    all.map(|(_, object)| T::clone(object)).collect()
}

fn shared<T: PartialEq>(scopes: &[Kept<T>]) -> BTreeMap<ObjectName, Arc<T>> {
    let all = scopes.iter().flat_map(Kept::iter);
    all.map(|(name, object)| (name.clone(), Arc::clone(object)))
        .collect()
}
