//! The drain of one endpoint: why it leaves ([`Causes`]), what follows from that ([`wish`]), and the
//! state machine that closes its gate, waits, cuts at the deadline and opens it again ([`Drain`]).
//!
//! Pure: time and the gate's next generation are arguments; what is to be done comes back as
//! [`Action`]s for the coordinator.

use std::time::{Duration, Instant};

use super::report::{DEREGISTERED, DEREGISTERING, IN_SERVICE, ServiceState};
use super::snapshot::{AdminState, DrainPolicy, LastEndpoint};

/// Everything that can make an endpoint leave. None set: it serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Causes {
    /// What the configuration says, and since when.
    pub configured: (AdminState, Instant),
    /// What an operator set at run time, and since when; `timeout` replaces the Backend's.
    pub operator: Option<Operator>,
    /// Since when it is gone from its Backend.
    pub removed: Option<Instant>,
    /// Its pod is being stopped, hook or not.
    pub stopping: Option<StoppingSince>,
    /// Its server asked to be let go.
    pub held: Option<Held>,
}

/// A pod's end as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoppingSince {
    /// When it was first seen.
    pub since: Instant,
    /// When it is killed at the latest.
    pub until: Instant,
}

/// An admin state set at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Draining or Disabled (Enabled is the absence of an operator's wish).
    pub state: AdminState,
    /// When it was set.
    pub since: Instant,
    /// In place of the Backend's drain timeout.
    pub timeout: Option<Duration>,
}

/// A hold on the endpoint, also after its release: until it is withdrawn the endpoint stays closed
/// (Laws 2 and 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The first call.
    pub since: Instant,
    /// When the caller is let go whatever is in flight.
    pub deadline: Instant,
    /// The caller proved nothing: the last endpoint that could serve is not taken out on its word alone.
    pub spare_last: bool,
}

impl Causes {
    /// An endpoint that was just configured.
    pub fn new(configured: AdminState, now: Instant) -> Self {
        Self {
            configured: (configured, now),
            operator: None,
            removed: None,
            stopping: None,
            held: None,
        }
    }

    /// The operator's state: what was set at run time, and where that is absent what the
    /// configuration says; of two that are not Enabled the stronger.
    pub fn admin_state(&self) -> AdminState {
        let set = self.operator.map_or(AdminState::Enabled, |o| o.state);
        set.max(self.configured.0)
    }

    /// One CamelCase word for why it leaves; `None` where it does not.
    pub fn reason(&self) -> Option<&'static str> {
        match self.admin_state() {
            AdminState::Disabled => return Some("AdminStateDisabled"),
            AdminState::Draining if self.held.is_none() && self.stopping.is_none() => {
                return Some("AdminStateDraining");
            }
            AdminState::Draining | AdminState::Enabled => {}
        }
        if self.held.is_some() {
            Some("Held")
        } else if self.stopping.is_some() {
            Some("PodStopping")
        } else if self.removed.is_some() {
            Some("Removed")
        } else {
            None
        }
    }

    /// Since when its server is about to end, and when that has to be over: as its hook says, and without
    /// a hook as its pod's object says.
    fn ending(&self, policy: &DrainPolicy) -> Option<(Instant, Instant)> {
        let stopping = self
            .stopping
            .map(|pod| (pod.since, pod.until.min(pod.since + policy.timeout)));
        self.held
            .map(|held| (held.since, held.deadline))
            .or(stopping)
    }

    /// Nothing but the word of callers that proved nothing says that its server is about to end.
    fn is_hearsay(&self) -> bool {
        self.held.is_some_and(|held| held.spare_last) && self.stopping.is_none()
    }

    /// When the first of the causes that leave the server running began, with the timeout each of them gets.
    fn departures(&self, policy: &DrainPolicy) -> impl Iterator<Item = (Instant, Instant)> {
        let configured = (self.configured.0 == AdminState::Draining)
            .then(|| (self.configured.1, self.configured.1 + policy.timeout));
        let operator = self
            .operator
            .filter(|o| o.state == AdminState::Draining)
            .map(|o| (o.since, o.since + o.timeout.unwrap_or(policy.timeout)));
        let removed = self.removed.map(|at| (at, at + policy.timeout));
        [configured, operator, removed].into_iter().flatten()
    }
}

/// What should become of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Take new work.
    Serve,
    /// About to end, but the last that could serve: take new work until then (DESIGN section 5).
    KeepServing {
        /// Half of the time it has.
        until: Instant,
    },
    /// Said to end by somebody who proved nothing, and the last that could serve: take new work, also past
    /// the deadline. What was closed before stays so (Law 2).
    Spare,
    /// Take nothing new; finish what is there.
    Drain(Order),
    /// Take nothing new; cut what is there.
    Cut,
}

