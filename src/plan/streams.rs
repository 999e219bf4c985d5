//! Which of a LoadBalancer's routes are for requests and which for connections that are passed on as they are:
//! it goes by what their Backends speak, and each listener has to find what it needs.

use super::verdict::Fault;
use crate::api::{self, backend as written_backend, load_balancer as written};
use crate::model::{Match, ObjectName, Route, StreamRoutes, WeightedBackend};

/// All Backends, in the order of the snapshot.
type Backends<'a> = [(ObjectName, &'a api::Backend)];

/// What listeners speak and what Backends speak, as far as it decides where things go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Requests,
    Streams,
}

impl Kind {
    /// What one of a LoadBalancer's routes to such a Backend would need.
    fn listener(self) -> &'static str {
        match self {
            Kind::Requests => "HTTP",
            Kind::Streams => "TLS",
        }
    }

    fn backend(self) -> &'static str {
        match self {
            Kind::Requests => "HTTP",
            Kind::Streams => "TCP",
        }
    }
}

/// What the listeners of a LoadBalancer speak.
struct Spoken {
    http: bool,
    tls: bool,
    tcp: bool,
}

impl Spoken {
    fn of(spec: &api::LoadBalancerSpec) -> Self {
        let count = |wanted| {
            let listeners = spec.listeners.iter();
            listeners.filter(|one| one.protocol == wanted).count()
        };
        let tls = count(written::ListenerProtocol::Tls);
        let tcp = count(written::ListenerProtocol::Tcp);
        Self {
            // Whatever else there is speaks HTTP in one of its forms.
            http: spec.listeners.len() > tls + tcp,
            tls: tls > 0,
            tcp: tcp > 0,
        }
    }

    /// Whether a listener takes routes of this kind.
    fn routes(&self, kind: Kind) -> bool {
        match kind {
            Kind::Requests => self.http,
            Kind::Streams => self.tls,
        }
    }
}

/// Takes what is for connections out of `routes`, which are those of `spec` in their order and may have a last
/// one for a default that is not there, and out of `default`. What goes to Backends that its listeners
/// cannot use is out of service, and a fault.
pub(super) fn separate(
    spec: &api::LoadBalancerSpec,
    backends: &Backends<'_>,
    routes: &mut Vec<Route>,
    default: &mut Option<WeightedBackend>,
) -> (StreamRoutes, Vec<Fault>) {
    let mut separation = Separation {
        spoken: Spoken::of(spec),
        backends,
        requests: Vec::new(),
        streams: StreamRoutes::default(),
        faults: Vec::new(),
    };
    for (at, route) in std::mem::take(routes).into_iter().enumerate() {
        separation.route(at, spec.routes.get(at), route);
    }
    separation.default(default);
    separation.needs(default.is_some());
    *routes = separation.requests;
    (separation.streams, separation.faults)
}

fn redirects(route: &written::Route) -> bool {
    let mut filters = route.filters.iter();
    filters.any(|filter| filter.redirect.is_some())
}

struct Separation<'a> {
    spoken: Spoken,
    backends: &'a Backends<'a>,
    requests: Vec<Route>,
    streams: StreamRoutes,
    faults: Vec<Fault>,
}

