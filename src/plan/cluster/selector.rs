//! Label selectors, as Kubernetes defines them ("Labels and Selectors", set-based requirements). Called by
//! `endpoints` for Backends that name pods.

use super::Labels;
use crate::api::backend::PodSource;
use crate::plan::Unresolved;

/// A selector that can be asked.
pub(super) struct Selector<'a>(Vec<(&'a str, Requirement<'a>)>);

/// What is wanted of one label.
enum Requirement<'a> {
    Is(&'a str),
    In(&'a [String]),
    NotIn(&'a [String]),
    Exists,
    DoesNotExist,
}

impl<'a> Selector<'a> {
    /// Reads the selector of a Backend. The schema leaves operators open, so one that is none can be there.
    pub fn read(source: &'a PodSource) -> Result<Self, Unresolved> {
        let selector = &source.selector;
        let mut all = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            all.push((key.as_str(), Requirement::Is(value)));
        }
        for (at, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let values = expression.values.as_deref().unwrap_or_default();
            let requirement = match expression.operator.as_str() {
                "In" | "NotIn" if values.is_empty() => {
                    return Err(fault(at, "values", "is empty; needed: at least one value"));
                }
                "In" => Requirement::In(values),
                "NotIn" => Requirement::NotIn(values),
                "Exists" => Requirement::Exists,
                "DoesNotExist" => Requirement::DoesNotExist,
                other => {
                    let message =
                        format!("found {other:?}; allowed: In, NotIn, Exists, DoesNotExist");
                    return Err(fault(at, "operator", &message));
                }
            };
            all.push((&expression.key, requirement));
        }
        Ok(Self(all))
    }

    /// Whether a pod with these labels is meant. An empty selector means none: the schema refuses it, and
    /// were it let through it must not take every pod.
    pub fn matches(&self, labels: &Labels) -> bool {
        !self.0.is_empty()
            && self
                .0
                .iter()
                .all(|(key, wanted)| wanted.met(labels.get(key)))
    }
}

impl Requirement<'_> {
    /// A label that is not there is not in any set, so `NotIn` takes it.
    fn met(&self, value: Option<&str>) -> bool {
        match self {
            Requirement::Is(wanted) => value == Some(wanted),
            Requirement::In(values) => value.is_some_and(|v| values.iter().any(|one| one == v)),
            Requirement::NotIn(values) => value.is_none_or(|v| values.iter().all(|one| one != v)),
            Requirement::Exists => value.is_some(),
            Requirement::DoesNotExist => value.is_none(),
        }
    }
}

fn fault(at: usize, part: &str, message: &str) -> Unresolved {
    Unresolved {
        reason: "InvalidSelector",
        field: format!("spec.pods.selector.matchExpressions[{at}].{part}"),
        message: message.to_owned(),
    }
}