/// The bounds of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// It counts as drained no earlier than this.
    pub not_before: Instant,
    /// What is in flight then is cut.
    pub deadline: Instant,
}

/// What the causes ask for. Of several deadlines the earliest holds: at a hold's deadline the server
/// dies whatever an operator allowed, and an operator's deadline is a promise too.
///
/// `replaceable`: another endpoint of the Backend takes new work.
pub fn wish(causes: &Causes, policy: &DrainPolicy, replaceable: bool, now: Instant) -> Wish {
    if causes.admin_state() == AdminState::Disabled {
        return Wish::Cut;
    }
    let departure = causes
        .departures(policy)
        .reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)));
    let order = match (departure, causes.ending(policy)) {
        (None, None) => return Wish::Serve,
        (None, Some((since, deadline))) => {
            let until = since + deadline.saturating_duration_since(since) / 2;
            if causes.is_hearsay() && !replaceable {
                return Wish::Spare;
            }
            let last = policy.last_endpoint == LastEndpoint::KeepServing && !replaceable;
            if last && policy.enabled && now < until {
                return Wish::KeepServing { until };
            }
            (since, deadline)
        }
        (Some(left), None) => left,
        (Some(left), Some(ending)) => (left.0.min(ending.0), left.1.min(ending.1)),
    };
    if !policy.enabled {
        return Wish::Cut;
    }
    Wish::Drain(Order {
        // A minimum beyond the deadline would hold a server that has to die.
        not_before: (order.0 + policy.min).min(order.1),
        deadline: order.1,
    })
}

/// Where an endpoint is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// The gate is open.
    Serving {
        /// Since when.
        since: Instant,
    },
    /// Held with the gate still open, as the last that could serve.
    KeepingServing {
        /// Since when.
        since: Instant,
        /// When it closes at the latest.
        until: Instant,
    },
    /// The gate is closed, and something is in flight, or the minimum time is not over.
    Draining {
        /// When the gate was closed.
        since: Instant,
        /// The gate's generation at that: only its zero counts.
        generation: u64,
        /// The bounds.
        order: Order,
        /// When nothing was left in flight.
        empty: Option<Instant>,
        /// What was in flight was told to end.
        cut: bool,
    },
    /// Closed, and confirmed to have nothing in flight.
    Drained {
        /// Since when.
        since: Instant,
        /// From the closing of the gate to the last byte.
        took: Duration,
        /// When nothing was left in flight.
        empty: Instant,
        /// Work was cut to get here.
        cut: bool,
    },
}

/// What happens to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The causes, or what follows from them, may have changed.
    Wish(Wish),
    /// The gate confirmed, in this generation, that nothing is in flight; the last request left then.
    Empty {
        /// The gate's generation when it was confirmed.
        generation: u64,
        /// When the last request left.
        at: Instant,
    },
    /// Time has passed.
    Tick,
}

/// What the coordinator has to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Close the gate (its next generation), drop idle connections, and sum.
    CloseGate,
    /// Open the gate.
    OpenGate,
    /// End what is in flight by force.
    CutInFlight,
    /// Say that the deadline came first.
    ReportTimeout,
    /// Say that it is drained: every hold on it may learn so.
    ReportDrained,
}

impl Drain {
    /// Closed, and never had anything in flight.
    pub fn empty(now: Instant) -> Self {
        Drain::Drained {
            since: now,
            took: Duration::ZERO,
            empty: now,
            cut: false,
        }
    }

    /// The next state, and what is to be done. `next_generation` is the one that the gate will have
    /// after its next change.
    #[must_use]
    pub fn step(self, event: Event, now: Instant, next_generation: u64) -> (Self, Vec<Action>) {
        match event {
            Event::Wish(Wish::Serve) => self.serve(now),
            Event::Wish(Wish::KeepServing { until }) => (self.keep_serving(until, now), vec![]),
            Event::Wish(Wish::Spare) => (self.spare(now), vec![]),
            Event::Wish(Wish::Drain(order)) => self.leave(order, false, now, next_generation),
            Event::Wish(Wish::Cut) => {
                let order = Order {
                    not_before: now,
                    deadline: now,
                };
                self.leave(order, true, now, next_generation)
            }
            Event::Empty { generation, at } => self.emptied(generation, at).settle(now),
            Event::Tick => self.settle(now),
        }
    }

    fn serve(self, now: Instant) -> (Self, Vec<Action>) {
        match self {
            Drain::Serving { .. } => (self, vec![]),
            Drain::KeepingServing { .. } => (Drain::Serving { since: now }, vec![]),
            Drain::Draining { .. } | Drain::Drained { .. } => {
                (Drain::Serving { since: now }, vec![Action::OpenGate])
            }
        }
    }

