//! All endpoints, kept over changes of the configuration by their identity (Law 9): what is configured,
//! asked and seen comes in here, and each goes as far as it can.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::coordinator::{DataPlane, Emptied};
use super::endpoint::{Endpoint, Settled};
use super::{Journal, TargetError};
use crate::gate::Gate;
use crate::model::drain::{Drain, Held, Operator};
use crate::model::report::{
    BackendReport, DEREGISTERING, EndpointReport, IN_SERVICE, ServiceState,
};
use crate::model::{AdminState, DrainPolicy, EndpointId, Member, ObjectName, Snapshot, Target};

pub(super) struct Endpoints {
    workers: usize,
    wake: mpsc::UnboundedSender<Emptied>,
    journal: Journal,
    by_id: BTreeMap<EndpointId, Endpoint>,
    /// Pods that are held, by UID: an endpoint of one that comes now comes closed.
    held_pods: BTreeMap<Arc<str>, Held>,
    /// Configurations so far.
    configurations: u64,
    changed: bool,
}

/// What a look at all endpoints found that holds have to know.
#[derive(Default)]
pub(super) struct Looked {
    /// Gates that were opened again, with their generation: what was confirmed before counts no more.
    pub(super) opened: Vec<(EndpointId, u64)>,
    /// Endpoints that were confirmed to have nothing in flight.
    pub(super) confirmed: Vec<Confirmed>,
}

