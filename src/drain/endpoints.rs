//! Every endpoint's live state, kept over changes of the configuration by its identity (Law 9): its
//! gate, why it leaves, and how far it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::coordinator::{DataPlane, Emptied};
use super::{Entry, Journal, TargetError};
use crate::gate::{Gate, Generation, State, Wake};
use crate::model::drain::{Action, Causes, Drain, Event, Held, Operator, wish};
use crate::model::report::{BackendReport, EndpointReport, ServiceState};
use crate::model::{
    AdminState, Backend, DrainPolicy, EndpointId, EndpointSpec, Member, ObjectName, Snapshot,
    Target,
};

pub(super) struct Endpoints {
    workers: usize,
    wake: mpsc::UnboundedSender<Emptied>,
    journal: Journal,
    by_id: BTreeMap<EndpointId, Endpoint>,
    changed: bool,
}

struct Endpoint {
    gate: Arc<Gate>,
    spec: EndpointSpec,
    policy: DrainPolicy,
    causes: Causes,
    drain: Drain,
    /// When the gate's last request left, by the worker's own clock reading.
    emptied_at: Option<Instant>,
    /// What the gate had cut before this drain.
    cut_before: u64,
    last_drain: Option<Duration>,
    holds: u64,
}

/// An endpoint that was confirmed to have nothing in flight.
pub(super) struct Confirmed {
    pub(super) id: EndpointId,
    pub(super) generation: u64,
    pub(super) cut: bool,
}

/// Takes a gate's wake-up to the coordinator's task, with the moment it happened.
struct WakeCoordinator {
    id: EndpointId,
    emptied: mpsc::UnboundedSender<Emptied>,
}

impl Wake for WakeCoordinator {
    fn emptied(&self, generation: Generation) {
        // Fails only when the coordinator has ended, and with it everyone who waits.
        let _ = self.emptied.send(Emptied {
            id: self.id.clone(),
            generation,
            at: Instant::now(),
        });
    }
}

impl Endpoint {
    fn new(
        workers: usize,
        wake: Arc<dyn Wake>,
        backend: &Backend,
        spec: &EndpointSpec,
        now: Instant,
    ) -> Self {
        Self {
            gate: Arc::new(Gate::new(workers, State::Open, wake)),
            spec: spec.clone(),
            policy: backend.draining,
            causes: Causes::new(AdminState::Enabled, now),
            drain: Drain::Serving { since: now },
            emptied_at: None,
            cut_before: 0,
            last_drain: None,
            holds: 0,
        }
    }

    fn cut_in_this_drain(&self) -> u64 {
        self.gate.cut() - self.cut_before
    }

    /// Takes new work, and will not stop by itself: a replacement for others.
    fn replaces(&self) -> bool {
        matches!(self.drain, Drain::Serving { .. })
            && self.causes.reason().is_none()
            && self.spec.weight > 0
    }