impl Separation<'_> {
    fn kind(&self, choice: &WeightedBackend) -> Kind {
        let protocol = self.backends[choice.backend].1.spec.protocol;
        if protocol == written_backend::BackendProtocol::Tcp {
            Kind::Streams
        } else {
            Kind::Requests
        }
    }

    fn name(&self, choice: &WeightedBackend) -> &ObjectName {
        &self.backends[choice.backend].0
    }

    /// `written` is absent for the default that is not there.
    fn route(&mut self, at: usize, written: Option<&written::Route>, mut route: Route) {
        if written.is_some_and(redirects) {
            // It has no Backends, and only requests can be told to go elsewhere.
            self.keep_for_requests(route);
            return;
        }
        let Some(first) = route.backends.first().copied() else {
            // Nothing says what it is for, so it is out of service for all.
            self.keep_for_requests(route.clone());
            self.keep_for_streams(route);
            return;
        };
        let kind = self.kind(&first);
        let field = format!("spec.routes[{at}]");
        if !self.spoken.routes(kind) {
            let message = format!(
                "Backend {} speaks {}, and no listener here speaks {}",
                self.name(&first),
                kind.backend(),
                kind.listener()
            );
            self.faults
                .push(Fault::new(format!("{field}.backends"), message));
            route.backends.clear();
            self.keep_for_requests(route.clone());
            self.keep_for_streams(route);
            return;
        }
        self.of_one_kind(kind, &field, &mut route);
        match kind {
            Kind::Requests => self.keep_for_requests(route),
            Kind::Streams => {
                if let Some(written) = written {
                    self.refuse_http_only(written, &field, &mut route);
                }
                self.keep_for_streams(route);
            }
        }
    }

    /// Leaves out what speaks something else than the route's first Backend.
    fn of_one_kind(&mut self, kind: Kind, field: &str, route: &mut Route) {
        let (same, other): (Vec<_>, Vec<_>) = route
            .backends
            .iter()
            .partition(|one| self.kind(one) == kind);
        for one in other {
            let message = format!(
                "Backend {} does not speak {}, as the first of this route does",
                self.name(&one),
                kind.backend()
            );
            let fault = Fault::new(format!("{field}.backends"), message);
            self.faults.push(fault);
        }
        route.backends = same;
    }

    /// Takes a route out of service that asks for what only HTTP has.
    fn refuse_http_only(&mut self, written: &written::Route, field: &str, route: &mut Route) {
        let timeouts = written.timeouts.clone().unwrap_or_default();
        let asked = [
            ("matches", !written.matches.is_empty()),
            ("filters", !written.filters.is_empty()),
            ("retry", written.retry.is_some()),
            ("timeouts.request", timeouts.request.is_some()),
            ("timeouts.responseHead", timeouts.response_head.is_some()),
            ("timeouts.backendIdle", timeouts.backend_idle.is_some()),
        ];
        for (name, _) in asked.iter().filter(|(_, is_asked)| *is_asked) {
            let message = "is for HTTP, and its Backend speaks TCP: leave it out";
            self.faults
                .push(Fault::new(format!("{field}.{name}"), message));
            route.backends.clear();
        }
    }

    fn keep_for_requests(&mut self, route: Route) {
        if self.spoken.http {
            self.requests.push(route);
        }
    }

    fn keep_for_streams(&mut self, mut route: Route) {
        if self.spoken.tls {
            route.matches = vec![Match::all()];
            route.filters = None;
            self.streams.routes.push(route);
        }
    }

    fn default(&mut self, default: &mut Option<WeightedBackend>) {
        let Some(choice) = *default else {
            return;
        };
        match self.kind(&choice) {
            Kind::Streams => self.streams.default_backend = default.take(),
            Kind::Requests if self.spoken.tcp => {
                let message = format!(
                    "Backend {} speaks HTTP: a listener of protocol TCP needs one of protocol TCP",
                    self.name(&choice)
                );
                self.faults
                    .push(Fault::new("spec.defaultBackend.name", message));
            }
            Kind::Requests => {}
        }
    }

    /// A listener that nothing is for would turn everybody away, and nobody would know why.
    fn needs(&mut self, has_default: bool) {
        for (kind, is_spoken, is_served) in [
            (
                Kind::Requests,
                self.spoken.http,
                has_default || !self.requests.is_empty(),
            ),
            (Kind::Streams, self.spoken.tls, !self.streams.is_empty()),
        ] {
            if is_spoken && !is_served {
                let message = format!(
                    "no route, and no defaultBackend, is of protocol {}, which listeners of protocol {} need",
                    kind.backend(),
                    kind.listener()
                );
                self.faults.push(Fault::new("spec.routes", message));
            }
        }
    }
}
