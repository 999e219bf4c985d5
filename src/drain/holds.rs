//! The holds under way: who waits for which endpoints, and what they are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::coordinator::Leaving;
use super::endpoints::{Confirmed, Endpoints};
use super::{
    Entry, HoldKey, HoldRequest, HoldUpdate, Journal, ReleaseCause, Released, TargetError,
};
use crate::model::EndpointId;
use crate::model::drain::Held;
use crate::model::release::{Event, Release, Verdict};

/// The name of this process among the members; peers come with clusters.
const SELF: &str = "self";

/// How long after its deadline a hold waits for the workers to have cut what was in flight, so that it
/// says how much that was (Law 8). They need microseconds; one that is stuck may not hold anybody up.
const CUT_TAKES: Duration = Duration::from_millis(100);

pub(super) struct Holds {
    journal: Journal,
    by_key: BTreeMap<HoldKey, Hold>,
}

struct Hold {
    release: Release,
    since: Instant,
    callers: Vec<mpsc::UnboundedSender<HoldUpdate>>,
    told: Option<u64>,
    vanished: Option<Instant>,
    looked_up: bool,
}

impl Hold {
    fn tell(&mut self, update: &HoldUpdate) {
        self.callers
            .retain(|caller| caller.send(update.clone()).is_ok());
    }

    fn ids(&self) -> Vec<EndpointId> {
        self.release.endpoints().cloned().collect()
    }

    fn progress(&self, in_flight: u64, now: Instant) -> HoldUpdate {
        HoldUpdate::Holding {
            remaining: self.release.deadline().saturating_duration_since(now),
            in_flight,
            endpoints: self.ids(),
        }
    }
}

impl Holds {
    pub(super) fn new(journal: Journal) -> Self {
        Self {
            journal,
            by_key: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Begins a hold, or joins the one of the same key: hooks are called at least once (PITFALLS 5).
    pub(super) fn begin(
        &mut self,
        request: HoldRequest,
        endpoints: &mut Endpoints,
        now: Instant,
    ) -> Result<mpsc::UnboundedReceiver<HoldUpdate>, TargetError> {
        let mut ids = Vec::new();
        for target in &request.targets {
            ids.extend(endpoints.resolve(target)?);
        }
        ids.sort();
        ids.dedup();
        let (caller, updates) = mpsc::unbounded_channel();
        if let Some(hold) = self.by_key.get_mut(&request.key) {
            let _ = caller.send(hold.progress(endpoints.in_flight(hold.release.endpoints()), now));
            hold.callers.push(caller);
            hold.vanished = None;
            hold.looked_up = false;
            return Ok(updates);
        }
        let allowed = ids.iter().filter_map(|id| endpoints.policy(id));
        let allowed = allowed.map(|policy| {
            if request.restart {
                policy.restart_timeout
            } else {
                policy.timeout
            }
        });
        let allowed = allowed.max().unwrap_or(Duration::ZERO);
        let deadline = now + request.grace.map_or(allowed, |grace| grace.min(allowed));
        for id in &ids {
            endpoints.hold(
                id,
                Held {
                    since: now,
                    deadline,
                },
            );
        }
        (self.journal)(&Entry::HoldStarted {
            key: request.key.clone(),
            endpoints: ids.clone(),
            in_flight: endpoints.in_flight(ids.iter()),
        });
        let mut hold = Hold {
            release: Release::new(ids.clone(), [SELF.to_owned()], deadline),
            since: now,
            callers: vec![caller],
            told: None,
            vanished: None,
            looked_up: false,
        };
        for id in &ids {
            // Drained already, for another cause: that confirmation stands until the gate opens again.
            if let Some(confirmed) = endpoints.confirmed(id) {
                hold.release.step(confirmation(&confirmed), now);
            }
        }
        hold.tell(&hold.progress(endpoints.in_flight(ids.iter()), now));
        self.by_key.insert(request.key, hold);
        Ok(updates)
    }

    /// Lets go whoever can be: what was just confirmed counts, and so does a deadline that has come.
    pub(super) fn settle(
        &mut self,
        confirmed: &[Confirmed],
        endpoints: &Endpoints,
        now: Instant,
    ) -> Vec<EndpointId> {
        let mut ended = Vec::new();
        for (key, hold) in &mut self.by_key {
            for confirmed in confirmed {
                hold.release.step(confirmation(confirmed), now);
            }
            let cause = match hold.release.step(Event::Tick, now) {
                Verdict::Waiting => continue,
                Verdict::Drained => ReleaseCause::Drained,
                Verdict::Cut => ReleaseCause::Cut,
                Verdict::Deadline => ReleaseCause::Deadline,
            };
            let ids = hold.ids();
            if cause == ReleaseCause::Deadline
                && endpoints.are_being_cut(ids.iter())
                && now < hold.release.deadline() + CUT_TAKES
            {
                continue;
            }
            let last_byte = endpoints.last_byte(ids.iter()).unwrap_or(now);
            let released = Released {
                cause,
                held: now.saturating_duration_since(hold.since),
                // What was empty before the hold began was not waited for.
                since_last_byte: now.saturating_duration_since(last_byte.max(hold.since)),
                cut: endpoints.cut(ids.iter()),
            };
            hold.tell(&HoldUpdate::Released(released.clone()));
            (self.journal)(&Entry::Released {
                key: key.clone(),
                released,
            });
            ended.push((key.clone(), ids));
        }
        let mut unheld = Vec::new();
        for (key, ids) in ended {
            self.by_key.remove(&key);
            unheld.extend(ids);
        }
        unheld
    }

    /// Tells holders of a changed number, and returns those whose callers have been gone for `vanished`
    /// and are to be looked up live.
    pub(super) fn tick(
        &mut self,
        endpoints: &Endpoints,
        now: Instant,
        vanished: Duration,
    ) -> Vec<HoldKey> {
        let mut look_up = Vec::new();
        for (key, hold) in &mut self.by_key {
            let in_flight = endpoints.in_flight(hold.release.endpoints());
            if hold.told != Some(in_flight) {
                hold.told = Some(in_flight);
                let progress = hold.progress(in_flight, now);
                hold.tell(&progress);
            }
            hold.callers.retain(|caller| !caller.is_closed());
            if !hold.callers.is_empty() {
                hold.vanished = None;
                continue;
            }
            let since = *hold.vanished.get_or_insert(now);
            if !hold.looked_up && now.saturating_duration_since(since) >= vanished {
                hold.looked_up = true;
                look_up.push(key.clone());
            }
        }
        look_up
    }

    /// Withdraws a hold whose caller vanished, if its server is known not to be leaving (Law 6); in
    /// doubt it goes on (Law 5).
    pub(super) fn looked_up(&mut self, key: &HoldKey, leaving: Leaving, endpoints: &mut Endpoints) {
        let gone = |hold: &Hold| hold.callers.is_empty() && leaving == Leaving::No;
        if !self.by_key.get(key).is_some_and(gone) {
            return;
        }
        if let Some(hold) = self.by_key.remove(key) {
            for id in hold.ids() {
                endpoints.unhold(&id);
                endpoints.withdraw_hold(&id);
            }
            (self.journal)(&Entry::HoldWithdrawn { key: key.clone() });
        }
    }

    /// The next deadline; of one that has come, when what is being cut is waited for no more.
    pub(super) fn next_timer(&self, now: Instant) -> Option<Instant> {
        let deadlines = self.by_key.values().map(|hold| hold.release.deadline());
        deadlines
            .map(|at| if at > now { at } else { at + CUT_TAKES })
            .min()
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
