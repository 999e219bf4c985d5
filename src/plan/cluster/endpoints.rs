//! Which endpoints a Backend has, and how each is, by what the cluster says. The rules of EndpointSlices are
//! those of the Kubernetes API reference (`EndpointConditions`) and of PITFALLS 10–13 and 37.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::selector::Selector;
use super::{Cluster, Family, Pod, Service, ServicePort, Slice, SliceEndpoint};
use crate::api::IntOrString;
use crate::api::backend::{PodSource, ServiceSource};
use crate::api::pods::ADMIN_STATE;
use crate::model::{AdminState, EndpointId, EndpointSpec, Member, ObjectName, Stopping};
use crate::plan::{Facts, Objects, Unresolved, name_of};

/// So many pods are named in one message; of more there is only the number.
const NAMED_AT_MOST: usize = 3;

/// The slices of each Service, by namespace and name of the Service.
type Slices<'a> = BTreeMap<(&'a str, &'a str), Vec<(&'a ObjectName, &'a Slice)>>;

/// What the cluster says of every Backend whose endpoints it knows.
pub fn facts(objects: &Objects, cluster: &Cluster) -> Facts {
    let mut slices = Slices::new();
    for (name, slice) in &cluster.slices {
        let service = (&*name.namespace, &*slice.service);
        slices.entry(service).or_default().push((name, slice));
    }
    let mut facts = Facts {
        secrets: Arc::clone(&cluster.secrets),
        ..Facts::default()
    };
    for object in &objects.backends {
        let metadata = &object.metadata;
        let name = name_of(metadata.namespace.as_ref(), metadata.name.as_ref());
        let found = match (&object.spec.service, &object.spec.pods) {
            (Some(source), _) => of_service(&name, source, cluster, &slices),
            (_, Some(source)) => of_pods(&name, source, cluster),
            _ => continue,
        };
        match found {
            Err(why) => drop(facts.unresolved.insert(name, why)),
            Ok(found) => {
                if let Some(warning) = found.warning() {
                    facts.warnings.insert(name.clone(), warning);
                }
                facts.endpoints.insert(name, found.settle());
            }
        }
    }
    facts
}

/// The endpoints of a Service, by its slices.
fn of_service<'a>(
    backend: &ObjectName,
    source: &ServiceSource,
    cluster: &'a Cluster,
    slices: &Slices<'_>,
) -> Result<Found<'a>, Unresolved> {
    let namespace = &*backend.namespace;
    let name = ObjectName::new(namespace, &source.name);
    let Some(service) = cluster.services.get(&name) else {
        return Err(Unresolved {
            reason: "ServiceNotFound",
            field: "spec.service.name".to_owned(),
            message: format!("there is no Service {name}"),
        });
    };
    let port = port_of(service, &name, source)?;
    let mut found = Found::default();
    let own = slices.get(&(namespace, source.name.as_str()));
    for (_, slice) in own.into_iter().flatten() {
        let Some(target) = slice.ports.iter().find(|own| own.name == port.name) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            found.add_listed(backend, service, endpoint, target.port, cluster);
        }
    }
    Ok(found)
}

/// The port that is meant, by number or by name.
fn port_of<'a>(
    service: &'a Service,
    name: &ObjectName,
    source: &ServiceSource,
) -> Result<&'a ServicePort, Unresolved> {
    if service.external {
        return Err(Unresolved {
            reason: "ServiceWithoutEndpoints",
            field: "spec.service.name".to_owned(),
            message: format!("Service {name} is of type ExternalName: it has no endpoints"),
        });
    }
    let (wanted, found) = match &source.port {
        IntOrString::Int(number) => (
            number.to_string(),
            service.ports.iter().find(|p| i32::from(p.port) == *number),
        ),
        IntOrString::String(word) => (
            word.clone(),
            service.ports.iter().find(|p| *p.name == **word),
        ),
    };
    found.ok_or_else(|| Unresolved {
        reason: "PortNotFound",
        field: "spec.service.port".to_owned(),
        message: format!(
            "Service {name} has no TCP port {wanted}; it has: {}",
            listed(&service.ports)
        ),
    })
}

fn listed(ports: &[ServicePort]) -> String {
    let words: Vec<String> = ports
        .iter()
        .map(|own| match &*own.name {
            "" => own.port.to_string(),
            name => format!("{name} ({})", own.port),
        })
        .collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

/// The pods that a selector finds, in the Backend's own namespace.
fn of_pods<'a>(
    backend: &ObjectName,
    source: &PodSource,
    cluster: &'a Cluster,
) -> Result<Found<'a>, Unresolved> {
    let selector = Selector::read(source)?;
    let first = ObjectName::new(&backend.namespace, "");
    let selected: Vec<&Pod> = cluster
        .pods
        .range(first..)
        .take_while(|(name, _)| name.namespace == backend.namespace)
        .map(|(_, pod)| &**pod)
        .filter(|pod| !pod.over && selector.matches(&pod.labels))
        .collect();
    let mut found = Found::default();
    let mut has_port = selected.is_empty();
    for pod in selected {
        let Some(port) = port_of_pod(pod, &source.port) else {
            continue;
        };
        has_port = true;
        if let Some(address) = pod.addresses.first() {
            found.add_pod(backend, pod, SocketAddr::new(*address, port), 0, pod.ready);
        }
    }
    if has_port {
        return Ok(found);
    }
    let IntOrString::String(word) = &source.port else {
        return Ok(found);
    };
    Err(Unresolved {
        reason: "PortNotFound",
        field: "spec.pods.port".to_owned(),
        message: format!("no container of the selected pods names a TCP port {word}"),
    })
}

