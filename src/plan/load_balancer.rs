//! One LoadBalancer: its listeners, its routes, and what it allows clients.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Facts;
use super::ports::Ports;
use super::streams;
use super::tls;
use super::verdict::{Condition, ConditionKind, Fault, Verdict};
use crate::api::{self, load_balancer as written};
use crate::model::tls::ListenerTls;
use crate::model::{
    ClientTimeouts, HostPattern, Limits, Listener, LoadBalancer, ObjectName, Protocol, Retry,
    Route, RouteTimeouts, WeightedBackend,
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
    verdict.conditions.push(accepted(spec, &faults, &listeners));

    let mut references = References {
        namespace: name,
        backends,
        faults: Vec::new(),
    };
    let (mut routes, mut default_backend) = references.resolve(spec);
    let (streams, mismatches) =
        streams::separate(spec, backends, &mut routes, &mut default_backend);
    verdict.conditions.push(references.condition(mismatches));
    let load_balancer = LoadBalancer {
        name: name.clone(),
        listeners,
        routes,
        default_backend,
        streams,
        limits: limits(&spec.limits),
        timeouts: client_timeouts(&spec.timeouts),
        allowed_sources,
        trusted_proxies,
    };
    (load_balancer, verdict)
}

fn accepted(spec: &api::LoadBalancerSpec, faults: &[Fault], listeners: &[Listener]) -> Condition {
    let kind = ConditionKind::Accepted;
    if !faults.is_empty() {
        return Condition::broken(kind, "InvalidSources", faults);
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
        let ends_here = wanted.protocol == written::ListenerProtocol::Https;
        let (tls, resolved) = match &wanted.tls {
            Some(tls) if ends_here => {
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
            // The only mode that passes the door.
            written::ListenerProtocol::Tls => Protocol::TlsPassthrough,
        },
        hostname: wanted.hostname.as_deref().map(HostPattern::new),
        tls,
        proxy_protocol: wanted.proxy_protocol,
    }
}

/// Turns names into indices and remembers those that lead nowhere.
struct References<'a> {
    /// The LoadBalancer; references stay in its namespace.
    namespace: &'a ObjectName,
    backends: &'a [(ObjectName, &'a api::Backend)],
    faults: Vec<Fault>,
}

impl References<'_> {
    /// All routes and the default, with what they name looked up.
    fn resolve(&mut self, spec: &api::LoadBalancerSpec) -> (Vec<Route>, Option<WeightedBackend>) {
        let mut routes: Vec<Route> = spec
            .routes
            .iter()
            .enumerate()
            .map(|(at, route)| self.route(at, route))
            .collect();
        let Some(wanted) = &spec.default_backend else {
            return (routes, None);
        };
        let found = self.find(&wanted.name, 1, None, "spec.defaultBackend.name");
        if found.is_none() {
            // Law 4: what it would have taken gets 503, as from a route without a Backend, and not 404.
            // It is last and matches everything, so every other route comes before it.
            routes.push(Route {
                hostnames: Vec::new(),
                path_prefixes: Vec::new(),
                backends: Vec::new(),
            });
        }
        (routes, found)
    }

    fn route(&mut self, at: usize, route: &written::Route) -> Route {
        let backends: Vec<WeightedBackend> = route
            .backends
            .iter()
            .enumerate()
            .filter_map(|(which, wanted)| {
                let field = format!("spec.routes[{at}].backends[{which}].name");
                self.find(&wanted.name, wanted.weight, Some(route), &field)
            })
            .collect();
        // What is left and takes nothing serves nothing.
        let serves = backends.iter().any(|backend| backend.weight > 0);
        Route {
            hostnames: route
                .hostnames
                .iter()
                .map(|h| HostPattern::new(h))
                .collect(),
            path_prefixes: route
                .matches
                .iter()
                .map(|m| path_prefix(&m.path.value).into())
                .collect(),
            backends: if serves { backends } else { Vec::new() },
        }
    }

    fn find(
        &mut self,
        wanted: &str,
        weight: u32,
        route: Option<&written::Route>,
        field: &str,
    ) -> Option<WeightedBackend> {
        let name = ObjectName::new(&self.namespace.namespace, wanted);
        let Ok(backend) = self
            .backends
            .binary_search_by(|(known, _)| known.cmp(&name))
        else {
            self.faults
                .push(Fault::new(field, format!("there is no Backend {name}")));
            return None;
        };
        let own = &self.backends[backend].1.spec;
        let timeouts = [
            route.and_then(|r| r.timeouts.as_ref()),
            own.timeouts.as_ref(),
        ];
        let retry = [route.and_then(|r| r.retry.as_ref()), own.retry.as_ref()];
        Some(WeightedBackend {
            backend,
            weight,
            timeouts: route_timeouts(timeouts),
            retry: Retry {
                attempts: first(retry, |r| r.attempts).unwrap_or(Retry::default().attempts),
            },
        })
    }

    /// `mismatches`: what leads to Backends that no listener can use.
    fn condition(self, mismatches: Vec<Fault>) -> Condition {
        let kind = ConditionKind::ResolvedRefs;
        let reason = match (&self.faults[..], &mismatches[..]) {
            ([], []) => return Condition::met(kind, "ResolvedRefs", ""),
            ([], _) => "ProtocolMismatch",
            _ => "BackendNotFound",
        };
        Condition::broken(kind, reason, &[self.faults, mismatches].concat())
    }
}

/// `/api/` and `/api` are the same prefix, as in Gateway API.
fn path_prefix(value: &str) -> &str {
    match value.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}

/// The first of the two that says anything: the route, then the Backend.
fn first<T, V>(each: [Option<&T>; 2], field: impl Fn(&T) -> Option<V>) -> Option<V> {
    each.into_iter().flatten().find_map(field)
}

fn route_timeouts(each: [Option<&api::UpstreamTimeouts>; 2]) -> RouteTimeouts {
    type Field = fn(&api::UpstreamTimeouts) -> &Option<api::GatewayDuration>;
    let get = |field: Field| first(each, |t| field(t).as_ref().map(api::GatewayDuration::get));
    // 0s is no limit.
    let limit = |written: Option<Duration>, default| match written {
        Some(Duration::ZERO) => None,
        Some(duration) => Some(duration),
        None => default,
    };
    let default = RouteTimeouts::default();
    RouteTimeouts {
        request: limit(get(|t| &t.request), default.request),
        connect: get(|t| &t.connect).unwrap_or(default.connect),
        response_head: limit(get(|t| &t.response_head), default.response_head),
        backend_idle: get(|t| &t.backend_idle).unwrap_or(default.backend_idle),
        tunnel_idle: limit(get(|t| &t.tunnel_idle), default.tunnel_idle),
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
        assert_eq!(route_timeouts([None, None]), RouteTimeouts::default());
    }
}
