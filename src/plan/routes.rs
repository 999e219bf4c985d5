//! The routes of one LoadBalancer: what they match, and which Backends they name.
//!
//! What is wrong with a route by itself the doors find by [`route_faults`] too, so that it does not come here
//! (Law 4); where it does, it takes only its own match out of service.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::balance;
use super::filters;
use super::streams;
use super::verdict::{Condition, ConditionKind, Fault};
use crate::api::backend::BackendProtocol;
use crate::api::{self, load_balancer as written, route_match};
use crate::model::{
    Expression, HostPattern, Match, Mirror, NamedPattern, ObjectName, PathPattern, Retry, Route,
    RouteTimeouts, StreamRoutes, ValuePattern, WeightedBackend,
};

/// Regular expressions in one LoadBalancer: those of one host are tried one after the other, and each takes
/// memory in every worker.
const MAX_EXPRESSIONS: usize = 128;

/// What is wrong with the routes of a LoadBalancer that its schema cannot tell: regular expressions that are
/// none, or too many of them.
pub fn route_faults(spec: &api::LoadBalancerSpec) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, route) in spec.routes.iter().enumerate() {
        let field = format!("spec.routes[{at}]");
        matches(route, &field, &mut faults);
        filters::plan(&route.filters, &field, &mut faults);
    }
    let expressions: usize = spec.routes.iter().map(expressions).sum();
    if expressions > MAX_EXPRESSIONS {
        let message = format!(
            "found {expressions} regular expressions; allowed: at most {MAX_EXPRESSIONS} in one LoadBalancer"
        );
        faults.push(Fault::new("spec.routes", message));
    }
    faults
}

/// How many regular expressions the route has.
fn expressions(route: &written::Route) -> usize {
    let is_one = |kind: &route_match::ValueMatchType| {
        *kind == route_match::ValueMatchType::RegularExpression
    };
    let in_match = |one: &route_match::RouteMatch| {
        let path = one.path.as_ref().map(|path| path.kind);
        let path = path == Some(route_match::PathMatchType::RegularExpression);
        let headers = one.headers.iter().map(|header| &header.kind);
        let query = one.query.iter().map(|parameter| &parameter.kind);
        usize::from(path) + headers.chain(query).filter(|kind| is_one(kind)).count()
    };
    route.matches.iter().map(in_match).sum()
}

/// The routes of one LoadBalancer, planned.
pub(super) struct Routes {
    pub(super) all: Vec<Route>,
    pub(super) default_backend: Option<WeightedBackend>,
    /// What is for connections instead of requests.
    pub(super) streams: StreamRoutes,
    /// What is wrong with them by themselves.
    pub(super) invalid: Vec<Fault>,
    /// Whether what they name is there.
    pub(super) resolved: Condition,
}

/// Plans the routes of the LoadBalancer `name`. `backends` are all Backends, in the order of the snapshot.
pub(super) fn plan(
    name: &ObjectName,
    spec: &api::LoadBalancerSpec,
    backends: &[(ObjectName, &api::Backend)],
) -> Routes {
    let mut references = References {
        namespace: name,
        backends,
        missing: Vec::new(),
        mismatches: Vec::new(),
        invalid: Vec::new(),
    };
    let (mut routes, mut default_backend) = references.resolve(spec);
    let (streams, mismatches) =
        streams::separate(spec, backends, &mut routes, &mut default_backend);
    references.mismatches.extend(mismatches);
    Routes {
        all: routes,
        default_backend,
        streams,
        resolved: references.condition(),
        invalid: references.invalid,
    }
}

/// Turns names into indices and remembers those that lead nowhere.
struct References<'a> {
    /// The LoadBalancer; references stay in its namespace.
    namespace: &'a ObjectName,
    backends: &'a [(ObjectName, &'a api::Backend)],
    missing: Vec<Fault>,
    /// What is there, and speaks what cannot be used here.
    mismatches: Vec<Fault>,
    invalid: Vec<Fault>,
}

