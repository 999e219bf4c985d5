//! What a call of the kubelet waits for: the rules of `HTTPGet` mode over the pods that have its id. Pure; asked by
//! [`super::together`].
//!
//! Nothing proves which pod a call is for. An id is one pod's, unless a person wrote it into a template; then the
//! call may be for any of them that is being stopped, so it waits for all of these. Who is not being stopped is
//! never drained on the word of such a call: it could be for any other, and all of them together are the app.

use std::time::Duration;

use super::Caller;
use crate::model::grace::PodLife;

/// A pod with the id of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Which.
    pub pod: Caller,
    /// It is being deleted, or its object is gone already.
    pub terminating: bool,
}

/// What is known of the pods with an id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The pods.
    pub pods: Vec<Named>,
    /// The API server itself has said so since the last call came; otherwise as last seen.
    pub live: bool,
}

/// What follows for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It waits for [`Found::held`], and for nothing else.
    Wait,
    /// There is nothing to hold.
    NoPod,
    /// It waits for [`Found::held`], and it is not sure that these are all: to be looked up again, for so long.
    Doubt(Doubt),
}

/// Why nobody knows whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Several pods have its id, and none is being deleted: one of their containers is restarted, or their node
    /// goes down. Which one cannot be told, so nobody is drained. What the API server does not say yet, it is
    /// given a moment to say; holding longer would keep a hung container alive and protect nothing, for its
    /// pod goes on getting requests.
    NobodyStops,
    /// The API server is away, and the pod that calls may be one that was not seen, or not seen to stop (Law 5).
    Unseen,
}

/// How long [`Doubt::NobodyStops`] may last. A deletion is in etcd before the kubelet hears of it, so a quorum read
/// shows it at once; this is for what follows a hook, such as the deletion of a pod that its kubelet evicts.
pub(super) const MOMENT: Duration = Duration::from_secs(2);

/// The longest hold that one of these could ask for; where there is none, what is granted to an unknown one.
pub(super) fn longest(lives: &[PodLife], node_shutdown: Duration) -> Duration {
    let unknown = PodLife::default().allowance(node_shutdown).grace;
    let known = lives
        .iter()
        .map(|life| life.allowance(node_shutdown).grace)
        .max();
    known.unwrap_or(unknown)
}

impl Found {
    /// The pods that a call waits for: those that are being stopped, or the only one that there is.
    pub(super) fn held(&self) -> impl Iterator<Item = &Named> {
        let only = self.pods.len() == 1;
        self.pods.iter().filter(move |pod| only || pod.terminating)
    }

    /// What follows from it.
    pub(super) fn verdict(&self) -> Verdict {
        let (all, held) = (self.pods.len(), self.held().count());
        match (all, held) {
            (0, _) if self.live => Verdict::NoPod,
            (1.., held) if held == all => Verdict::Wait,
            (_, 1..) if self.live => Verdict::Wait,
            _ if self.live => Verdict::Doubt(Doubt::NobodyStops),
            _ => Verdict::Doubt(Doubt::Unseen),
        }
    }

    /// Takes in what is known later. A pod that was seen to stop goes on stopping.
    pub(super) fn add(&mut self, later: Vec<Named>) {
        for pod in later {
            match self.pods.iter_mut().find(|own| own.pod.uid == pod.pod.uid) {
                Some(own) => own.terminating |= pod.terminating,
                None => self.pods.push(pod),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pods by whether they are being stopped.
    fn found(live: bool, terminating: &[bool]) -> Found {
        let named = |(number, terminating): (usize, &bool)| Named {
            pod: Caller {
                namespace: "shop".to_owned(),
                pod: format!("web-{number}"),
                uid: format!("uid-{number}").into(),
            },
            terminating: *terminating,
        };
        Found {
            pods: terminating.iter().enumerate().map(named).collect(),
            live,
        }
    }

    #[test]
    fn whom_a_call_waits_for_as_a_table() {
        use Verdict::{NoPod, Wait};
        let nobody = Verdict::Doubt(Doubt::NobodyStops);
        let unseen = Verdict::Doubt(Doubt::Unseen);
        for (pods, live, verdict, held) in [
            (&[][..], true, NoPod, &[][..]),
            (&[], false, unseen, &[]),
            (&[true], true, Wait, &[0]),
            (&[true], false, Wait, &[0]),
            (&[false], true, Wait, &[0]),
            (&[false], false, Wait, &[0]),
            (&[true, true], true, Wait, &[0, 1]),
            (&[true, true], false, Wait, &[0, 1]),
            (&[false, true, false], true, Wait, &[1]),
            (&[false, true, false], false, unseen, &[1]),
            (&[false, false], true, nobody, &[]),
            (&[false, false], false, unseen, &[]),
        ] {
            let found = found(live, pods);
            let names: Vec<_> = found.held().map(|pod| pod.pod.pod.clone()).collect();
            let expected: Vec<_> = held.iter().map(|number| format!("web-{number}")).collect();
            assert_eq!(
                (found.verdict(), names),
                (verdict, expected),
                "{pods:?} live: {live}"
            );
        }
    }

    #[test]
    fn what_was_seen_to_stop_stops() {
        let mut known = found(true, &[true]);
        known.add(found(false, &[false, false]).pods);
        assert_eq!(known, found(true, &[true, false]));
        known.add(found(false, &[false, true]).pods);
        assert_eq!(known, found(true, &[true, true]));
    }

    #[test]
    fn an_unknown_pod_is_given_what_a_pod_has_that_says_nothing() {
        let node = Duration::from_secs(20);
        assert_eq!(longest(&[], node), Duration::from_secs(25));
        let granted = |seconds| PodLife {
            deletion: Some(Duration::from_secs(seconds)),
            original: Some(Duration::from_secs(10)),
            ..PodLife::default()
        };
        let lives = [granted(40), granted(70)];
        assert_eq!(longest(&lives, node), Duration::from_mins(1));
    }
}