    fn report(&self, now: Instant) -> EndpointReport {
        let admin_state = self.causes.admin_state();
        let (state, description) = self.drain.describe(admin_state);
        let deadline = match self.drain {
            Drain::Draining {
                order, cut: false, ..
            } => Some(order.deadline),
            _ => None,
        };
        EndpointReport {
            address: self.spec.address.to_string(),
            pod_uid: match &self.spec.id.member {
                Member::Static(_) => None,
                Member::Pod { uid, .. } => Some(uid.to_string()),
            },
            state,
            description: description.to_owned(),
            reason: self.causes.reason().map(str::to_owned),
            admin_state,
            weight: self.spec.weight,
            in_flight: self.gate.in_flight(),
            requests_total: self.gate.entered(),
            cut_total: self.gate.cut(),
            since_millis: millis(now.saturating_duration_since(self.drain.since())),
            deadline_millis: deadline.map(|at| millis(at.saturating_duration_since(now))),
            drain_millis: self.last_drain.map(millis),
            holds: self.holds,
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Endpoints {
    pub(super) fn new(
        workers: usize,
        wake: mpsc::UnboundedSender<Emptied>,
        journal: Journal,
    ) -> Self {
        Self {
            workers,
            wake,
            journal,
            by_id: BTreeMap::new(),
            changed: false,
        }
    }

    /// Takes the configuration in: new endpoints get their state, those that are gone begin to leave
    /// (ELB's deregistration), those that are back are back. Returns the gates of what is configured.
    pub(super) fn configure(
        &mut self,
        snapshot: &Snapshot,
        now: Instant,
    ) -> HashMap<EndpointId, Arc<Gate>> {
        let mut gates = HashMap::new();
        for backend in &snapshot.backends {
            for spec in &backend.endpoints {
                let endpoint = self.by_id.entry(spec.id.clone()).or_insert_with(|| {
                    let wake = WakeCoordinator {
                        id: spec.id.clone(),
                        emptied: self.wake.clone(),
                    };
                    Endpoint::new(self.workers, Arc::new(wake), backend, spec, now)
                });
                endpoint.spec = spec.clone();
                endpoint.policy = backend.draining;
                endpoint.causes.removed = None;
                let configured = AdminState::narrowest(spec.admin_state, backend.admin_state);
                if endpoint.causes.configured.0 != configured {
                    endpoint.causes.configured = (configured, now);
                }
                gates.insert(spec.id.clone(), Arc::clone(&endpoint.gate));
            }
        }
        for (id, endpoint) in &mut self.by_id {
            if !gates.contains_key(id) && endpoint.causes.removed.is_none() {
                endpoint.causes.removed = Some(now);
                // Its admin state was written where it no longer is.
                endpoint.causes.configured = (AdminState::Enabled, now);
            }
        }
        self.changed = true;
        gates
    }

    /// Sets what the operator wants of every endpoint the target covers. Enabled also withdraws a hold
    /// (Law 6), but does not overrule the configuration.
    pub(super) fn set_admin_state(
        &mut self,
        target: &Target,
        state: AdminState,
        timeout: Option<Duration>,
        now: Instant,
    ) -> Result<Vec<EndpointId>, TargetError> {
        let ids = self.resolve(target)?;
        if state == AdminState::Enabled
            && let Some(configured) = self.configured_otherwise(&ids)
        {
            return Err(TargetError::ConfiguredOtherwise {
                target: target.to_string(),
                state: configured,
            });
        }
        for id in &ids {
            if let Some(endpoint) = self.by_id.get_mut(id) {
                endpoint.causes.operator = match state {
                    AdminState::Enabled => None,
                    AdminState::Draining | AdminState::Disabled => Some(Operator {
                        state,
                        since: now,
                        timeout,
                    }),
                };
                if state == AdminState::Enabled {
                    endpoint.causes.held = None;
                }
            }
        }
        self.changed = true;
        Ok(ids)
    }

    fn configured_otherwise(&self, ids: &[EndpointId]) -> Option<AdminState> {
        ids.iter()
            .filter_map(|id| self.by_id.get(id))
            .map(|e| e.causes.configured.0)
            .find(|state| *state != AdminState::Enabled)
    }

    /// The endpoints a target covers; those that were removed count while they are still known.
    pub(super) fn resolve(&self, target: &Target) -> Result<Vec<EndpointId>, TargetError> {
        let of_backend: Vec<_> = self
            .by_id
            .keys()
            .filter(|id| id.backend == target.backend)
            .collect();
        if of_backend.is_empty() {
            return Err(TargetError::NoBackend {
                namespace: target.backend.namespace.to_string(),
                name: target.backend.name.to_string(),
                known: self.backend_names(),
            });
        }
        let ids: Vec<_> = of_backend
            .iter()
            .filter(|id| target.covers(id))
            .map(|id| (*id).clone())
            .collect();
        if ids.is_empty() {
            return Err(TargetError::NoEndpoint {
                target: target.to_string(),
                known: of_backend.iter().map(|id| id.member.to_string()).collect(),
            });
        }
        Ok(ids)
    }

    fn backend_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.by_id.keys().map(|id| id.backend.to_string()).collect();
        names.dedup();
        names
    }

    /// A gate says that it may be empty.
    pub(super) fn emptied(&mut self, emptied: &Emptied, _now: Instant) {
        if let Some(endpoint) = self.by_id.get_mut(&emptied.id)
            && endpoint.gate.phase().generation == emptied.generation
        {
            endpoint.emptied_at = Some(emptied.at);
        }
    }

    /// Marks the endpoint as held; several holds on it share the earliest deadline.
    pub(super) fn hold(&mut self, id: &EndpointId, held: Held) {
        if let Some(endpoint) = self.by_id.get_mut(id) {
            endpoint.holds += 1;
            let earlier = endpoint.causes.held.filter(|_| endpoint.holds > 1);
            endpoint.causes.held = Some(earlier.map_or(held, |known| Held {
                since: known.since,
                deadline: known.deadline.min(held.deadline),
            }));
            self.changed = true;
        }
    }

    /// A hold on the endpoint has ended; the endpoint stays as it is.
    pub(super) fn unhold(&mut self, id: &EndpointId) {
        if let Some(endpoint) = self.by_id.get_mut(id) {
            endpoint.holds = endpoint.holds.saturating_sub(1);
            self.changed = true;
        }
    }

    /// The hold on the endpoint was for nothing: it serves on, unless another cause stands.
    pub(super) fn withdraw_hold(&mut self, id: &EndpointId) {
        if let Some(endpoint) = self.by_id.get_mut(id)
            && endpoint.holds == 0
        {
            endpoint.causes.held = None;
            self.changed = true;
        }
    }

    pub(super) fn policy(&self, id: &EndpointId) -> Option<DrainPolicy> {
        self.by_id.get(id).map(|e| e.policy)
    }

    /// Requests in flight on the endpoints.
    pub(super) fn in_flight<'a>(&self, ids: impl Iterator<Item = &'a EndpointId>) -> u64 {
        ids.filter_map(|id| self.by_id.get(id))
            .map(|e| e.gate.in_flight())
            .sum()
    }

    /// Requests that the present drain of the endpoints has cut.
    pub(super) fn cut<'a>(&self, ids: impl Iterator<Item = &'a EndpointId>) -> u64 {
        ids.filter_map(|id| self.by_id.get(id))
            .map(Endpoint::cut_in_this_drain)
            .sum()
    }

