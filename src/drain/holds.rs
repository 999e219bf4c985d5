//! The holds under way: who waits for which endpoints, and what they are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::coordinator::Leaving;
use super::endpoints::{Endpoints, Looked};
use super::hold::{Hold, Lookup};
use super::standing::Standing;
use super::{
    Entry, HoldKey, HoldRequest, HoldScope, HoldUpdate, Journal, ReleaseCause, TargetError,
};
use crate::model::EndpointId;
use crate::model::drain::Held;
use crate::model::grace::Allowance;
use crate::model::release::{Event, Verdict};

/// How long after its deadline a hold waits for the workers to have cut what was in flight, so that it
/// says how much that was (Law 8). They need microseconds; one that is stuck may not hold anybody up.
const CUT_TAKES: Duration = Duration::from_millis(100);

pub(super) struct Holds {
    journal: Journal,
    by_key: BTreeMap<HoldKey, Hold>,
    /// Pods that were let go and have not come back.
    standing: Standing,
}

impl Holds {
    pub(super) fn new(journal: Journal) -> Self {
        Self {
            journal,
            by_key: BTreeMap::new(),
            standing: Standing::default(),
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
        let ids = covered(&request.scope, endpoints)?;
        let (caller, updates) = mpsc::unbounded_channel();
        self.forget_unheard(&request.key, endpoints);
        let terms = Held {
            since: now,
            deadline: now + allowed(request.grace, request.restart, &ids, endpoints),
            spare_last: request.spare_last,
        };
        if let Some(hold) = self.by_key.get_mut(&request.key) {
            hold.join(caller, &ids, terms, endpoints, now);
            return Ok(updates);
        }
        let mut hold = Hold::new(ids.clone(), terms, caller);
        if let HoldScope::Pod(uid) = &request.scope {
            endpoints.hold_pod(uid, terms);
        }
        for id in &ids {
            hold.cover(id, terms, endpoints, now);
        }
        (self.journal)(&Entry::HoldStarted {
            key: request.key.clone(),
            endpoints: ids.clone(),
            in_flight: endpoints.in_flight(ids.iter()),
        });
        hold.tell(&hold.progress(endpoints.in_flight(ids.iter()), now));
        self.by_key.insert(request.key, hold);
        Ok(updates)
    }

    /// Who comes back begins anew: what was confirmed while it was away may no longer be so (Law 1).
    fn forget_unheard(&mut self, key: &HoldKey, endpoints: &mut Endpoints) {
        if self.by_key.get(key).is_some_and(|hold| hold.unheard)
            && let Some(hold) = self.by_key.remove(key)
        {
            for id in hold.release.endpoints() {
                endpoints.unhold(id);
            }
            (self.journal)(&Entry::HoldUnheard { key: key.clone() });
        }
    }

    /// Lets go whoever can be: what was just confirmed counts, and so does a deadline that has come. True
    /// where the endpoints are to be looked at again.
    pub(super) fn settle(
        &mut self,
        looked: &Looked,
        endpoints: &mut Endpoints,
        now: Instant,
    ) -> bool {
        let mut again = false;
        let mut ended = Vec::new();
        for (key, hold) in &mut self.by_key {
            hold.hear(looked, now);
            let cause = match hold.release.step(Event::Tick, now) {
                Verdict::Waiting => continue,
                Verdict::Drained => ReleaseCause::Drained,
                Verdict::Cut => ReleaseCause::Cut,
                Verdict::Deadline => ReleaseCause::Deadline,
            };
            if !hold.has_callers() && hold.lookup != Lookup::MayBeLeaving {
                hold.unheard = true;
                continue;
            }
            if cause == ReleaseCause::Deadline {
                // An operator has enabled it meanwhile: its server stops all the same.
                let closing = hold.hold_again(endpoints);
                again |= closing;
                let cutting = endpoints.are_being_cut(hold.release.endpoints());
                if closing || (cutting && now < hold.release.deadline() + CUT_TAKES) {
                    continue;
                }
            }
            let released = hold.released(cause, endpoints, now);
            hold.tell(&HoldUpdate::Released(released.clone()));
            (self.journal)(&Entry::Released {
                key: key.clone(),
                released,
            });
            ended.push(key.clone());
        }
        for key in ended {
            let Some(hold) = self.by_key.remove(&key) else {
                continue;
            };
            for id in hold.release.endpoints() {
                endpoints.unhold(id);
            }
            if hold.spare_last && endpoints.spared(hold.release.endpoints()) {
                self.serve_on(&key, &hold.ids(), endpoints);
            } else {
                self.standing.released(key);
            }
        }
        again
    }

    /// The operator enabled these: a hold on nothing else that nobody waits for any more is over (Law 6). One
    /// that has its caller goes on to its end, for its server stops then; so does one that others are held
    /// by, for its caller may be about to ask again.
    pub(super) fn enabled(&mut self, ids: &[EndpointId], endpoints: &mut Endpoints) {
        let over = |hold: &Hold| {
            hold.callers.iter().all(mpsc::UnboundedSender::is_closed)
                && hold.release.endpoints().all(|id| ids.contains(id))
        };
        let keys: Vec<_> = self.by_key.iter().filter(|(_, hold)| over(hold)).collect();
        let keys: Vec<_> = keys.into_iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.withdraw(&key, endpoints);
        }
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
            if hold.has_callers() {
                hold.vanished = None;
                continue;
            }
            let since = *hold.vanished.get_or_insert(now);
            if hold.lookup == Lookup::NotYet && now.saturating_duration_since(since) >= vanished {
                hold.lookup = Lookup::UnderWay;
                look_up.push(key.clone());
            }
        }
        look_up
    }

    /// Withdraws a hold whose caller vanished, if its server is known not to be leaving (Law 6); in
    /// doubt it goes on to its end (Law 5).
    pub(super) fn looked_up(&mut self, key: &HoldKey, leaving: Leaving, endpoints: &mut Endpoints) {
        let hold = self.by_key.get_mut(key);
        let Some(hold) = hold.filter(|hold| hold.callers.is_empty()) else {
            return;
        };
        hold.lookup = Lookup::MayBeLeaving;
        if leaving == Leaving::No {
            self.withdraw(key, endpoints);
        }
    }

    fn withdraw(&mut self, key: &HoldKey, endpoints: &mut Endpoints) {
        if let Some(hold) = self.by_key.remove(key) {
            for id in hold.release.endpoints() {
                endpoints.unhold(id);
            }
            (self.journal)(&Entry::HoldWithdrawn { key: key.clone() });
            self.serve_on(key, &hold.ids(), endpoints);
        }
    }

    /// What a hold that is over for nothing covered serves on, where no other one wants it closed. With a
    /// pod goes what was heard of it only after it was let go.
    fn serve_on(&self, key: &HoldKey, ids: &[EndpointId], endpoints: &mut Endpoints) {
        if self.by_key.keys().any(|other| other.id == key.id) || self.standing.has_pod(&key.id) {
            return;
        }
        endpoints.unhold_pod(&key.id);
        for id in ids.iter().chain(&endpoints.of_pod(&key.id)) {
            endpoints.withdraw_hold(id);
        }
    }

    /// The hold's container runs anew and is ready: the proof that Law 6 asks for.
    pub(super) fn came_back(&mut self, key: &HoldKey, endpoints: &mut Endpoints) {
        self.withdraw(key, endpoints);
        if self.standing.came_back(key) {
            (self.journal)(&Entry::CameBack { key: key.clone() });
            self.serve_on(key, &[], endpoints);
        }
    }

    /// Nothing of that pod comes back. A hold whose caller still waits goes on to its own end.
    pub(super) fn pod_gone(&mut self, uid: &str, endpoints: &mut Endpoints) {
        self.standing.forget_pod(uid);
        if !self.by_key.keys().any(|key| key.id == uid) {
            endpoints.unhold_pod(uid);
        }
    }

    /// The caller of the hold can wait less than was known.
    pub(super) fn shorten(
        &mut self,
        key: &HoldKey,
        allowance: Allowance,
        endpoints: &mut Endpoints,
    ) {
        if let Some(hold) = self.by_key.get_mut(key) {
            let Allowance { grace, restart } = allowance;
            let deadline = hold.since + allowed(Some(grace), restart, &hold.ids(), endpoints);
            hold.release.shorten(deadline);
            let held = Held {
                since: hold.since,
                deadline,
                spare_last: hold.spare_last,
            };
            for id in hold.release.endpoints() {
                endpoints.tighten_hold(id, held);
            }
        }
    }

    /// The next deadline; of one that has come, when what is being cut is waited for no more. Those whose
    /// end nobody heard wait for no time.
    pub(super) fn next_timer(&self, now: Instant) -> Option<Instant> {
        let heard = self.by_key.values().filter(|hold| !hold.unheard);
        heard
            .map(|hold| hold.release.deadline())
            .map(|at| if at > now { at } else { at + CUT_TAKES })
            .min()
    }
}

/// The endpoints that a hold waits for, as far as they are known.
fn covered(scope: &HoldScope, endpoints: &Endpoints) -> Result<Vec<EndpointId>, TargetError> {
    let mut ids = match scope {
        HoldScope::Pod(uid) => endpoints.of_pod(uid),
        HoldScope::Targets(targets) => {
            let mut all = Vec::new();
            for target in targets {
                all.extend(endpoints.resolve(target)?);
            }
            all
        }
    };
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// How long a hold of these may last: what the caller can wait, or what the Backends allow, whichever is
/// less.
fn allowed(
    grace: Option<Duration>,
    restart: bool,
    ids: &[EndpointId],
    endpoints: &Endpoints,
) -> Duration {
    let policies = ids.iter().filter_map(|id| endpoints.policy(id));
    let allowed = policies.map(|policy| {
        if restart {
            policy.restart_timeout
        } else {
            policy.timeout
        }
    });
    let allowed = allowed.max().unwrap_or(Duration::ZERO);
    grace.map_or(allowed, |grace| grace.min(allowed))
}
