//! What is said of an object: conditions in the manner of Gateway API. `controller` writes them into
//! status; in standalone the log and the admin API show them.

/// What is said of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Of the object as a whole.
    pub conditions: Vec<Condition>,
    /// Of each listener, by its name, in the order they were written; empty for a Backend.
    pub listeners: Vec<(String, Vec<Condition>)>,
}

/// One thing said of an object or a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub kind: ConditionKind,
    /// Whether it is so.
    pub met: bool,
    /// Why, one CamelCase word that stays the same over versions.
    pub reason: &'static str,
    /// Why, for people; says what to do where something is to be done.
    pub message: String,
    /// The field that is at fault, such as `spec.routes[0].backends[1].name`.
    pub field: Option<String>,
}

/// What a condition is about; its name is the condition's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionKind {
    /// The object, or the listener, is taken into what runs.
    Accepted,
    /// Everything it names is there.
    ResolvedRefs,
    /// Advice: the drain timeout is shorter than something that is to fit into it.
    DrainTimeoutTooShort,
    /// Advice: an annotation of one of its pods means nothing.
    AnnotationIgnored,
}

impl ConditionKind {
    /// The condition's `type` in status.
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionKind::Accepted => "Accepted",
            ConditionKind::ResolvedRefs => "ResolvedRefs",
            ConditionKind::DrainTimeoutTooShort => "DrainTimeoutTooShort",
            ConditionKind::AnnotationIgnored => "AnnotationIgnored",
        }
    }

    /// Whether all is well where the condition is met; of advice it is the other way round.
    pub fn is_good(self) -> bool {
        !matches!(
            self,
            ConditionKind::DrainTimeoutTooShort | ConditionKind::AnnotationIgnored
        )
    }
}

impl Condition {
    pub(super) fn met(
        kind: ConditionKind,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            met: true,
            reason,
            message: message.into(),
            field: None,
        }
    }

    /// Not met, because of these fields; each with what is the matter with it.
    pub(super) fn broken(kind: ConditionKind, reason: &'static str, faults: &[Fault]) -> Self {
        let messages: Vec<String> = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.field, fault.message))
            .collect();
        Self {
            kind,
            met: false,
            reason,
            message: messages.join("; "),
            field: faults.first().map(|fault| fault.field.clone()),
        }
    }

    /// Whether somebody should look at it.
    pub fn is_fault(&self) -> bool {
        self.met != self.kind.is_good()
    }
}

impl Verdict {
    /// The condition of that kind, of the object as a whole.
    pub fn get(&self, kind: ConditionKind) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }

    /// All that somebody should look at, with the listener's name where it is about one.
    pub fn faults(&self) -> impl Iterator<Item = (Option<&str>, &Condition)> {
        let whole = self.conditions.iter().map(|c| (None, c));
        let listeners = self
            .listeners
            .iter()
            .flat_map(|(name, all)| all.iter().map(move |c| (Some(name.as_str()), c)));
        whole.chain(listeners).filter(|(_, c)| c.is_fault())
    }
}

/// A field that is at fault, and what is the matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, such as `spec.routes[0].matches[1].path.value`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}