impl References<'_> {
    /// All routes and the default, with what they name looked up.
    fn resolve(&mut self, spec: &api::LoadBalancerSpec) -> (Vec<Route>, Option<WeightedBackend>) {
        let mut routes: Vec<Route> = spec
            .routes
            .iter()
            .enumerate()
            .map(|(at, route)| self.route(&format!("spec.routes[{at}]"), route))
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
                matches: vec![Match::all()],
                filters: None,
                backends: Vec::new(),
            });
        }
        (routes, found)
    }

    fn route(&mut self, field: &str, route: &written::Route) -> Route {
        let backends: Vec<WeightedBackend> = route
            .backends
            .iter()
            .enumerate()
            .filter_map(|(which, wanted)| {
                let field = format!("{field}.backends[{which}].name");
                self.find(&wanted.name, wanted.weight, Some(route), &field)
            })
            .collect();
        let before = self.invalid.len();
        let mut filters = filters::plan(&route.filters, field, &mut self.invalid);
        if let Some(filters) = &mut filters {
            filters.mirror = self.mirror(field, route);
        }
        // A route whose filters are not those that were meant serves nothing.
        let sound = self.invalid.len() == before;
        // What is left and takes nothing serves nothing.
        let serves = sound && backends.iter().any(|backend| backend.weight > 0);
        let hostnames = route.hostnames.iter();
        Route {
            hostnames: hostnames.map(|h| HostPattern::new(h)).collect(),
            matches: matches(route, field, &mut self.invalid),
            filters: filters.filter(|_| sound).map(Arc::new),
            backends: if serves { backends } else { Vec::new() },
        }
    }

    /// Where copies of the route's requests go. Without its Backend, or with one that copies cannot be sent
    /// to, the route goes on without them (Law 4).
    fn mirror(&mut self, field: &str, route: &written::Route) -> Option<Mirror> {
        let mut all = route.filters.iter().enumerate();
        let (at, mirror) = all.find_map(|(at, one)| Some((at, one.mirror.as_ref()?)))?;
        let field = format!("{field}.filters[{at}].mirror.backend.name");
        let backend = self.find(&mirror.backend.name, 1, Some(route), &field)?;
        let (name, found) = &self.backends[backend.backend];
        let protocol = found.spec.protocol;
        if !matches!(protocol, BackendProtocol::Http | BackendProtocol::Https) {
            let message = format!(
                "Backend {name} does not speak HTTP/1, in which copies are sent: a mirror needs one of protocol HTTP or HTTPS"
            );
            self.mismatches.push(Fault::new(field, message));
            return None;
        }
        let percent = mirror.percent;
        Some(Mirror { backend, percent })
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
            self.missing
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
                budget: first(retry, |r| r.budget.as_deref().map(balance::retry_budget)),
            },
        })
    }

    fn condition(&self) -> Condition {
        let kind = ConditionKind::ResolvedRefs;
        let reason = match (&self.missing[..], &self.mismatches[..]) {
            ([], []) => return Condition::met(kind, "ResolvedRefs", ""),
            ([], _) => "ProtocolMismatch",
            _ => "BackendNotFound",
        };
        let faults = [&self.missing[..], &self.mismatches[..]].concat();
        Condition::broken(kind, reason, &faults)
    }
}

/// What the route called `field` is for. A match that says nothing sensible is left out: nobody knows what it
/// was to be for.
fn matches(route: &written::Route, field: &str, faults: &mut Vec<Fault>) -> Vec<Match> {
    if route.matches.is_empty() {
        return vec![Match::all()];
    }
    let all = route.matches.iter().enumerate();
    all.filter_map(|(at, one)| one_match(one, &format!("{field}.matches[{at}]"), faults))
        .collect()
}

fn one_match(
    written: &route_match::RouteMatch,
    field: &str,
    faults: &mut Vec<Fault>,
) -> Option<Match> {
    let before = faults.len();
    let path = match &written.path {
        None => Match::all().path,
        Some(path) => match path.kind {
            route_match::PathMatchType::Exact => PathPattern::Exact(path.value.as_str().into()),
            route_match::PathMatchType::Prefix => Match::prefix(&path.value).path,
            route_match::PathMatchType::RegularExpression => {
                let field = format!("{field}.path.value");
                PathPattern::Expression(expression(&path.value, field, faults)?)
            }
        },
    };
    let headers = written.headers.iter().enumerate().filter_map(|(at, h)| {
        let field = format!("{field}.headers[{at}].value");
        named(&h.name, h.kind, &h.value, field, faults)
    });
    let headers = headers.collect();
    let query = written.query.iter().enumerate().filter_map(|(at, q)| {
        let field = format!("{field}.query[{at}].value");
        named(&q.name, q.kind, &q.value, field, faults)
    });
    let query = query.collect();
    (faults.len() == before).then(|| Match {
        path,
        method: written.method.map(|method| method.as_str().into()),
        headers,
        query,
    })
}

fn named(
    name: &str,
    kind: route_match::ValueMatchType,
    value: &str,
    field: String,
    faults: &mut Vec<Fault>,
) -> Option<NamedPattern> {
    let value = match kind {
        route_match::ValueMatchType::Exact => ValuePattern::Exact(value.into()),
        route_match::ValueMatchType::RegularExpression => {
            ValuePattern::Expression(expression(value, field, faults)?)
        }
    };
    let name = name.into();
    Some(NamedPattern { name, value })
}

fn expression(text: &str, field: String, faults: &mut Vec<Fault>) -> Option<Expression> {
    Expression::new(text)
        .map_err(|fault| faults.push(Fault::new(field, fault.to_string())))
        .ok()
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
