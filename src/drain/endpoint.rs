//! One endpoint's live state: its gate, why it leaves, and how far it is; what the state machine in
//! `model::drain` asks for is done here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::coordinator::{DataPlane, Emptied};
use super::{Entry, Journal};
use crate::gate::{Gate, Generation, State, Wake};
use crate::model::drain::{Action, Causes, Drain, Event, Held, StoppingSince, wish};
use crate::model::report::{EndpointReport, ServiceState, UNHEALTHY, millis};
use crate::model::{AdminState, Backend, DrainPolicy, EndpointId, EndpointSpec, Member, Stopping};

pub(super) struct Endpoint {
    pub(super) gate: Arc<Gate>,
    pub(super) spec: EndpointSpec,
    pub(super) policy: DrainPolicy,
    pub(super) causes: Causes,
    pub(super) drain: Drain,
    /// When the gate's last request left, by the worker's own clock reading.
    pub(super) emptied_at: Option<Instant>,
    /// What the gate had cut before this drain.
    cut_before: u64,
    last_drain: Option<Duration>,
    /// Holds that wait for it now.
    pub(super) holds: u64,
    /// The latest configuration that has it, by its number.
    wanted: u64,
    /// Every worker runs a configuration that has it.
    runs: bool,
}

/// What became of an endpoint in one look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Nothing that a hold has to know.
    Same,
    /// Its gate was opened again.
    Opened,
    /// It was confirmed to have nothing in flight.
    Drained,
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
    /// An endpoint that serves; or, where its pod is `held` already, one that never has: closed and empty.
    /// Where that is hearsay, whether it closes is decided as for one that was there.
    pub(super) fn new(
        workers: usize,
        wake: mpsc::UnboundedSender<Emptied>,
        backend: &Backend,
        spec: &EndpointSpec,
        held: Option<Held>,
        now: Instant,
    ) -> Self {
        let wake = Arc::new(WakeCoordinator {
            id: spec.id.clone(),
            emptied: wake,
        });
        let (state, drain) = match held {
            Some(held) if !held.spare_last => (State::Closed, Drain::empty(now)),
            _ => (State::Open, Drain::Serving { since: now }),
        };
        Self {
            gate: Arc::new(Gate::new(workers, state, wake)),
            spec: spec.clone(),
            policy: backend.draining,
            causes: Causes {
                held,
                ..Causes::new(AdminState::Enabled, now)
            },
            drain,
            emptied_at: None,
            cut_before: 0,
            last_drain: None,
            holds: 0,
            wanted: 0,
            runs: false,
        }
    }

    /// The workers are about to run a configuration that has it: what comes is let in now, what goes by it
    /// goes when they run it ([`Self::configure`]).
    pub(super) fn prepare(
        &mut self,
        number: u64,
        backend: &Backend,
        spec: &EndpointSpec,
        now: Instant,
    ) {
        self.wanted = number;
        self.causes.removed = None;
        let configured = AdminState::narrowest(spec.admin_state, backend.admin_state);
        if !self.runs || configured < self.causes.configured.0 {
            self.set_configured(configured, now);
        }
    }

    /// The workers run a configuration that says this.
    pub(super) fn configure(&mut self, backend: &Backend, spec: &EndpointSpec, now: Instant) {
        self.spec = spec.clone();
        self.policy = backend.draining;
        self.runs = true;
        self.set_stopping(spec.stopping, now);
        self.set_configured(
            AdminState::narrowest(spec.admin_state, backend.admin_state),
            now,
        );
    }

    fn set_configured(&mut self, configured: AdminState, now: Instant) {
        if self.causes.configured.0 != configured {
            self.causes.configured = (configured, now);
        }
    }

    /// Its pod's end counts from when it was first seen: no other machine's clock is trusted.
    fn set_stopping(&mut self, stopping: Option<Stopping>, now: Instant) {
        self.causes.stopping = stopping.map(|pod| {
            let since = self.causes.stopping.map_or(now, |known| known.since);
            StoppingSince {
                since,
                until: since + pod.grace,
            }
        });
    }

    /// The workers run the configuration of this number. If neither it nor a later one has the endpoint, it
    /// leaves.
    pub(super) fn remove_unless_wanted(&mut self, number: u64, now: Instant) {
        if self.wanted < number && self.causes.removed.is_none() {
            self.causes.removed = Some(now);
            // Its admin state was written where it no longer is.
            self.causes.configured = (AdminState::Enabled, now);
        }
    }

    /// Nothing of it is left to wait for.
    pub(super) fn is_gone(&self) -> bool {
        self.causes.removed.is_some()
            && self.holds == 0
            && matches!(self.drain, Drain::Drained { .. })
    }

    pub(super) fn cut_in_this_drain(&self) -> u64 {
        self.gate.cut() - self.cut_before
    }

    /// Whether work on it was ordered to end and has not all ended yet.
    pub(super) fn is_being_cut(&self) -> bool {
        matches!(
            self.drain,
            Drain::Draining {
                cut: true,
                empty: None,
                ..
            }
        )
    }

    /// Takes new work, and will not stop by itself: a replacement for others.
    pub(super) fn replaces(&self) -> bool {
        self.runs
            && matches!(self.drain, Drain::Serving { .. })
            && self.causes.reason().is_none()
            && self.holds == 0
            && self.spec.share() > 0
    }

    /// Steps it as far as it goes now. `replaceable`: another endpoint of its Backend takes new work.
    pub(super) fn settle(
        &mut self,
        id: &EndpointId,
        replaceable: bool,
        now: Instant,
        data_plane: &dyn DataPlane,
        journal: &Journal,
    ) -> Settled {
        let was_closed = !self.drain.is_open();
        let policy = DrainPolicy {
            min: self.policy.min.max(self.spec.min),
            ..self.policy
        };
        let wished = wish(&self.causes, &policy, replaceable, now);
        let mut drained = false;
        for event in [Event::Wish(wished), Event::Tick] {
            drained |= self.step(id, event, now, data_plane, journal);
        }
        let generation = self.gate.phase().generation;
        if matches!(self.drain, Drain::Draining { empty: None, .. })
            && self.gate.confirms_drained(generation)
        {
            let event = Event::Empty {
                generation: generation.0,
                at: self.emptied_at.unwrap_or(now),
            };
            drained |= self.step(id, event, now, data_plane, journal);
        }
        match drained {
            true => Settled::Drained,
            false if was_closed && self.drain.is_open() => Settled::Opened,
            false => Settled::Same,
        }
    }

    /// One step and what it asks for; true where the endpoint became drained.
    fn step(
        &mut self,
        id: &EndpointId,
        event: Event,
        now: Instant,
        data_plane: &dyn DataPlane,
        journal: &Journal,
    ) -> bool {
        let next_generation = self.gate.phase().generation.0 + 1;
        let (drain, actions) = self.drain.step(event, now, next_generation);
        self.drain = drain;
        // Before a cut: what is cut is gone in microseconds.
        let in_flight = self.gate.in_flight();
        for action in &actions {
            self.act(*action, id, in_flight, data_plane, journal);
        }
        actions.contains(&Action::ReportDrained)
    }

    fn act(
        &mut self,
        action: Action,
        id: &EndpointId,
        in_flight: u64,
        data_plane: &dyn DataPlane,
        journal: &Journal,
    ) {
        match action {
            Action::CloseGate => {
                self.emptied_at = None;
                self.cut_before = self.gate.cut();
                self.gate.change(State::Closed);
                data_plane.closed(id);
                journal(&Entry::DrainStarted {
                    id: id.clone(),
                    reason: self.causes.reason().unwrap_or("Unknown"),
                    in_flight: self.gate.in_flight(),
                });
            }
            Action::OpenGate => {
                self.gate.change(State::Open);
                journal(&Entry::BackInService { id: id.clone() });
            }
            Action::CutInFlight => data_plane.cut(id, self.gate.phase().generation),
            Action::ReportTimeout => journal(&Entry::DrainTimedOut {
                id: id.clone(),
                in_flight,
            }),
            Action::ReportDrained => {
                if let Drain::Drained { took, .. } = self.drain {
                    self.last_drain = Some(took);
                    journal(&Entry::DrainCompleted {
                        id: id.clone(),
                        took,
                        cut: self.cut_in_this_drain(),
                    });
                }
            }
        }
    }

    pub(super) fn report(&self, now: Instant) -> EndpointReport {
        let admin_state = self.causes.admin_state();
        let unready = self.drain.is_open() && !self.spec.ready;
        let (state, description) = if unready {
            (ServiceState::OutOfService, UNHEALTHY)
        } else {
            self.drain.describe(admin_state)
        };
        let reason = self.causes.reason().or(unready.then_some("NotReady"));
        let deadline = match self.drain {
            Drain::Draining {
                order, cut: false, ..
            } => Some(order.deadline),
            _ => None,
        };
        EndpointReport {
            address: self.spec.address.to_string(),
            pod: self.spec.pod.as_ref().map(ToString::to_string),
            pod_uid: match &self.spec.id.member {
                Member::Static(_) => None,
                Member::Pod { uid, .. } => Some(uid.to_string()),
            },
            state,
            description: description.to_owned(),
            reason: reason.map(str::to_owned),
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
