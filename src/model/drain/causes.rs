//! Why an endpoint leaves ([`Causes`]) and what follows from all of it together ([`wish`]). Pure.

use std::time::{Duration, Instant};

use crate::model::backend::{AdminState, DrainPolicy, LastEndpoint};

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
