//! The waiting side's own copy of the deadline: pure, time is an argument.

use std::time::{Duration, Instant};

/// Without an answer and without `--grace`: the default of `connectionDraining.timeoutSeconds`.
pub(crate) const UNANSWERED: Duration = Duration::from_mins(5);

/// How much longer than lastcall we wait, so that at the deadline its own word, with the number of
/// requests it cut, arrives before we give up.
const MARGIN: Duration = Duration::from_millis(500);

/// When to stop asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// What the caller can wait at most.
    caller: Option<Instant>,
    /// What lastcall said last.
    answered: Option<Instant>,
    unanswered: Instant,
}

impl Deadline {
    pub(crate) fn new(start: Instant, grace: Option<Duration>) -> Self {
        Self {
            caller: grace.map(|grace| start + grace),
            answered: None,
            unanswered: start + UNANSWERED,
        }
    }

    /// lastcall says how much is left. Never past what the caller can wait.
    pub(crate) fn answered(&mut self, now: Instant, remaining: Duration) {
        let said = now.checked_add(remaining).unwrap_or(self.unanswered);
        self.answered = Some(self.caller.map_or(said, |caller| said.min(caller)));
    }

    /// When we stop waiting, whatever is said or not said.
    pub(crate) fn instant(&self) -> Instant {
        self.answered.or(self.caller).unwrap_or(self.unanswered) + MARGIN
    }

    /// What to ask for: a deadline that was once given is not prolonged by asking again.
    pub(crate) fn grace_to_ask(&self, now: Instant) -> Option<Duration> {
        self.answered
            .or(self.caller)
            .map(|at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn before_any_answer_the_grace_counts() {
        let start = Instant::now();
        let given = Deadline::new(start, Some(30 * SECOND));
        assert_eq!(given.instant(), start + 30 * SECOND + MARGIN);
        assert_eq!(given.grace_to_ask(start + 10 * SECOND), Some(20 * SECOND));
        let open = Deadline::new(start, None);
        assert_eq!(open.instant(), start + UNANSWERED + MARGIN);
        assert_eq!(open.grace_to_ask(start), None);
    }

    #[test]
    fn an_answer_counts_and_asking_again_does_not_prolong_it() {
        let start = Instant::now();
        let mut deadline = Deadline::new(start, None);
        deadline.answered(start + SECOND, 60 * SECOND);
        assert_eq!(deadline.instant(), start + 61 * SECOND + MARGIN);
        assert_eq!(
            deadline.grace_to_ask(start + 41 * SECOND),
            Some(20 * SECOND)
        );
        assert_eq!(
            deadline.grace_to_ask(start + 99 * SECOND),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn an_answer_never_exceeds_what_the_caller_can_wait() {
        let start = Instant::now();
        let mut deadline = Deadline::new(start, Some(5 * SECOND));
        deadline.answered(start, 300 * SECOND);
        assert_eq!(deadline.instant(), start + 5 * SECOND + MARGIN);
        deadline.answered(start, Duration::MAX);
        assert_eq!(deadline.instant(), start + 5 * SECOND + MARGIN);
    }
}