/// An endpoint that was confirmed to have nothing in flight.
pub(super) struct Confirmed {
    pub(super) id: EndpointId,
    pub(super) generation: u64,
    pub(super) cut: bool,
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
            held_pods: BTreeMap::new(),
            configurations: 0,
            changed: false,
        }
    }

    /// The workers are about to run this: new endpoints get their state, those that are back are back.
    /// Nobody leaves yet. Returns the gates of what is configured, and the configuration's number.
    pub(super) fn prepare(
        &mut self,
        snapshot: &Snapshot,
        now: Instant,
    ) -> (HashMap<EndpointId, Arc<Gate>>, u64) {
        self.configurations += 1;
        let mut gates = HashMap::new();
        for backend in &snapshot.backends {
            for spec in &backend.endpoints {
                let held = match &spec.id.member {
                    Member::Pod { uid, .. } => self.held_pods.get(uid).copied(),
                    Member::Static(_) => None,
                };
                let endpoint = self.by_id.entry(spec.id.clone()).or_insert_with(|| {
                    Endpoint::new(self.workers, self.wake.clone(), backend, spec, held, now)
                });
                endpoint.prepare(self.configurations, backend, spec, now);
                gates.insert(spec.id.clone(), Arc::clone(&endpoint.gate));
            }
        }
        self.changed = true;
        (gates, self.configurations)
    }

    /// Every worker runs this: what it says counts, and those that are gone begin to leave (ELB's
    /// deregistration). Not before, or a request could find the old ones closed and not know the new.
    pub(super) fn configure(&mut self, number: u64, snapshot: &Snapshot, now: Instant) {
        for backend in &snapshot.backends {
            for spec in &backend.endpoints {
                if let Some(endpoint) = self.by_id.get_mut(&spec.id) {
                    endpoint.configure(backend, spec, now);
                }
            }
        }
        for endpoint in self.by_id.values_mut() {
            endpoint.remove_unless_wanted(number, now);
        }
        self.changed = true;
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

    /// The endpoints of a pod.
    pub(super) fn of_pod(&self, uid: &str) -> Vec<EndpointId> {
        let is_its = |id: &&EndpointId| match &id.member {
            Member::Pod { uid: own, .. } => **own == *uid,
            Member::Static(_) => false,
        };
        self.by_id.keys().filter(is_its).cloned().collect()
    }

    /// From now on whatever is heard of the pod begins closed.
    pub(super) fn hold_pod(&mut self, uid: &Arc<str>, held: Held) {
        self.held_pods
            .entry(Arc::clone(uid))
            .and_modify(|known| *known = tighter(*known, held))
            .or_insert(held);
    }

    /// The pod is not held any more.
    pub(super) fn unhold_pod(&mut self, uid: &str) {
        self.held_pods.remove(uid);
    }

    fn backend_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.by_id.keys().map(|id| id.backend.to_string()).collect();
        names.dedup();
        names
    }

    /// A gate says that it may be empty.
    pub(super) fn emptied(&mut self, emptied: &Emptied) {
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
            endpoint.causes.held = Some(earlier.map_or(held, |known| tighter(known, held)));
            self.changed = true;
        }
    }

    /// A hold that stands finds its endpoint enabled again by an operator: it is to leave after all.
    /// True where it was.
    pub(super) fn hold_again(&mut self, id: &EndpointId, held: Held) -> bool {
        match self.by_id.get_mut(id) {
            Some(endpoint) if endpoint.causes.held.is_none() => {
                endpoint.causes.held = Some(held);
                self.changed = true;
                true
            }
            _ => false,
        }
    }

    /// A hold on the endpoint ends earlier than was known, or for a better reason.
    pub(super) fn tighten_hold(&mut self, id: &EndpointId, held: Held) {
        if let Some(known) = self.by_id.get_mut(id).and_then(|e| e.causes.held.as_mut()) {
            *known = tighter(*known, held);
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

    /// A hold that was hearsay has ended: of what it covered, that which served on as the last of its
    /// Backend is held no more. True where that was all of it.
    pub(super) fn spared<'a>(&mut self, ids: impl Iterator<Item = &'a EndpointId>) -> bool {
        let (mut any, mut all) = (false, true);
        for id in ids {
            let Some(endpoint) = self.by_id.get_mut(id) else {
                continue;
            };
            any = true;
            all &= endpoint.drain.is_open();
            if endpoint.drain.is_open() && endpoint.holds == 0 {
                endpoint.causes.held = None;
                self.changed = true;
            }
        }
        any && all
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
    pub(super) fn are_being_cut<'a>(&self, mut ids: impl Iterator<Item = &'a EndpointId>) -> bool {
        ids.any(|id| self.by_id.get(id).is_some_and(Endpoint::is_being_cut))
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
        confirmed(id, self.by_id.get(id)?)
    }

    /// Steps every endpoint as far as it goes now, and forgets those that are gone and drained.
    pub(super) fn settle(&mut self, now: Instant, data_plane: &dyn DataPlane) -> Looked {
        let mut looked = Looked::default();
        let replaceable = self.replaceable();
        for ((id, endpoint), replaceable) in self.by_id.iter_mut().zip(replaceable) {
            let before = std::mem::discriminant(&endpoint.drain);
            let settled = endpoint.settle(id, replaceable, now, data_plane, &self.journal);
            match settled {
                Settled::Same => {}
                Settled::Opened => {
                    let generation = endpoint.gate.phase().generation.0;
                    looked.opened.push((id.clone(), generation));
                }
                Settled::Drained => looked.confirmed.extend(confirmed(id, endpoint)),
            }
            self.changed |= before != std::mem::discriminant(&endpoint.drain);
        }
        self.by_id.retain(|_, endpoint| !endpoint.is_gone());
        looked
    }

    /// For each endpoint, whether its Backend has one that could take the work of another.
    fn replaceable(&self) -> Vec<bool> {
        // Sorted by Backend.
        let all: Vec<_> = self.by_id.iter().collect();
        all.chunk_by(|(a, _), (b, _)| a.backend == b.backend)
            .flat_map(|endpoints| {
                let replaceable = endpoints.iter().any(|(_, one)| one.replaces());
                std::iter::repeat_n(replaceable, endpoints.len())
            })
            .collect()
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

/// Of two holds on one endpoint the earlier deadline counts, and the one that proved something.
fn tighter(known: Held, other: Held) -> Held {
    Held {
        since: known.since,
        deadline: known.deadline.min(other.deadline),
        spare_last: known.spare_last && other.spare_last,
    }
}

fn confirmed(id: &EndpointId, endpoint: &Endpoint) -> Option<Confirmed> {
    let Drain::Drained { cut, .. } = endpoint.drain else {
        return None;
    };
    Some(Confirmed {
        id: id.clone(),
        generation: endpoint.gate.phase().generation.0,
        cut,
    })
}

fn backend_report(name: &ObjectName, endpoints: Vec<EndpointReport>) -> BackendReport {
    let count =
        |wanted: fn(&EndpointReport) -> bool| endpoints.iter().filter(|e| wanted(e)).count() as u64;
    let in_service = count(|e| e.state == ServiceState::InService && e.description == IN_SERVICE);
    let draining = count(|e| e.description == DEREGISTERING);
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
