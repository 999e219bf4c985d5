//! The release of one hold: let go when every member has confirmed every endpoint, or at the deadline
//! (Law 1). Pure; run with one member in standalone, with all replicas in a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::identity::EndpointId;

/// One process that routes: its own unique name.
pub type MemberId = String;

/// Why a member need not be waited for any more. Nothing else is reason enough: a refused connection or
/// a deleted pod object alone proves nothing (DESIGN section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It said goodbye after its last request.
    Goodbye,
    /// Its process has ended: by the API's word, or another instance answers at its address.
    ProcessEnded,
    /// On a Node that the cluster calls NotReady, and silent for `peerLossSeconds` (Law 1's exception).
    GivenUp,
}

/// What happens to a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member is there that has to confirm as well.
    Joined(MemberId),
    /// A member need not be waited for any more.
    Left(MemberId, Gone),
    /// The member was asked to close the endpoint, which it did in this generation of its gate; what it
    /// confirmed in an earlier one counts no more.
    Asked {
        /// Which member.
        member: MemberId,
        /// Which endpoint.
        endpoint: EndpointId,
        /// Its gate's generation from here on.
        generation: u64,
    },
    /// The member has seen "closed, and none in flight".
    Confirmed {
        /// Which member.
        member: MemberId,
        /// Which endpoint.
        endpoint: EndpointId,
        /// The generation of its gate in which it saw that.
        generation: u64,
        /// Its work there was cut by order (`enabled: false`, Disabled), not finished.
        cut: bool,
    },
    /// Time has passed.
    Tick,
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody has not confirmed yet.
    Waiting,
    /// Every member has confirmed every endpoint.
    Drained,
    /// Every member has confirmed, some because their work was cut by order.
    Cut,
    /// The deadline has come first.
    Deadline,
}

/// What one member has said of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It has not been asked, or not answered.
    None { asked: u64 },
    /// It has confirmed in this generation.
    Confirmed { generation: u64, cut: bool },
}

/// One hold, seen by the replica that answers it.
#[derive(Clone, Debug)]
pub struct Release {
    endpoints: BTreeSet<EndpointId>,
    members: BTreeMap<MemberId, BTreeMap<EndpointId, Answer>>,
    deadline: Instant,
    verdict: Verdict,
}

impl Release {
    /// A hold of these endpoints that nobody has confirmed. `members` has at least the process itself.
    pub fn new(
        endpoints: impl IntoIterator<Item = EndpointId>,
        members: impl IntoIterator<Item = MemberId>,
        deadline: Instant,
    ) -> Self {
        let mut release = Self {
            endpoints: endpoints.into_iter().collect(),
            members: BTreeMap::new(),
            deadline,
            verdict: Verdict::Waiting,
        };
        for member in members {
            release.join(member);
        }
        release
    }

    /// The endpoints waited for.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointId> {
        self.endpoints.iter()
    }

    /// When it ends whatever is in flight.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// One more endpoint that every member has to confirm; false where it was there already.
    pub fn add(&mut self, endpoint: &EndpointId) -> bool {
        for answers in self.members.values_mut() {
            answers
                .entry(endpoint.clone())
                .or_insert(Answer::None { asked: 0 });
        }
        self.endpoints.insert(endpoint.clone())
    }

    /// Brings the deadline forward; it never moves back.
    pub fn shorten(&mut self, deadline: Instant) {
        self.deadline = self.deadline.min(deadline);
    }

    /// Takes the event in, and says how the hold stands. Once it has ended it stays so.
    pub fn step(&mut self, event: Event, now: Instant) -> Verdict {
        match event {
            Event::Joined(member) => self.join(member),
            Event::Left(member, _why) => {
                self.members.remove(&member);
            }
            Event::Asked {
                member,
                endpoint,
                generation,
            } => self.asked(&member, &endpoint, generation),
            Event::Confirmed {
                member,
                endpoint,
                generation,
                cut,
            } => self.confirmed(&member, &endpoint, generation, cut),
            Event::Tick => {}
        }
        if self.verdict == Verdict::Waiting {
            self.verdict = self.judge(now);
        }
        self.verdict
    }

    fn join(&mut self, member: MemberId) {
        let answers = self
            .endpoints
            .iter()
            .cloned()
            .map(|e| (e, Answer::None { asked: 0 }));
        self.members
            .entry(member)
            .or_insert_with(|| answers.collect());
    }

    fn asked(&mut self, member: &str, endpoint: &EndpointId, generation: u64) {
        if let Some(answer) = self
            .members
            .get_mut(member)
            .and_then(|m| m.get_mut(endpoint))
        {
            let older = match *answer {
                Answer::None { asked } => asked < generation,
                Answer::Confirmed {
                    generation: seen, ..
                } => seen < generation,
            };
            if older {
                *answer = Answer::None { asked: generation };
            }
        }
    }

    fn confirmed(&mut self, member: &str, endpoint: &EndpointId, generation: u64, cut: bool) {
        if let Some(answer) = self
            .members
            .get_mut(member)
            .and_then(|m| m.get_mut(endpoint))
            && let Answer::None { asked } = *answer
            && generation >= asked
        {
            *answer = Answer::Confirmed { generation, cut };
        }
    }

    /// An empty membership confirms nothing: the process itself is always a member.
    fn judge(&self, now: Instant) -> Verdict {
        let answers = || self.members.values().flat_map(BTreeMap::values);
        let all =
            !self.members.is_empty() && answers().all(|a| matches!(a, Answer::Confirmed { .. }));
        let any_cut = || answers().any(|a| matches!(a, Answer::Confirmed { cut: true, .. }));
        let over = now >= self.deadline;
        match all {
            true if !any_cut() => Verdict::Drained,
            // What is cut at the deadline may be confirmed before anybody has looked at the clock.
            true if !over => Verdict::Cut,
            _ if over => Verdict::Deadline,
            _ => Verdict::Waiting,
        }
    }
}

#[cfg(test)]
mod tests;