fn port_of_pod(pod: &Pod, wanted: &IntOrString) -> Option<u16> {
    match wanted {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(word) => {
            let named = pod.ports.iter().find(|own| *own.name == **word);
            named.map(|own| own.port)
        }
    }
}

/// What was found for one Backend, before each endpoint is there only once.
#[derive(Default)]
struct Found<'a> {
    candidates: Vec<Candidate>,
    /// Pods with an admin state that means nothing, and what it says.
    not_understood: BTreeMap<&'a str, &'a str>,
}

struct Candidate {
    /// The place of its family in the order the Service prefers.
    rank: usize,
    spec: EndpointSpec,
}

impl<'a> Found<'a> {
    /// Takes an endpoint of a slice in.
    fn add_listed(
        &mut self,
        backend: &ObjectName,
        service: &Service,
        endpoint: &SliceEndpoint,
        port: u16,
        cluster: &'a Cluster,
    ) {
        let family = Family::of(endpoint.address);
        let own = &service.families;
        let rank = own.iter().position(|f| *f == family).unwrap_or(own.len());
        let address = SocketAddr::new(endpoint.address, port);
        let Some(wanted) = &endpoint.pod else {
            let id = EndpointId {
                backend: backend.clone(),
                member: Member::Static(address),
            };
            let spec = EndpointSpec {
                ready: takes_requests(endpoint, false),
                ..EndpointSpec::fixed(id, address, 1, AdminState::Enabled)
            };
            self.candidates.push(Candidate { rank, spec });
            return;
        };
        let Some(pod) = cluster.pods.get(&wanted.name) else {
            return;
        };
        // Of another UID: the slice speaks of a pod that is gone or has not come, and its address may be
        // anybody's (PITFALLS 13).
        if pod.over || wanted.uid.as_ref().is_some_and(|uid| *uid != pod.uid) {
            return;
        }
        let leaving = endpoint.terminating == Some(true);
        let ready = takes_requests(endpoint, pod.deletion.is_some());
        self.add_pod(backend, pod, address, rank, ready);
        if leaving && pod.deletion.is_none() {
            // The slices' watch is ahead of the pods'. What is granted to it is not known yet: its spec says
            // what an ordinary deletion grants.
            let stopping = Stopping { grace: pod.grace };
            if let Some(added) = self.candidates.last_mut() {
                added.spec.stopping = Some(stopping);
            }
        }
    }

    /// Takes a pod's port in.
    fn add_pod(
        &mut self,
        backend: &ObjectName,
        pod: &'a Pod,
        address: SocketAddr,
        rank: usize,
        ready: bool,
    ) {
        let admin_state = match pod.admin_state.as_deref() {
            None | Some("Enabled") => AdminState::Enabled,
            Some("Draining") => AdminState::Draining,
            Some("Disabled") => AdminState::Disabled,
            Some(other) => {
                self.not_understood.insert(&pod.name.name, other);
                AdminState::Enabled
            }
        };
        let id = EndpointId {
            backend: backend.clone(),
            member: Member::Pod {
                uid: Arc::clone(&pod.uid),
                port: address.port(),
            },
        };
        let spec = EndpointSpec {
            id,
            address,
            weight: 1,
            admin_state,
            ready,
            stopping: pod.deletion.map(|grace| Stopping { grace }),
            pod: Some(Arc::clone(&pod.name.name)),
            min: pod.min,
        };
        self.candidates.push(Candidate { rank, spec });
    }

    fn warning(&self) -> Option<String> {
        let all = &self.not_understood;
        let (pod, word) = all.iter().next()?;
        let named: Vec<&str> = all.keys().take(NAMED_AT_MOST).copied().collect();
        let more = match all.len().saturating_sub(NAMED_AT_MOST) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "annotation {ADMIN_STATE} of pods {}{more} is ignored: found {word:?} (at {pod}); allowed: Enabled, Draining, Disabled",
            named.join(", ")
        ))
    }

    /// Sorted, and each identity once: with the address of the family that the Service prefers. While an
    /// endpoint moves from one slice to another it may be in both; the one that says ready is believed.
    fn settle(mut self) -> Vec<EndpointSpec> {
        // Addresses that were written down have no identity besides, so the same server at two addresses
        // cannot be told: as for a client of the Service, one family counts.
        let fixed = self.candidates.iter().filter(|c| is_fixed(c));
        if let Some(best) = fixed.map(|c| c.rank).min() {
            self.candidates.retain(|c| !is_fixed(c) || c.rank == best);
        }
        self.candidates.sort_by(|a, b| {
            let key = |c: &Candidate| (c.rank, !c.spec.ready, c.spec.address);
            (&a.spec.id, key(a)).cmp(&(&b.spec.id, key(b)))
        });
        let mut specs: Vec<EndpointSpec> = self.candidates.into_iter().map(|c| c.spec).collect();
        specs.dedup_by(|later, first| later.id == first.id);
        specs
    }
}

fn is_fixed(candidate: &Candidate) -> bool {
    matches!(candidate.spec.id.member, Member::Static(_))
}

/// Whether it can serve what an open gate lets through. `terminating` is looked at first: with
/// publishNotReadyAddresses `ready` stays true while it terminates (PITFALLS 37); without, `ready` is false
/// then, and `serving` says whether it could (PITFALLS 10).
fn takes_requests(endpoint: &SliceEndpoint, deleted: bool) -> bool {
    let ready = endpoint.ready.unwrap_or(true);
    if endpoint.terminating == Some(true) || deleted {
        endpoint.serving.unwrap_or(ready)
    } else {
        ready
    }
}
