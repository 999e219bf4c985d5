//! The configuration as one worker runs it: what is served on each port, and its own side of each endpoint,
//! which is kept from one configuration to the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::Worker;
use crate::gate::Gate;
use crate::model::{
    Backend, EndpointId, EndpointProtocol, EndpointSpec, Listener, LoadBalancer, ObjectName,
    QueueLimits, RetryBudget, Snapshot, UpstreamTls,
};
use crate::proxy::backends::{Backends, Counts, Shared};
use crate::proxy::balance::{Balancer, Candidate, Warming};
use crate::proxy::connection_counts::ConnectionCounts;
use crate::proxy::queue::Line;
use crate::proxy::rate_limit::Limiters;
use crate::proxy::retry_budget::Drawn;
use crate::proxy::router::Router;
use crate::proxy::tls::{Configs, Terminator};
use crate::proxy::upstream::{Spoken, Upstream};

/// A configuration with the live parts it needs.
#[derive(Clone)]
pub(in crate::proxy) struct Publication {
    pub(in crate::proxy) snapshot: Arc<Snapshot>,
    pub(in crate::proxy) gates: Arc<HashMap<EndpointId, Arc<Gate>>>,
    pub(in crate::proxy) counts: Arc<HashMap<ObjectName, Arc<ConnectionCounts>>>,
    pub(in crate::proxy) tls: Arc<Configs>,
    pub(in crate::proxy) limiters: Arc<Limiters>,
    pub(in crate::proxy) backends: Arc<Backends>,
}

/// The configuration as this worker runs it.
#[derive(Default)]
pub(in crate::proxy) struct View {
    /// By port. Few, and looked up for each request: a tree needs no hash.
    sites: BTreeMap<u16, Rc<Site>>,
    pub(in crate::proxy) pools: Vec<Pool>,
}

/// What is served on one port.
pub(in crate::proxy) struct Site {
    pub(in crate::proxy) snapshot: Arc<Snapshot>,
    at: usize,
    pub(in crate::proxy) listener: Listener,
    pub(in crate::proxy) router: Rc<Router>,
    /// For connections whose bytes are passed on as they are, where there are any.
    pub(in crate::proxy) streams: Option<Rc<Router>>,
    pub(super) counts: Arc<ConnectionCounts>,
    /// How TLS ends here, where it does.
    pub(in crate::proxy) tls: Option<Arc<Terminator>>,
}

impl Site {
    pub(in crate::proxy) fn load_balancer(&self) -> &LoadBalancer {
        &self.snapshot.load_balancers[self.at]
    }
}

/// One Backend's endpoints.
pub(in crate::proxy) struct Pool {
    name: ObjectName,
    pub(in crate::proxy) endpoints: Vec<Rc<Upstream>>,
    pub(in crate::proxy) balancer: Balancer,
    pub(in crate::proxy) protocol: EndpointProtocol,
    /// Where its endpoints take only so much.
    pub(in crate::proxy) limited: Option<Limited>,
    budgets: Vec<Rc<Drawn>>,
}

/// What becomes of requests while the endpoints of a Backend are full.
pub(in crate::proxy) struct Limited {
    pub(in crate::proxy) queue: Option<QueueLimits>,
    pub(in crate::proxy) line: Rc<Line>,
    pub(in crate::proxy) counts: Arc<Counts>,
}

impl View {
    /// What is served on the port; `None` once it was taken out of the configuration.
    pub(in crate::proxy) fn site(&self, port: u16) -> Option<Rc<Site>> {
        self.sites.get(&port).cloned()
    }

    /// The endpoints of the same Backend as those in `pool`, which is of an earlier view, where they are spoken to
    /// alike; else those.
    pub(in crate::proxy) fn successor<'v>(&'v self, pool: &'v Pool) -> &'v Pool {
        let found = self.pools.binary_search_by(|own| own.name.cmp(&pool.name));
        let found = found.ok().map(|at| &self.pools[at]);
        let alike = found.filter(|own| own.protocol == pool.protocol);
        alike.unwrap_or(pool)
    }

