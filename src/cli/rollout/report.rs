//! What `lastcall rollout` prints: a row a pod, or one JSON document. Pure.

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::choice::{Choice, Leave};
use crate::api::protection::protection;
use crate::cli::table::columns;

/// What `-o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rolled {
    /// Nothing was changed.
    pub(super) dry_run: bool,
    /// How many were moved.
    pub(super) moved: usize,
    pub(super) pods: Vec<Row>,
}

/// One pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) namespace: String,
    pub(super) pod: String,
    /// As kubectl names it; absent for a bare pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<String>,
    /// The Backends that it serves; absent where lastcall was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backends: Option<Vec<String>>,
    /// Held when it is stopped, in all of its containers.
    pub(super) protected: bool,
    /// Why it is not.
    pub(super) reasons: Vec<Reason>,
    pub(super) action: Action,
    /// Why it is left alone, or what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    /// The note says it all: a new pod would not get the hook, as the reason for the lack of one has it.
    #[serde(skip)]
    not_asked: bool,
    /// What came in its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) replaced_by: Vec<String>,
    /// From the request to drain it to its last byte, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drain_millis: Option<u64>,
    /// Requests that were cut at the drain's deadline.
    pub(super) cut: u64,
}

/// Why a pod is not held.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reason {
    /// One CamelCase word.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) message: String,
}

/// What became of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Action {
    /// Not yet: an earlier one failed.
    NotBegun,
    /// It would be moved.
    WouldMove,
    /// Left as it is.
    LeftAlone,
    /// It was gone before its turn.
    Gone,
    /// Drained, evicted and replaced.
    Moved,
    /// It failed; it serves on as before.
    PutBack,
    /// It failed after it was evicted.
    Evicted,
    /// It failed before anything was done to it.
    Failed,
}

impl Row {
    /// A pod before anything is done to it.
    pub(super) fn new(pod: &Pod, workload: Option<String>, choice: &Choice, dry_run: bool) -> Self {
        let gaps = protection(pod).gaps();
        let (action, note) = match choice {
            Choice::Leave(why) => (Action::LeftAlone, Some(why.to_string())),
            _ if dry_run => (Action::WouldMove, None),
            _ => (Action::NotBegun, None),
        };
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            workload,
            backends: None,
            protected: gaps.is_empty(),
            reasons: gaps
                .iter()
                .map(|gap| Reason {
                    reason: gap.reason(),
                    message: gap.to_string(),
                })
                .collect(),
            action,
            note,
            not_asked: *choice == Choice::Leave(Leave::NotAsked),
            replaced_by: Vec::new(),
            drain_millis: None,
            cut: 0,
        }
    }

    fn detail(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        if self.action == Action::Moved {
            parts.extend(self.drain_millis.map(|millis| {
                let (seconds, rest) = (millis / 1000, millis % 1000);
                format!("drained in {seconds}.{rest:03} s")
            }));
            if self.cut > 0 {
                parts.push(format!("{} requests cut", self.cut));
            }
            if !self.replaced_by.is_empty() {
                parts.push(format!("replaced by {}", self.replaced_by.join(", ")));
            }
        } else {
            let reasons = self.reasons.iter().filter(|_| !self.not_asked);
            parts.extend(reasons.map(|reason| reason.message.clone()));
            parts.extend(self.note.clone().filter(|_| !self.protected));
        }
        parts.join("; ")
    }
}

/// For people.
pub(super) fn table(rolled: &Rolled) -> String {
    let head = [
        "POD",
        "WORKLOAD",
        "BACKENDS",
        "PROTECTED",
        "ACTION",
        "DETAIL",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for row in &rolled.pods {
        let backends = row.backends.as_ref().map(|all| all.join(","));
        let or_dash = |text: Option<String>| match text {
            Some(text) if !text.is_empty() => text,
            _ => "-".to_owned(),
        };
        let backends = backends.or_else(|| Some("?".to_owned()));
        rows.push([
            format!("{}/{}", row.namespace, row.pod),
            or_dash(row.workload.clone()),
            or_dash(backends),
            if row.protected { "yes" } else { "no" }.to_owned(),
            format!("{:?}", row.action),
            row.detail(),
        ]);
    }
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rollout::choice::choose;

    #[test]
    fn a_row_says_what_became_of_a_pod_and_why() {
        let pod: Pod = serde_saphyr::from_str(
            "{metadata: {namespace: shop, name: app-1}, spec: {containers: [{name: app}]}}",
        )
        .unwrap();
        let choice = choose(&pod, false, true);
        let would = Row::new(&pod, Some("deployment/app".to_owned()), &choice, true);
        let moved = Row {
            action: Action::Moved,
            drain_millis: Some(1_204),
            replaced_by: vec!["app-2".to_owned()],
            backends: Some(vec!["shop/app".to_owned()]),
            ..Row::new(&pod, None, &choice, false)
        };
        let unasked = Row::new(&pod, None, &choose(&pod, false, false), true);
        let text = table(&Rolled {
            dry_run: true,
            moved: 1,
            pods: vec![would, moved, unasked],
        });
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("shop/app-1  deployment/app  ?         no         WouldMove"),
            "{text}"
        );
        assert!(lines[1].contains("container app has no hook"), "{text}");
        assert!(
            lines[2].ends_with("Moved      drained in 1.204 s; replaced by app-2"),
            "{text}"
        );
        assert!(
            lines[3].contains("LeftAlone  nothing asks for it to be held"),
            "{text}"
        );
        assert!(!lines[3].contains("gets it"), "{text}");
    }
}