    /// Whether work on one of the endpoints was ordered to end and has not all ended yet.
    pub(super) fn are_being_cut<'a>(
        &self,
        mut ids: impl Iterator<Item = &'a EndpointId>,
    ) -> bool {
        let being_cut = |e: &Endpoint| {
            matches!(
                e.drain,
                Drain::Draining {
                    cut: true,
                    empty: None,
                    ..
                }
            )
        };
        ids.any(|id| self.by_id.get(id).is_some_and(being_cut))
    }

    /// When the last of the endpoints became empty.
    pub(super) fn last_byte<'a>(
        &self,
        ids: impl Iterator<Item = &'a EndpointId>,
    ) -> Option<Instant> {
        ids.filter_map(|id| self.by_id.get(id))
            .filter_map(|e| match e.drain {
                Drain::Drained { empty, .. } => Some(empty),
                _ => e.emptied_at,
            })
            .max()
    }

    /// What the endpoint confirms now, if it is drained: also for a hold that comes after the fact.
    pub(super) fn confirmed(&self, id: &EndpointId) -> Option<Confirmed> {
        let endpoint = self.by_id.get(id)?;
        let Drain::Drained { cut, .. } = endpoint.drain else {
            return None;
        };
        Some(Confirmed {
            id: id.clone(),
            generation: endpoint.gate.phase().generation.0,
            cut,
        })
    }

    /// Steps every endpoint as far as it goes now, and forgets those that are gone and drained.
    pub(super) fn settle(&mut self, now: Instant, data_plane: &dyn DataPlane) -> Vec<Confirmed> {
        let mut confirmed = Vec::new();
        let mut replacements: HashMap<ObjectName, u64> = HashMap::new();
        for (id, endpoint) in &self.by_id {
            *replacements.entry(id.backend.clone()).or_default() += u64::from(endpoint.replaces());
        }
        let ids: Vec<EndpointId> = self.by_id.keys().cloned().collect();
        for id in ids {
            let replaceable = replacements.get(&id.backend).is_some_and(|n| *n > 0);
            confirmed.extend(self.settle_one(&id, replaceable, now, data_plane));
        }
        self.by_id.retain(|_, e| {
            let gone = e.causes.removed.is_some()
                && e.holds == 0
                && matches!(e.drain, Drain::Drained { .. });
            !gone
        });
        confirmed
    }

    fn settle_one(
        &mut self,
        id: &EndpointId,
        replaceable: bool,
        now: Instant,
        data_plane: &dyn DataPlane,
    ) -> Option<Confirmed> {
        let endpoint = self.by_id.get_mut(id)?;
        let before = endpoint.drain;
        let wished = wish(&endpoint.causes, &endpoint.policy, replaceable, now);
        let mut drained = false;
        for event in [Event::Wish(wished), Event::Tick] {
            drained |= Self::step(id, endpoint, event, now, data_plane, &self.journal);
        }
        let generation = endpoint.gate.phase().generation;
        if matches!(endpoint.drain, Drain::Draining { empty: None, .. })
            && endpoint.gate.confirms_drained(generation)
        {
            let at = endpoint.emptied_at.unwrap_or(now);
            let event = Event::Empty {
                generation: generation.0,
                at,
            };
            drained |= Self::step(id, endpoint, event, now, data_plane, &self.journal);
        }
        if std::mem::discriminant(&before) != std::mem::discriminant(&endpoint.drain) {
            self.changed = true;
        }
        if drained { self.confirmed(id) } else { None }
    }

    /// One step and what it asks for; true where the endpoint became drained.
    fn step(
        id: &EndpointId,
        endpoint: &mut Endpoint,
        event: Event,
        now: Instant,
        data_plane: &dyn DataPlane,
        journal: &Journal,
    ) -> bool {
        let next_generation = endpoint.gate.phase().generation.0 + 1;
        let (drain, actions) = endpoint.drain.step(event, now, next_generation);
        endpoint.drain = drain;
        let mut drained = false;
        // Before a cut: what is cut is gone in microseconds.
        let in_flight = endpoint.gate.in_flight();
        for action in actions {
            match action {
                Action::CloseGate => {
                    endpoint.emptied_at = None;
                    endpoint.cut_before = endpoint.gate.cut();
                    endpoint.gate.change(State::Closed);
                    data_plane.closed(id);
                    journal(&Entry::DrainStarted {
                        id: id.clone(),
                        reason: endpoint.causes.reason().unwrap_or("Unknown"),
                        in_flight: endpoint.gate.in_flight(),
                    });
                }
                Action::OpenGate => {
                    endpoint.gate.change(State::Open);
                    journal(&Entry::BackInService { id: id.clone() });
                }
                Action::CutInFlight => data_plane.cut(id),
                Action::ReportTimeout => journal(&Entry::DrainTimedOut {
                    id: id.clone(),
                    in_flight,
                }),
                Action::ReportDrained => {
                    drained = true;
                    if let Drain::Drained { took, .. } = endpoint.drain {
                        endpoint.last_drain = Some(took);
                        journal(&Entry::DrainCompleted {
                            id: id.clone(),
                            took,
                            cut: endpoint.cut_in_this_drain(),
                        });
                    }
                }
            }
        }
        drained
    }

    /// When time alone would next change something.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.by_id
            .values()
            .filter_map(|e| e.drain.next_timer())
            .min()
    }

    /// Whether a state has changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn report(&self, now: Instant) -> Vec<BackendReport> {
        let mut backends: BTreeMap<&ObjectName, Vec<EndpointReport>> = BTreeMap::new();
        for (id, endpoint) in &self.by_id {
            backends
                .entry(&id.backend)
                .or_default()
                .push(endpoint.report(now));
        }
        backends
            .into_iter()
            .map(|(name, endpoints)| backend_report(name, endpoints))
            .collect()
    }
}

fn backend_report(name: &ObjectName, endpoints: Vec<EndpointReport>) -> BackendReport {
    let count =
        |wanted: fn(&EndpointReport) -> bool| endpoints.iter().filter(|e| wanted(e)).count() as u64;
    let in_service = count(|e| {
        e.state == ServiceState::InService && e.description == crate::model::report::IN_SERVICE
    });
    let draining = count(|e| e.description == crate::model::report::DEREGISTERING);
    BackendReport {
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        total: endpoints.len() as u64,
        in_service,
        draining,
        out_of_service: endpoints.len() as u64 - in_service - draining,
        endpoints,
    }
}