    /// The view of the worker with this index. Endpoints that it knows go on as they are, and so do the
    /// routers of LoadBalancers that are as they were in the view `before`.
    fn new(
        publication: &Publication,
        upstreams: &mut Upstreams,
        worker: usize,
        before: &Self,
    ) -> Self {
        let snapshot = &publication.snapshot;
        let pool = |backend: &Backend| Pool::new(backend, publication, upstreams, worker);
        let pools = snapshot.backends.iter().map(pool).collect();
        let mut sites = BTreeMap::new();
        for (at, load_balancer) in snapshot.load_balancers.iter().enumerate() {
            let limiters = publication.limiters.get(&load_balancer.name);
            let limiters = limiters.map_or(&[][..], Vec::as_slice);
            // One that has not changed has kept its limiters, too.
            let router = before
                .router(load_balancer)
                .unwrap_or_else(|| Rc::new(Router::new(load_balancer, limiters, worker)));
            let streams = &load_balancer.streams;
            let streams = (!streams.is_empty()).then(|| {
                let default = streams.default_backend;
                Rc::new(Router::over(&streams.routes, default, worker))
            });
            let counts = publication.counts.get(&load_balancer.name);
            for listener in &load_balancer.listeners {
                let site = Site {
                    snapshot: Arc::clone(snapshot),
                    at,
                    listener: listener.clone(),
                    router: Rc::clone(&router),
                    streams: streams.clone(),
                    counts: counts.cloned().unwrap_or_default(),
                    tls: publication
                        .tls
                        .listener(&load_balancer.name, &listener.name)
                        .cloned(),
                };
                sites.insert(listener.port, Rc::new(site));
            }
        }
        Self { sites, pools }
    }

    /// The router of this very LoadBalancer, where nothing about it has changed.
    fn router(&self, load_balancer: &LoadBalancer) -> Option<Rc<Router>> {
        let listener = load_balancer.listeners.first()?;
        let site = self.sites.get(&listener.port)?;
        (site.load_balancer() == load_balancer).then(|| Rc::clone(&site.router))
    }
}

impl Pool {
    fn new(
        backend: &Backend,
        publication: &Publication,
        upstreams: &mut Upstreams,
        worker: usize,
    ) -> Self {
        let mut endpoints = Vec::with_capacity(backend.endpoints.len());
        let spoken = match &backend.tls {
            UpstreamTls::No => Spoken::ClearText,
            UpstreamTls::Spoken(_) => publication
                .tls
                .backend(&backend.name)
                .map_or(Spoken::Nothing, Spoken::Tls),
            UpstreamTls::Unresolved => Spoken::Nothing,
        };
        for spec in &backend.endpoints {
            if let Some(gate) = publication.gates.get(&spec.id) {
                let upstream = upstreams.keep(spec, gate);
                upstream.speak(spoken, backend.protocol);
                upstream.set_send_proxy(backend.send_proxy);
                endpoints.push(upstream);
            }
        }
        let shared = publication.backends.get(&backend.name);
        let limited = upstreams.limited(backend, shared, worker);
        let most = backend.limits.map(|limits| limits.max_in_flight);
        let queue = limited.as_ref().filter(|limited| limited.queue.is_some());
        for upstream in &endpoints {
            let line = queue.map(|limited| Rc::clone(&limited.line));
            upstream.room.set(most, line);
        }
        let budgets = shared.iter().flat_map(|shared| {
            let drawn = |budget| Drawn::new(Arc::clone(budget), Arc::clone(&shared.counts), worker);
            shared.budgets.iter().map(drawn)
        });
        Self {
            name: backend.name.clone(),
            balancer: balancer(backend, &endpoints, shared, worker),
            endpoints,
            protocol: backend.protocol,
            limited,
            budgets: budgets.collect(),
        }
    }

    /// The budget of these figures.
    pub(in crate::proxy) fn budget(&self, figures: &RetryBudget) -> Option<&Rc<Drawn>> {
        let mut budgets = self.budgets.iter();
        budgets.find(|budget| budget.figures() == figures)
    }
}

fn balancer(
    backend: &Backend,
    endpoints: &[Rc<Upstream>],
    shared: Option<&Shared>,
    worker: usize,
) -> Balancer {
    let weights: Vec<u32> = endpoints.iter().map(Candidate::weight).collect();
    let table = shared.and_then(|shared| shared.table.clone());
    let warming = shared.zip(backend.slow_start).and_then(|(shared, span)| {
        let since = |upstream: &Rc<Upstream>| shared.since.get(&upstream.id).copied();
        Warming::new(span, endpoints.iter().map(since).collect())
    });
    Balancer::new(&backend.policy, &weights, worker, table, warming)
}

