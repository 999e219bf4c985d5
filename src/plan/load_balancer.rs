//! One LoadBalancer: its listeners, and what it allows clients. Its routes are `routes`'.

use std::sync::Arc;

use ipnet::IpNet;

use super::Facts;
use super::ports::Ports;
use super::routes;
use super::tls;
use super::verdict::{Condition, ConditionKind, Fault, Verdict};
use crate::api::tls::TlsMode;
use crate::api::{self, load_balancer as written};
use crate::model::tls::ListenerTls;
use crate::model::{
    ClientTimeouts, HostPattern, Limits, Listener, LoadBalancer, ObjectName, Protocol,
};

/// Plans one LoadBalancer. `backends` are all Backends, in the order of the snapshot.
pub(super) fn plan(
    name: &ObjectName,
    object: &api::LoadBalancer,
    backends: &[(ObjectName, &api::Backend)],
    ports: &Ports<'_>,
    facts: &Facts,
) -> (LoadBalancer, Verdict) {
    let spec = &object.spec;
    let mut verdict = Verdict::default();
    let mut faults = Vec::new();
    let allowed_sources = networks(&spec.allowed_sources, "spec.allowedSources", &mut faults);
    let trusted_proxies = networks(&spec.trusted_proxies, "spec.trustedProxies", &mut faults);
    let listeners = if faults.is_empty() {
        listeners(name, spec, ports, facts, &mut verdict)
    } else {
        // Who may connect is not known, so nobody may.
        Vec::new()
    };
    let planned = routes::plan(name, spec, backends);
    let accepted = accepted(spec, &faults, &planned.invalid, &listeners);
    verdict.conditions.extend([accepted, planned.resolved]);
    let load_balancer = LoadBalancer {
        name: name.clone(),
        listeners,
        routes: planned.all,
        default_backend: planned.default_backend,
        streams: planned.streams,
        limits: limits(&spec.limits),
        timeouts: client_timeouts(&spec.timeouts),
        allowed_sources,
        trusted_proxies,
    };
    (load_balancer, verdict)
}

fn accepted(
    spec: &api::LoadBalancerSpec,
    sources: &[Fault],
    routes: &[Fault],
    listeners: &[Listener],
) -> Condition {
    let kind = ConditionKind::Accepted;
    if !sources.is_empty() {
        return Condition::broken(kind, "InvalidSources", sources);
    }
    if !routes.is_empty() {
        // The other routes serve.
        return Condition::broken(kind, "InvalidRoutes", routes);
    }
    if listeners.is_empty() {
        let fault = Fault::new(
            "spec.listeners",
            "no listener is left: see their own conditions",
        );
        return Condition::broken(kind, "ListenersNotValid", &[fault]);
    }
    if listeners.len() < spec.listeners.len() {
        let message = "some listeners are out of service: see their own conditions";
        return Condition::met(kind, "ListenersNotValid", message);
    }
    Condition::met(kind, "Accepted", "")
}

/// The listeners whose ports are this LoadBalancer's and that have what they name; of all, what is said.
fn listeners(
    name: &ObjectName,
    spec: &api::LoadBalancerSpec,
    ports: &Ports<'_>,
    facts: &Facts,
    verdict: &mut Verdict,
) -> Vec<Listener> {
    let kind = ConditionKind::Accepted;
    let mut kept: Vec<Listener> = Vec::new();
    for (at, wanted) in spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{at}]");
        let (tls, resolved) = match &wanted.tls {
            Some(tls) if ends_here(wanted.protocol, tls.mode) => {
                let field = format!("{field}.tls");
                let (found, said) = tls::listener(name, &wanted.name, tls, &field, facts);
                (found.map(Some), Some(said))
            }
            // Clear text, or TLS that its endpoint ends.
            _ => (Some(None), None),
        };
        let condition = match (bound(name, wanted.port, ports, &kept), tls) {
            (Ok(port), Some(tls)) => {
                kept.push(listener(wanted, port, tls));
                Condition::met(kind, "Accepted", "")
            }
            (Ok(_), None) => {
                let fault = Fault::new(format!("{field}.tls"), "nothing to serve resolves");
                Condition::broken(kind, "RefsNotResolved", &[fault])
            }
            (Err(message), _) => {
                let fault = Fault::new(format!("{field}.port"), message);
                Condition::broken(kind, "PortUnavailable", &[fault])
            }
        };
        let said = [Some(condition), resolved];
        let said = said.into_iter().flatten().collect();
        verdict.listeners.push((wanted.name.clone(), said));
    }
    kept
}

/// Whether TLS ends at a listener.
fn ends_here(protocol: written::ListenerProtocol, mode: TlsMode) -> bool {
    match protocol {
        written::ListenerProtocol::Https => true,
        written::ListenerProtocol::Tls => mode == TlsMode::Terminate,
        written::ListenerProtocol::Http | written::ListenerProtocol::Tcp => false,
    }
}

/// The port that a listener binds, or why it has none.
fn bound(
    name: &ObjectName,
    port: u16,
    ports: &Ports<'_>,
    kept: &[Listener],
) -> Result<u16, String> {
    let bound = match ports {
        Ports::Own(taken) => match taken.get(&port) {
            Some(owner) if owner != name => {
                return Err(format!(
                    "port {port} is LoadBalancer {owner}'s: choose another"
                ));
            }
            _ => port,
        },
        Ports::Allotted(allotted) => *allotted.get(&(name.clone(), port)).ok_or(
            "no container port is left for it: widen --data-ports of lastcall, or remove listeners",
        )?,
    };
    match kept.iter().find(|other| other.port == bound) {
        Some(other) => Err(format!(
            "port {port} is listener {}'s: choose another",
            other.name
        )),
        None => Ok(bound),
    }
}

fn listener(wanted: &written::Listener, port: u16, tls: Option<Arc<ListenerTls>>) -> Listener {
    Listener {
        name: wanted.name.as_str().into(),
        port,
        protocol: match wanted.protocol {
            written::ListenerProtocol::Http => Protocol::Http,
            written::ListenerProtocol::Https => Protocol::Https,
            written::ListenerProtocol::Tcp => Protocol::Tcp,
            written::ListenerProtocol::Tls if tls.is_some() => Protocol::Tls,
            written::ListenerProtocol::Tls => Protocol::TlsPassthrough,
        },
        hostname: wanted.hostname.as_deref().map(HostPattern::new),
        tls,
        proxy_protocol: wanted.proxy_protocol,
    }
}

fn limits(written: &written::Limits) -> Limits {
    Limits {
        connections: written.connections,
        head_bytes: written.head_bytes as usize,
        header_count: written.header_count as usize,
        uri_bytes: written.uri_bytes as usize,
        body_bytes: written.body_bytes,
    }
}

fn client_timeouts(written: &written::ClientTimeouts) -> ClientTimeouts {
    ClientTimeouts {
        request_head: written.request_head.get(),
        request_body: written.request_body.get(),
        idle: written.idle.get(),
        write: written.write.get(),
    }
}

fn networks(texts: &[written::Cidr], field: &str, faults: &mut Vec<Fault>) -> Vec<IpNet> {
    let mut networks = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match text.0.parse::<IpNet>() {
            Ok(network) => networks.push(network),
            Err(_) => faults.push(Fault::new(
                format!("{field}[{at}]"),
                format!("{:?} is no CIDR such as 10.0.0.0/8", text.0),
            )),
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_defaults_are_the_models() {
        assert_eq!(limits(&written::Limits::default()), Limits::default());
        let timeouts = client_timeouts(&written::ClientTimeouts::default());
        assert_eq!(timeouts, ClientTimeouts::default());
    }
}
