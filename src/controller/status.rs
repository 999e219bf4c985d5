//! The status of a LoadBalancer, and conditions in general: pure. What is the same keeps its time.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Running;
use crate::api::LoadBalancer;
use crate::api::status::{Address, AddressType, ListenerStatus, LoadBalancerStatus};
use crate::model::ObjectName;
use crate::plan::{Kind, ObjectRef, Verdict};

/// A condition before it has a time.
pub(super) struct Said {
    pub(super) kind: &'static str,
    pub(super) met: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The API server takes no longer messages.
const LONGEST_MESSAGE: usize = 32 * 1024;

/// Conditions with their times: one that says the same as before keeps its own.
pub(super) fn conditions(
    said: Vec<Said>,
    before: &[Condition],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let stamped = |one: Said| {
        let status = if one.met { "True" } else { "False" }.to_owned();
        let same = before
            .iter()
            .find(|old| old.type_ == one.kind && old.status == status);
        Condition {
            type_: one.kind.to_owned(),
            status,
            reason: one.reason.to_owned(),
            message: one.message.chars().take(LONGEST_MESSAGE).collect(),
            observed_generation: generation,
            last_transition_time: same
                .map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
        }
    };
    said.into_iter().map(stamped).collect()
}

/// What the plan said.
pub(super) fn planned(conditions: &[crate::plan::Condition]) -> Vec<Said> {
    let said = |one: &crate::plan::Condition| Said {
        kind: one.kind.as_str(),
        met: one.met,
        reason: one.reason,
        message: one.message.clone(),
    };
    conditions.iter().map(said).collect()
}

/// The status of a LoadBalancer whose Service is this.
pub(super) fn load_balancer(
    name: &ObjectName,
    object: &LoadBalancer,
    service: Option<&Service>,
    running: &Running,
    now: &Time,
) -> Option<LoadBalancerStatus> {
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    let reference = ObjectRef {
        kind: Kind::LoadBalancer,
        name: name.clone(),
    };
    // Not planned yet: the next plan says more.
    let verdict: &Verdict = running.verdicts.get(&reference)?;
    let addresses = service.map(addresses).unwrap_or_default();
    let listeners = verdict.listeners.iter().map(|(listener, said)| {
        let old = before.listeners.iter().find(|old| old.name == *listener);
        let mut said = planned(said);
        let refused = said.iter().any(|one| one.kind == "Accepted" && !one.met);
        said.push(if refused {
            not_accepted()
        } else {
            bound(name, object, listener, running)
        });
        ListenerStatus {
            name: listener.clone(),
            conditions: conditions(
                said,
                old.map_or(&[], |old| &old.conditions),
                generation,
                now,
            ),
        }
    });
    let listeners: Vec<_> = listeners.collect();
    let mut said = planned(&verdict.conditions);
    said.push(programmed(&listeners, &addresses));
    Some(LoadBalancerStatus {
        addresses,
        conditions: conditions(said, &before.conditions, generation, now),
        listeners,
        observed_generation: generation,
    })
}

/// What does not run is not bound.
fn not_accepted() -> Said {
    Said {
        kind: "Programmed",
        met: false,
        reason: "NotAccepted",
        message: "it is out of service: see its condition Accepted".to_owned(),
    }
}

/// Whether a listener is bound.
fn bound(name: &ObjectName, object: &LoadBalancer, listener: &str, running: &Running) -> Said {
    let port = object
        .spec
        .listeners
        .iter()
        .find(|one| one.name == listener)
        .and_then(|one| running.ports.get(&(name.clone(), one.port)));
    let (met, reason, message) = match port {
        None => (
            false,
            "PortUnavailable",
            "it has no container port".to_owned(),
        ),
        Some(port) => match running.failed_ports.get(port) {
            Some(why) => (false, "PortUnavailable", why.clone()),
            None => (true, "Programmed", String::new()),
        },
    };
    Said {
        kind: "Programmed",
        met,
        reason,
        message,
    }
}

fn programmed(listeners: &[ListenerStatus], addresses: &[Address]) -> Said {
    let is_bound = |listener: &ListenerStatus| {
        let mut programmed = listener
            .conditions
            .iter()
            .filter(|one| one.type_ == "Programmed");
        programmed.any(|one| one.status == "True")
    };
    let (met, reason, message) = if !listeners.iter().any(is_bound) {
        (
            false,
            "ListenersNotBound",
            "no listener is bound: see their own conditions",
        )
    } else if addresses.is_empty() {
        (
            false,
            "AddressNotAssigned",
            "its Service has no address yet: is there a controller for Services of type LoadBalancer?",
        )
    } else {
        (true, "Programmed", "")
    };
    Said {
        kind: "Programmed",
        met,
        reason,
        message: message.to_owned(),
    }
}

/// Where clients reach the Service.
fn addresses(service: &Service) -> Vec<Address> {
    let spec = service.spec.as_ref();
    let outside = service
        .status
        .iter()
        .filter_map(|status| status.load_balancer.as_ref())
        .flat_map(|balancer| balancer.ingress.iter().flatten());
    let outside = outside.filter_map(|ingress| {
        let address = |kind, value: &String| Address {
            kind,
            value: value.clone(),
        };
        let ip = ingress
            .ip
            .as_ref()
            .map(|ip| address(AddressType::IpAddress, ip));
        ip.or_else(|| {
            ingress
                .hostname
                .as_ref()
                .map(|name| address(AddressType::Hostname, name))
        })
    });
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer") {
        return outside.take(16).collect();
    }
    let inside = spec
        .iter()
        .flat_map(|spec| spec.cluster_ips.iter().flatten());
    inside
        .filter(|ip| *ip != "None" && !ip.is_empty())
        .map(|ip| Address {
            kind: AddressType::IpAddress,
            value: ip.clone(),
        })
        .collect()
}
