//! An endpoint that is new while others serve gets a part of its share first, and all of it after a time: pure,
//! the time is passed in.
//!
//! Each endpoint's part goes by its own age at the moment of each choice. So another one that comes changes
//! nothing for those that came before (PITFALLS 30).

use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::{AdminState, Backend, EndpointId, EndpointSpec};

/// All of a share; parts are counted in thousandths.
pub const WHOLE: u32 = 1000;
/// What an endpoint begins with.
const FIRST: u32 = WHOLE / 10;

/// The part that an endpoint of this age has, in thousandths: from a tenth evenly to all after `span`.
pub fn part(age: Duration, span: Duration) -> u32 {
    if age >= span {
        return WHOLE;
    }
    // Below 1: the age is less than the span.
    let grown = age.as_nanos() * u128::from(WHOLE - FIRST) / span.as_nanos().max(1);
    FIRST + u32::try_from(grown).unwrap_or(0)
}

/// Since when each endpoint of a Backend serves that is new there: as the configuration `before` had it, which
/// says which of its endpoints were `known` to be new. None is where nobody served before who serves now, as at
/// lastcall's start.
pub(in crate::proxy) fn since(
    before: Option<&Backend>,
    known: &HashMap<EndpointId, Instant>,
    after: &Backend,
    now: Instant,
) -> HashMap<EndpointId, Instant> {
    let (Some(span), Some(before)) = (after.slow_start, before) else {
        return HashMap::new();
    };
    let served = |id: &EndpointId| {
        let found = before.endpoints.binary_search_by(|spec| spec.id.cmp(id));
        found.is_ok_and(|at| serves(before, &before.endpoints[at]))
    };
    let mut serving = after.endpoints.iter().filter(|spec| serves(after, spec));
    if !serving.clone().any(|spec| served(&spec.id)) {
        return HashMap::new();
    }
    let mut since = HashMap::new();
    for spec in &mut serving {
        let from = if served(&spec.id) {
            known.get(&spec.id).copied()
        } else {
            Some(now)
        };
        if let Some(from) = from
            && now.saturating_duration_since(from) < span
        {
            since.insert(spec.id.clone(), from);
        }
    }
    since
}

/// Whether the endpoint gets requests, as far as the configuration says.
fn serves(backend: &Backend, spec: &EndpointSpec) -> bool {
    let state = AdminState::narrowest(spec.admin_state, backend.admin_state);
    spec.share() > 0 && spec.stopping.is_none() && state == AdminState::Enabled
}

/// A Backend's endpoints of which some are new.
#[derive(Debug)]
pub struct Warming {
    span: Duration,
    /// Of each endpoint in its order: since when it serves, where it is new.
    since: Vec<Option<Instant>>,
    /// When the last of them is not new any more.
    end: Instant,
    over: Cell<bool>,
}

impl Warming {
    /// Endpoints that serve since then; `None` where none is new.
    pub fn new(span: Duration, since: Vec<Option<Instant>>) -> Option<Self> {
        let end = *since.iter().flatten().max()? + span;
        Some(Self {
            span,
            since,
            end,
            over: Cell::new(false),
        })
    }

    /// What each has now; `None` once all have all of it.
    pub(super) fn shares(&self, now: &dyn Fn() -> Instant) -> Option<Shares<'_>> {
        if self.over.get() {
            return None;
        }
        let now = now();
        if now >= self.end {
            self.over.set(true);
            return None;
        }
        Some(Shares { of: self, now })
    }
}

/// What each endpoint has at one moment.
#[derive(Clone, Copy)]
pub(super) struct Shares<'a> {
    of: &'a Warming,
    now: Instant,
}

impl Shares<'_> {
    pub(super) fn of(&self, at: usize) -> u32 {
        let since = self.of.since.get(at).copied().flatten();
        since.map_or(WHOLE, |from| {
            part(self.now.saturating_duration_since(from), self.of.span)
        })
    }
}

#[cfg(test)]
mod tests;
