//! The drain of one endpoint: why it leaves ([`Causes`]), what follows from that ([`wish`]), and the
//! state machine that closes its gate, waits, cuts at the deadline and opens it again ([`Drain`]).
//!
//! Pure: time and the gate's next generation are arguments; what is to be done comes back as
//! [`Action`]s for the coordinator.

use std::time::{Duration, Instant};

mod causes;

pub use causes::{Causes, Held, Operator, Order, StoppingSince, Wish, wish};

use super::backend::AdminState;
use super::report::{DEREGISTERED, DEREGISTERING, IN_SERVICE, ServiceState};

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
mod tests;
