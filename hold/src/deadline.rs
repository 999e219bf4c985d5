//! The waiting side's own copy of the deadline: pure, time is an argument.

use std::time::{Duration, Instant};

/// Without an answer and without `--grace`: the default of `connectionDraining.timeoutSeconds`.
pub(crate) const UNANSWERED: Duration = Duration::from_mins(5);

/// How much longer than lastcall we wait at most, so that at the deadline its own word, with the number
/// of requests it cut, arrives before we give up.
const MARGIN: Duration = Duration::from_millis(500);

/// When to stop asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// When lastcall's time is over, as it was asked for.
    asked: Option<Instant>,
    /// When lastcall's time is over, as it said last.
    answered: Option<Instant>,
    /// When ours is over where neither is known.
    unanswered: Instant,
    margin: Duration,
}

impl Deadline {
    /// `grace` is what the caller can wait: all of it is ours, lastcall is asked for a little less.
    pub(crate) fn new(start: Instant, grace: Option<Duration>) -> Self {
        let margin = grace.map_or(MARGIN, |grace| MARGIN.min(grace / 10));
        Self {
            asked: grace.map(|grace| start + grace.saturating_sub(margin)),
            answered: None,
            unanswered: start + UNANSWERED,
            margin,
        }
    }

    /// lastcall says how much is left. Never past what the caller can wait.
    pub(crate) fn answered(&mut self, now: Instant, remaining: Duration) {
        let said = now.checked_add(remaining).unwrap_or(self.unanswered);
        self.answered = Some(self.asked.map_or(said, |asked| said.min(asked)));
    }

    /// When we stop waiting, whatever is said or not said.
    pub(crate) fn instant(&self) -> Instant {
        let theirs = self.answered.or(self.asked);
        theirs.map_or(self.unanswered, |theirs| theirs + self.margin)
    }

    /// What is left to ask for: a deadline that was once given is not prolonged by asking again.
    pub(crate) fn grace_to_ask(&self, now: Instant) -> Option<Duration> {
        self.answered
            .or(self.asked)
            .map(|theirs| theirs.saturating_duration_since(now))
    }

    /// How long there still is something to ask for.
    pub(crate) fn left_to_ask(&self, now: Instant) -> Duration {
        let open = self.unanswered.saturating_duration_since(now);
        self.grace_to_ask(now).unwrap_or(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn before_any_answer_the_grace_counts_to_the_full_and_lastcall_gets_a_little_less() {
        let start = Instant::now();
        let given = Deadline::new(start, Some(30 * SECOND));
        assert_eq!(given.instant(), start + 30 * SECOND);
        assert_eq!(
            given.grace_to_ask(start + 10 * SECOND),
            Some((20 * SECOND).saturating_sub(MARGIN))
        );
        let short = Deadline::new(start, Some(SECOND));
        assert_eq!(short.grace_to_ask(start), Some(SECOND * 9 / 10));
        assert_eq!(short.left_to_ask(start + SECOND), Duration::ZERO);
    }

    #[test]
    fn without_grace_the_default_drain_timeout_counts_until_there_is_an_answer() {
        let start = Instant::now();
        let open = Deadline::new(start, None);
        assert_eq!(open.instant(), start + UNANSWERED);
        assert_eq!(open.grace_to_ask(start), None);
        assert_eq!(open.left_to_ask(start + SECOND), Duration::from_secs(299));
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
        assert_eq!(deadline.left_to_ask(start + 99 * SECOND), Duration::ZERO);
    }

    #[test]
    fn an_answer_never_exceeds_what_the_caller_can_wait() {
        let start = Instant::now();
        let mut deadline = Deadline::new(start, Some(5 * SECOND));
        deadline.answered(start, 300 * SECOND);
        assert_eq!(deadline.instant(), start + 5 * SECOND);
        deadline.answered(start, Duration::MAX);
        assert_eq!(deadline.instant(), start + 5 * SECOND);
    }
}