    /// Only an endpoint whose gate is open can keep serving: what was closed stays so until the drain
    /// is withdrawn (Law 2).
    fn keep_serving(self, until: Instant, now: Instant) -> Self {
        match self {
            Drain::Serving { .. } => Drain::KeepingServing { since: now, until },
            Drain::KeepingServing { since, .. } => Drain::KeepingServing { since, until },
            Drain::Draining { .. } | Drain::Drained { .. } => self,
        }
    }

    /// What is open serves without an end.
    fn spare(self, now: Instant) -> Self {
        match self {
            Drain::KeepingServing { .. } => Drain::Serving { since: now },
            Drain::Serving { .. } | Drain::Draining { .. } | Drain::Drained { .. } => self,
        }
    }

    fn leave(
        self,
        order: Order,
        cut_now: bool,
        now: Instant,
        next_generation: u64,
    ) -> (Self, Vec<Action>) {
        match self {
            Drain::Serving { .. } | Drain::KeepingServing { .. } => {
                let mut actions = vec![Action::CloseGate];
                actions.extend(cut_now.then_some(Action::CutInFlight));
                let closed = Drain::Draining {
                    since: now,
                    generation: next_generation,
                    order,
                    empty: None,
                    cut: cut_now,
                };
                (closed, actions)
            }
            Drain::Draining {
                since,
                generation,
                empty,
                cut,
                ..
            } => {
                let actions = if cut_now && !cut {
                    vec![Action::CutInFlight]
                } else {
                    vec![]
                };
                let draining = Drain::Draining {
                    since,
                    generation,
                    order,
                    empty,
                    cut: cut || cut_now,
                };
                let (settled, more) = draining.settle(now);
                (settled, [actions, more].concat())
            }
            Drain::Drained { .. } => (self, vec![]),
        }
    }

    fn emptied(self, seen: u64, at: Instant) -> Self {
        match self {
            Drain::Draining {
                since,
                generation,
                order,
                empty: None,
                cut,
            } if seen == generation => Drain::Draining {
                since,
                generation,
                order,
                empty: Some(at),
                cut,
            },
            other => other,
        }
    }

    /// What the time says: drained at last, or past the deadline.
    fn settle(self, now: Instant) -> (Self, Vec<Action>) {
        let Drain::Draining {
            since,
            generation,
            order,
            empty,
            cut,
        } = self
        else {
            return (self, vec![]);
        };
        match empty {
            Some(at) if now >= order.not_before => (
                Drain::Drained {
                    since: now,
                    took: at.saturating_duration_since(since),
                    empty: at,
                    cut,
                },
                vec![Action::ReportDrained],
            ),
            None if !cut && now >= order.deadline => (
                Drain::Draining {
                    since,
                    generation,
                    order,
                    empty,
                    cut: true,
                },
                vec![Action::CutInFlight, Action::ReportTimeout],
            ),
            _ => (self, vec![]),
        }
    }

    /// When [`Event::Tick`] (or a new look at the wish) would next change something.
    pub fn next_timer(&self) -> Option<Instant> {
        match *self {
            Drain::Serving { .. } | Drain::Drained { .. } => None,
            Drain::KeepingServing { until, .. } => Some(until),
            Drain::Draining {
                order, empty, cut, ..
            } => match (empty, cut) {
                (Some(_), _) => Some(order.not_before),
                (None, false) => Some(order.deadline),
                (None, true) => None,
            },
        }
    }

    /// Whether the endpoint takes new work.
    pub fn is_open(&self) -> bool {
        matches!(self, Drain::Serving { .. } | Drain::KeepingServing { .. })
    }

    /// Since when it is in this state.
    pub fn since(&self) -> Instant {
        match *self {
            Drain::Serving { since }
            | Drain::KeepingServing { since, .. }
            | Drain::Draining { since, .. }
            | Drain::Drained { since, .. } => since,
        }
    }

    /// Classic ELB's state and description (DESIGN section 5).
    pub fn describe(&self, admin: AdminState) -> (ServiceState, &'static str) {
        match self {
            Drain::Serving { .. } | Drain::KeepingServing { .. } => {
                (ServiceState::InService, IN_SERVICE)
            }
            Drain::Draining { .. } if admin == AdminState::Disabled => {
                (ServiceState::OutOfService, DEREGISTERED)
            }
            Drain::Draining { .. } => (ServiceState::InService, DEREGISTERING),
            Drain::Drained { .. } => (ServiceState::OutOfService, DEREGISTERED),
        }
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
