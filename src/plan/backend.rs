//! One Backend: its endpoints, its policy, and how they leave.

use std::net::{IpAddr, SocketAddr};

use super::Facts;
use super::balance;
use super::draining::{self, Merged, Users};
use super::tls;
use super::verdict::{Condition, ConditionKind, Fault, Verdict};
use crate::api::{self, backend as written};
use crate::model::{
    AdminState, Backend, EndpointId, EndpointProtocol, EndpointSpec, Member, ObjectName,
    ProxyVersion, UpstreamTls,
};

/// Plans one Backend that the given LoadBalancers use.
pub(super) fn plan(
    name: &ObjectName,
    object: &api::Backend,
    users: &Users<'_>,
    facts: &Facts,
) -> (Backend, Verdict) {
    let spec = &object.spec;
    let mut verdict = Verdict::default();
    let (mut endpoints, faults) = match &spec.fixed {
        Some(listed) => fixed(name, listed),
        None => known(name, spec, facts, &mut verdict),
    };
    endpoints.sort_by(|a, b| a.id.cmp(&b.id));
    endpoints.dedup_by(|later, first| later.id == first.id);

    let merged = draining::merge(users, spec.connection_draining.as_ref());
    verdict
        .conditions
        .insert(0, accepted(&faults, users, merged.mixed));
    verdict.conditions.extend(advice(&merged));
    let tls = spoken(name, spec, facts, &mut verdict);
    let backend = Backend {
        name: name.clone(),
        endpoints,
        protocol: protocol(spec),
        policy: balance::policy(&spec.balance),
        slow_start: balance::slow_start(&spec.balance),
        limits: spec.limits.as_deref().map(balance::limits),
        admin_state: admin_state(spec.admin_state),
        draining: merged.policy,
        tls,
        send_proxy: spec.send_proxy_protocol.map(|version| match version {
            written::ProxyProtocol::V1 => ProxyVersion::V1,
            written::ProxyProtocol::V2 => ProxyVersion::V2,
        }),
    };
    (backend, verdict)
}

fn protocol(spec: &api::BackendSpec) -> EndpointProtocol {
    match spec.protocol {
        written::BackendProtocol::Http => EndpointProtocol::Http1,
        // The endpoint is told whose each connection is, and one of HTTP/2 carries requests of many clients.
        written::BackendProtocol::Https if spec.send_proxy_protocol.is_some() => {
            EndpointProtocol::Http1
        }
        written::BackendProtocol::Https => EndpointProtocol::Negotiated,
        written::BackendProtocol::H2c | written::BackendProtocol::Grpc => EndpointProtocol::Http2,
        written::BackendProtocol::Tcp => EndpointProtocol::Bytes,
    }
}

/// What is spoken to its endpoints. There is one condition for all that it names.
fn spoken(
    name: &ObjectName,
    spec: &api::BackendSpec,
    facts: &Facts,
    verdict: &mut Verdict,
) -> UpstreamTls {
    let Some(wanted) = &spec.tls else {
        return UpstreamTls::No;
    };
    let (tls, said) = tls::backend(name, wanted, facts);
    let mut conditions = verdict.conditions.iter_mut();
    match conditions.find(|own| own.kind == said.kind) {
        None => verdict.conditions.push(said),
        Some(own) if own.met => *own = said,
        Some(own) if !said.met => own.message = format!("{}; {}", own.message, said.message),
        Some(_) => {}
    }
    tls
}

/// Says where the minimum that was asked for does not fit into the timeout.
fn advice(merged: &Merged) -> Option<Condition> {
    let asked = merged.min_cut_from?.as_secs();
    let timeout = merged.policy.timeout.as_secs();
    let message = format!(
        "minSeconds {asked} is longer than timeoutSeconds {timeout}, as the Backend and its LoadBalancers say together: a drain ends after {timeout} s"
    );
    Some(Condition {
        field: Some("spec.connectionDraining".to_owned()),
        ..Condition::met(
            ConditionKind::DrainTimeoutTooShort,
            "MinLongerThanTimeout",
            message,
        )
    })
}

fn accepted(faults: &[Fault], users: &Users<'_>, mixed: bool) -> Condition {
    if !faults.is_empty() {
        return Condition::broken(ConditionKind::Accepted, "InvalidEndpoint", faults);
    }
    let message = if mixed {
        let names: Vec<&str> = users.iter().map(|(name, _)| &*name.name).collect();
        format!(
            "LoadBalancers {} want its endpoints to leave differently: the longer times count, and draining is enabled if one says so",
            names.join(", ")
        )
    } else {
        String::new()
    };
    Condition::met(ConditionKind::Accepted, "Accepted", message)
}

/// The endpoints that are written down. One whose address is none is left out, the others serve.
fn fixed(name: &ObjectName, listed: &[written::StaticEndpoint]) -> (Vec<EndpointSpec>, Vec<Fault>) {
    let mut endpoints = Vec::with_capacity(listed.len());
    let mut faults = Vec::new();
    for (at, endpoint) in listed.iter().enumerate() {
        let Ok(address) = endpoint.address.parse::<IpAddr>() else {
            let field = format!("spec.static[{at}].address");
            let message = format!("{:?} is no IP address", endpoint.address);
            faults.push(Fault::new(field, message));
            continue;
        };
        let address = SocketAddr::new(address, endpoint.port);
        let id = EndpointId {
            backend: name.clone(),
            member: Member::Static(address),
        };
        let state = admin_state(endpoint.admin_state);
        endpoints.push(EndpointSpec::fixed(id, address, endpoint.weight, state));
    }
    (endpoints, faults)
}

/// The endpoints that the cluster knows.
fn known(
    name: &ObjectName,
    spec: &api::BackendSpec,
    facts: &Facts,
    verdict: &mut Verdict,
) -> (Vec<EndpointSpec>, Vec<Fault>) {
    let kind = ConditionKind::ResolvedRefs;
    let Some(endpoints) = facts.endpoints.get(name) else {
        let (reason, fault) = unknown(name, spec, facts);
        let condition = Condition::broken(kind, reason, &[fault]);
        verdict.conditions.push(condition);
        return (Vec::new(), Vec::new());
    };
    verdict
        .conditions
        .push(Condition::met(kind, "ResolvedRefs", ""));
    if let Some(warning) = facts.warnings.get(name) {
        let kind = ConditionKind::AnnotationIgnored;
        let condition = Condition::met(kind, "AdminStateNotUnderstood", warning);
        verdict.conditions.push(condition);
    }
    (endpoints.clone(), Vec::new())
}

/// Why the cluster knows no endpoints of the Backend.
fn unknown(name: &ObjectName, spec: &api::BackendSpec, facts: &Facts) -> (&'static str, Fault) {
    if let Some(why) = facts.unresolved.get(name) {
        return (why.reason, Fault::new(&*why.field, &*why.message));
    }
    let fault = match (&spec.service, &spec.pods) {
        (Some(service), _) => Fault::new(
            "spec.service.name",
            format!("no Service {}/{} is known", name.namespace, service.name),
        ),
        (_, Some(_)) => Fault::new("spec.pods.selector", "no pods are known yet"),
        _ => Fault::new("spec", "exactly one of service, pods and static is needed"),
    };
    ("EndpointsUnknown", fault)
}

fn admin_state(word: written::AdminState) -> AdminState {
    match word {
        written::AdminState::Enabled => AdminState::Enabled,
        written::AdminState::Draining => AdminState::Draining,
        written::AdminState::Disabled => AdminState::Disabled,
    }
}