/// Every endpoint that this worker knows: those that are configured, and those that work was in flight on
/// when they were taken out.
#[derive(Default)]
pub(super) struct Upstreams {
    by_id: HashMap<EndpointId, Rc<Upstream>>,
    last_key: u64,
    /// Where requests wait, of each Backend with limits.
    lines: HashMap<ObjectName, Rc<Line>>,
}

impl Upstreams {
    pub(super) fn get(&self, id: &EndpointId) -> Option<&Upstream> {
        self.by_id.get(id).map(Rc::as_ref)
    }

    /// The endpoint of the configuration: as it was, where it is still the same.
    fn keep(&mut self, spec: &EndpointSpec, gate: &Arc<Gate>) -> Rc<Upstream> {
        let known = self.by_id.get(&spec.id);
        let upstream = match known {
            Some(known) if known.is(spec.address, gate) => Rc::clone(known),
            // A pod whose sandbox was made anew has another address: what is in flight at the old one is
            // still its own, and an order to cut reaches both by their key.
            Some(known) if known.is_behind(gate) => {
                known.close_idle();
                let (id, gate) = (spec.id.clone(), Arc::clone(gate));
                Rc::new(Upstream::new(id, spec.address, known.key, gate))
            }
            _ => {
                // From 1: a connection that works for none says 0.
                self.last_key += 1;
                let (id, gate) = (spec.id.clone(), Arc::clone(gate));
                Rc::new(Upstream::new(id, spec.address, self.last_key, gate))
            }
        };
        upstream.set_weight(spec.share());
        self.by_id.insert(spec.id.clone(), Rc::clone(&upstream));
        upstream
    }

    /// What becomes of requests while this Backend's endpoints are full; who waits already waits on.
    fn limited(
        &mut self,
        backend: &Backend,
        shared: Option<&Shared>,
        worker: usize,
    ) -> Option<Limited> {
        let (limits, shared) = backend.limits.zip(shared)?;
        let line = self.lines.get(&backend.name);
        let line = line.filter(|line| Arc::ptr_eq(line.bells(), &shared.bells));
        let line = line.cloned().unwrap_or_else(|| {
            let line = Rc::new(Line::new(Arc::clone(&shared.bells), worker));
            self.lines.insert(backend.name.clone(), Rc::clone(&line));
            line
        });
        Some(Limited {
            queue: limits.queue,
            line,
            counts: Arc::clone(&shared.counts),
        })
    }

    /// Has those who wait longest look again.
    pub(super) fn stir(&self) {
        for line in self.lines.values() {
            line.stir();
        }
    }

    /// Drops those that are no longer configured and have nothing in flight, and lines that nobody joins any more.
    fn forget_unused(&mut self, view: &View) {
        self.lines.retain(|_, line| Rc::strong_count(line) > 1);
        let endpoints = view.pools.iter().flat_map(|pool| &pool.endpoints);
        let configured: HashSet<u64> = endpoints.map(|upstream| upstream.key).collect();
        self.by_id.retain(|_, upstream| {
            configured.contains(&upstream.key) || Rc::strong_count(upstream) > 1
        });
    }

    /// Closes kept connections whose time is over.
    pub(super) fn sweep(&self, now: Instant) {
        for upstream in self.by_id.values() {
            upstream.sweep(now);
        }
    }
}

impl Worker {
    /// Swaps the configuration whole. Exchanges under way keep what they began with.
    pub(super) fn publish(&self, publication: &Publication) {
        let mut upstreams = self.upstreams.borrow_mut();
        let before = self.view();
        let worker = self.slot.index();
        let view = Rc::new(View::new(publication, &mut upstreams, worker, &before));
        drop(before);
        for open in self.doors.borrow().values() {
            open.show(&view);
        }
        // The last view goes first: what only it had is unused.
        self.view.replace(Rc::clone(&view));
        upstreams.stir();
        upstreams.forget_unused(&view);
    }
}
