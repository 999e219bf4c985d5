//! One hold: which endpoints it waits for, who is told, and what it has heard of them. [`super::holds`] keeps all
//! of them.

use std::time::Instant;

use tokio::sync::mpsc;

use super::endpoints::{Confirmed, Endpoints, Looked};
use super::{HoldUpdate, ReleaseCause, Released};
use crate::model::EndpointId;
use crate::model::drain::Held;
use crate::model::release::{Event, Release};

/// The name of this process among the members; peers come with clusters.
const SELF: &str = "self";

/// One hold and what it has come to.
pub(super) struct Hold {
    pub(super) release: Release,
    pub(super) since: Instant,
    pub(super) callers: Vec<mpsc::UnboundedSender<HoldUpdate>>,
    pub(super) told: Option<u64>,
    pub(super) vanished: Option<Instant>,
    pub(super) lookup: Lookup,
    /// It came to its end, and nobody was there to hear it. Its server was not let go: it may come and ask
    /// again, or be found to go on (Law 6).
    pub(super) unheard: bool,
    /// None of its callers proved anything, see [`HoldRequest::spare_last`].
    pub(super) spare_last: bool,
}

/// Whether the server of a hold without callers was looked up live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    NotYet,
    UnderWay,
    /// It is being stopped, or that could not be found out.
    MayBeLeaving,
}

impl Hold {
    /// One that waits for nothing yet but its deadline.
    pub(super) fn new(
        ids: Vec<EndpointId>,
        terms: Held,
        caller: mpsc::UnboundedSender<HoldUpdate>,
    ) -> Self {
        Self {
            release: Release::new(ids, [SELF.to_owned()], terms.deadline),
            since: terms.since,
            callers: vec![caller],
            told: None,
            vanished: None,
            lookup: Lookup::NotYet,
            unheard: false,
            spare_last: terms.spare_last,
        }
    }

    pub(super) fn has_callers(&mut self) -> bool {
        self.callers.retain(|caller| !caller.is_closed());
        !self.callers.is_empty()
    }

    pub(super) fn tell(&mut self, update: &HoldUpdate) {
        self.callers
            .retain(|caller| caller.send(update.clone()).is_ok());
    }

    pub(super) fn ids(&self) -> Vec<EndpointId> {
        self.release.endpoints().cloned().collect()
    }

    /// A call of the same key: the hold covers what it asks for as well, and ends when the first of its
    /// callers has to (Law 5).
    pub(super) fn join(
        &mut self,
        caller: mpsc::UnboundedSender<HoldUpdate>,
        ids: &[EndpointId],
        terms: Held,
        endpoints: &mut Endpoints,
        now: Instant,
    ) {
        self.release.shorten(terms.deadline);
        self.spare_last &= terms.spare_last;
        let held = Held {
            deadline: self.release.deadline(),
            spare_last: self.spare_last,
            ..terms
        };
        for id in self.release.endpoints() {
            endpoints.tighten_hold(id, held);
            endpoints.hold_again(id, held);
        }
        for id in ids {
            if self.release.add(id) {
                self.cover(id, held, endpoints, now);
            }
        }
        let in_flight = endpoints.in_flight(self.release.endpoints());
        let _ = caller.send(self.progress(in_flight, now));
        self.callers.push(caller);
        self.vanished = None;
        self.lookup = Lookup::NotYet;
    }

    /// Holds one more endpoint.
    pub(super) fn cover(
        &mut self,
        id: &EndpointId,
        held: Held,
        endpoints: &mut Endpoints,
        now: Instant,
    ) {
        endpoints.hold(id, held);
        // Drained already, for another cause: that confirmation stands until the gate opens again.
        if let Some(confirmed) = endpoints.confirmed(id) {
            self.release.step(confirmation(&confirmed), now);
        }
    }

    /// What became of its endpoints.
    pub(super) fn hear(&mut self, looked: &Looked, now: Instant) {
        for (id, generation) in &looked.opened {
            let event = Event::Asked {
                member: SELF.to_owned(),
                endpoint: id.clone(),
                generation: *generation,
            };
            self.release.step(event, now);
        }
        for confirmed in &looked.confirmed {
            self.release.step(confirmation(confirmed), now);
        }
    }

    /// True where an endpoint of it had been enabled, and is to leave now.
    pub(super) fn hold_again(&self, endpoints: &mut Endpoints) -> bool {
        let held = Held {
            since: self.since,
            deadline: self.release.deadline(),
            spare_last: self.spare_last,
        };
        let mut again = false;
        for id in self.release.endpoints() {
            again |= endpoints.hold_again(id, held);
        }
        again
    }

    pub(super) fn released(
        &self,
        cause: ReleaseCause,
        endpoints: &Endpoints,
        now: Instant,
    ) -> Released {
        let last_byte = endpoints.last_byte(self.release.endpoints()).unwrap_or(now);
        Released {
            cause,
            held: now.saturating_duration_since(self.since),
            // What was empty before the hold began was not waited for.
            since_last_byte: now.saturating_duration_since(last_byte.max(self.since)),
            cut: endpoints.cut(self.release.endpoints()),
        }
    }

    pub(super) fn progress(&self, in_flight: u64, now: Instant) -> HoldUpdate {
        HoldUpdate::Holding {
            remaining: self.release.deadline().saturating_duration_since(now),
            in_flight,
            endpoints: self.ids(),
        }
    }
}

fn confirmation(confirmed: &Confirmed) -> Event {
    Event::Confirmed {
        member: SELF.to_owned(),
        endpoint: confirmed.id.clone(),
        generation: confirmed.generation,
        cut: confirmed.cut,
    }
}
