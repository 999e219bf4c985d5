//! Pure: all objects and what the cluster knows in; one [`Snapshot`] and a [`Verdict`] for each object
//! out. Called by `app` whenever a source publishes.
//!
//! What passed the door and does not resolve takes only its own listener or route out of service
//! (Law 4): a route without a Backend stays and answers 503, a port that is taken stays with who had
//! it. Nothing here looks at a clock, the time and what ran before are among the facts (TLS keeps its last
//! good content), and everything is sorted, so equal input gives an equal snapshot and nobody is woken for
//! nothing.

pub mod allotment;
mod backend;
mod balance;
pub mod cluster;
mod draining;
mod filters;
mod load_balancer;
mod ports;
mod routes;
mod streams;
pub mod tls;
mod verdict;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::api;
use crate::model::{EndpointSpec, ObjectName, Snapshot};

use allotment::Allotment;
use ports::Ports;
pub use routes::route_faults;
pub use verdict::{Condition, ConditionKind, Fault, Verdict};

/// Everything users wrote, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// All LoadBalancers.
    pub load_balancers: Vec<api::LoadBalancer>,
    /// All Backends.
    pub backends: Vec<api::Backend>,
}

/// What objects do not say themselves and a cluster knows. Empty where there is no cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The endpoints of each Backend whose source is a Service or a selector.
    pub endpoints: BTreeMap<ObjectName, Vec<EndpointSpec>>,
    /// Why such a Backend is not among them.
    pub unresolved: BTreeMap<ObjectName, Unresolved>,
    /// What was not understood of pods' annotations, and is ignored; for people.
    pub warnings: BTreeMap<ObjectName, String>,
    /// The container port of each listener. Where there is no cluster a listener binds its own port.
    pub ports: Option<Allotment>,
    /// The Secrets that hold certificates.
    pub secrets: Arc<Secrets>,
    /// The time, in seconds since 1970: whether a certificate has expired.
    pub now: i64,
    /// What runs.
    pub before: Option<Arc<Snapshot>>,
}

/// Secrets, by namespace and name.
pub type Secrets = BTreeMap<ObjectName, Arc<tls::Secret>>;

/// Why nothing can be said of the endpoints of a Backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// One CamelCase word.
    pub reason: &'static str,
    /// The field of the Backend that names what is not there.
    pub field: String,
    /// What is not there, and what is.
    pub message: String,
}

/// What becomes of the objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What is to run.
    pub snapshot: Snapshot,
    /// What is to be said of each object.
    pub verdicts: BTreeMap<ObjectRef, Verdict>,
}

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A LoadBalancer.
    LoadBalancer,
    /// A Backend.
    Backend,
}

/// Which object is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub name: ObjectName,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

/// Decides what runs and what is said of each object.
pub fn plan(objects: &Objects, facts: &Facts) -> Plan {
    let load_balancers = by_name(&objects.load_balancers, |o| {
        name_of(o.metadata.namespace.as_ref(), o.metadata.name.as_ref())
    });
    let backends = by_name(&objects.backends, |o| {
        name_of(o.metadata.namespace.as_ref(), o.metadata.name.as_ref())
    });

    let ports = match &facts.ports {
        Some(allotted) => Ports::Allotted(allotted),
        None => Ports::Own(ports::allot(&load_balancers)),
    };
    let mut plan = Plan::default();
    for (name, object) in &backends {
        let users = draining::users(name, &load_balancers);
        let (backend, verdict) = backend::plan(name, object, &users, facts);
        plan.snapshot.backends.push(backend);
        plan.say(Kind::Backend, name, verdict);
    }
    for (name, object) in &load_balancers {
        let (load_balancer, verdict) = load_balancer::plan(name, object, &backends, &ports, facts);
        plan.snapshot.load_balancers.push(load_balancer);
        plan.say(Kind::LoadBalancer, name, verdict);
    }
    plan
}

impl Plan {
    fn say(&mut self, kind: Kind, name: &ObjectName, verdict: Verdict) {
        let name = name.clone();
        self.verdicts.insert(ObjectRef { kind, name }, verdict);
    }
}

/// Namespace and name of an object's metadata; where no namespace is named, `default` is meant.
fn name_of(namespace: Option<&String>, name: Option<&String>) -> ObjectName {
    let namespace = namespace.map_or("default", String::as_str);
    ObjectName::new(namespace, name.map_or("", String::as_str))
}

/// Each object with its name, sorted by it, each name once.
fn by_name<T>(objects: &[T], name: impl Fn(&T) -> ObjectName) -> Vec<(ObjectName, &T)> {
    let mut named: Vec<(ObjectName, &T)> = objects.iter().map(|o| (name(o), o)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named.dedup_by(|later, first| later.0 == first.0);
    named
}
