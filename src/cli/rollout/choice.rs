//! Which pods are moved, and which are left alone and why. Pure.

use k8s_openapi::api::core::v1::Pod;

use crate::api::protection::{NotProtected, protection};

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nothing holds it when it is stopped: drained first, then evicted.
    Drain,
    /// Its own hook drains it when it is evicted, and keeps it serving where it is the last.
    Evict,
    /// Left alone.
    Leave(Leave),
}

/// Why a pod is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Leave {
    #[error("it is held when it is stopped")]
    Protected,
    #[error("it is being stopped already")]
    Stopping,
    #[error("one that is made now would be the same; --all-pods moves it too")]
    SameAgain,
    #[error(
        "nothing asks for it to be held (no Backend, no label lastcall.dev/drain: enabled), so a new one would not be either; --all-pods moves it too"
    )]
    NotAsked,
}

/// What becomes of the pod. `all`: those too that it does no good; `asked`: a pod like this one is to be held if it is
/// made now.
pub(super) fn choose(pod: &Pod, all: bool, asked: bool) -> Choice {
    if pod.metadata.deletion_timestamp.is_some() {
        return Choice::Leave(Leave::Stopping);
    }
    let gaps = protection(pod).gaps();
    match (gaps.is_empty(), all) {
        (true, true) => Choice::Evict,
        (true, false) => Choice::Leave(Leave::Protected),
        (false, true) => Choice::Drain,
        (false, false) if lacks_the_hook(&gaps) && asked => Choice::Drain,
        (false, false) if lacks_the_hook(&gaps) => Choice::Leave(Leave::NotAsked),
        (false, false) => Choice::Leave(Leave::SameAgain),
    }
}

/// Whether a pod that is made by a webhook that works would be held better.
pub(super) fn lacks_the_hook(gaps: &[NotProtected]) -> bool {
    gaps.iter().any(|gap| {
        matches!(
            gap,
            NotProtected::NoHook { .. } | NotProtected::HookIncomplete { .. }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Leave::{NotAsked, Protected, SameAgain, Stopping};

    const HELD: &str =
        "{name: a, lifecycle: {preStop: {httpGet: {path: /v1/prestop/a/b/a, port: 1}}}}";
    const BARE: &str = "{name: b}";
    const OWN: &str = "{name: c, lifecycle: {preStop: {exec: {command: [/quit]}}}}";

    #[test]
    fn pods_that_a_new_one_would_better_are_moved() {
        let ending = "deletionTimestamp: '2026-01-01T00:00:00Z'";
        let declines = "labels: {lastcall.dev/drain: disabled}";
        let held = "labels: {lastcall.dev/hook-id: b}";
        for (metadata, containers, chosen, of_all) in [
            (held, vec![HELD], Choice::Leave(Protected), Choice::Evict),
            ("", vec![BARE], Choice::Drain, Choice::Drain),
            (held, vec![HELD, BARE], Choice::Drain, Choice::Drain),
            ("", vec![OWN], Choice::Leave(SameAgain), Choice::Drain),
            ("", vec![OWN, BARE], Choice::Drain, Choice::Drain),
            (
                declines,
                vec![BARE],
                Choice::Leave(SameAgain),
                Choice::Drain,
            ),
            (
                ending,
                vec![BARE],
                Choice::Leave(Stopping),
                Choice::Leave(Stopping),
            ),
        ] {
            let containers = containers.join(", ");
            let yaml =
                format!("{{metadata: {{{metadata}}}, spec: {{containers: [{containers}]}}}}");
            let pod: Pod = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(choose(&pod, false, true), chosen, "{yaml}");
            assert_eq!(choose(&pod, true, true), of_all, "{yaml}");
            assert_eq!(choose(&pod, true, false), of_all, "{yaml}");
            let unasked = match chosen {
                Choice::Drain => Choice::Leave(NotAsked),
                other => other,
            };
            assert_eq!(choose(&pod, false, false), unasked, "{yaml}");
        }
    }
}
