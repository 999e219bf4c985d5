//! Waits for a state over `GET /v1/wait`, and goes on waiting when lastcall restarts meanwhile: what a
//! restart tells of in-flight requests is nothing (Law 5).

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Failure;
use super::client::{Client, in_query};
use crate::admin::Route;
use crate::admin::schema::{Goal, WaitLine};
use crate::model::Target;
use crate::model::report::{EndpointReport, millis};

/// The first pause before asking again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What is waited for.
pub(super) struct Until<'a> {
    pub(super) client: &'a Client,
    pub(super) target: &'a Target,
    pub(super) goal: Goal,
    /// When to stop waiting.
    pub(super) limit: Duration,
    /// lastcall has just answered: where it does not now, it is restarting.
    pub(super) answered: bool,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waited {
    /// The target.
    pub(super) target: String,
    /// What was waited for.
    pub(super) goal: Goal,
    /// Whether it is so.
    pub(super) reached: bool,
    /// How long was waited, ms.
    #[serde(rename = "waitedMillis")]
    pub(super) millis: u64,
    /// Requests that were cut meanwhile.
    pub(super) cut: u64,
    /// Requests in flight at the end.
    pub(super) in_flight: u64,
}

impl Waited {
    /// Exit code 3 where it is not so, or only by force.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.reached && self.cut == 0 {
            return Ok(());
        }
        let Waited {
            target,
            goal,
            cut,
            in_flight,
            ..
        } = self;
        Err(Failure::NotReached(if self.reached {
            format!("{target} is {goal}, but {cut} request(s) were cut")
        } else {
            format!(
                "{target} is not {goal}: {in_flight} request(s) in flight when the time was over"
            )
        }))
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let seconds = Duration::from_millis(self.millis).as_secs_f64();
        let not = if self.reached { "" } else { "not " };
        format!("{} {not}{} after {seconds:.3} s\n", self.target, self.goal)
    }
}

impl Until<'_> {
    /// Waits. `again` is run before each call but the first: it says once more what a lastcall that was
    /// restarted has forgotten.
    pub(super) async fn wait<F>(&self, again: impl Fn(Duration) -> F) -> Result<Waited, Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let begun = Instant::now();
        let mut progress = ProgressLine::new(self.answered);
        let mut pause = PAUSES.0;
        let mut result = self.call(begun, &mut progress).await;
        loop {
            let left = self.limit.saturating_sub(begun.elapsed());
            match result {
                // A target that was there and is unknown after a restart may come back with the
                // next reload; the limit ends the doubt.
                Err(failure) if progress.answered && !left.is_zero() && may_pass(&failure) => {
                    progress.show(&format!("{failure}; asking again"));
                }
                other => {
                    progress.clear();
                    return other;
                }
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(PAUSES.1);
            let left = self.limit.saturating_sub(begun.elapsed());
            result = match again(left).await {
                Ok(()) => self.call(begun, &mut progress).await,
                Err(failure) => Err(failure),
            };
        }
    }

    async fn call(&self, begun: Instant, progress: &mut ProgressLine) -> Result<Waited, Failure> {
        let left = self.limit.saturating_sub(begun.elapsed());
        let path = format!(
            "{}?target={}&namespace={}&for={}&timeoutSeconds={:.3}",
            Route::Wait.path(),
            in_query(&self.target.to_string()),
            in_query(&self.target.backend.namespace),
            self.goal,
            left.as_secs_f64().max(0.001),
        );
        let mut lines = self.client.lines::<WaitLine>(&path).await?;
        progress.answered = true;
        loop {
            let line = lines.next().await?;
            match line {
                WaitLine::Waiting {
                    in_flight,
                    endpoints,
                } => {
                    progress.show(&waiting(self.target, in_flight, &endpoints));
                }
                WaitLine::Heartbeat { .. } => {}
                WaitLine::Reached { cut, .. } => return Ok(self.waited(begun, true, cut, 0)),
                WaitLine::TimedOut { cut, in_flight, .. } => {
                    return Ok(self.waited(begun, false, cut, in_flight));
                }
            }
        }
    }

    fn waited(&self, begun: Instant, reached: bool, cut: u64, in_flight: u64) -> Waited {
        Waited {
            target: self.target.to_string(),
            goal: self.goal,
            reached,
            millis: millis(begun.elapsed()),
            cut,
            in_flight,
        }
    }
}

fn may_pass(failure: &Failure) -> bool {
    failure.is_passing()
        || matches!(failure, Failure::Refused(refused) if refused.problem.status == 404)
}

fn waiting(target: &Target, in_flight: u64, endpoints: &[EndpointReport]) -> String {
    let left = endpoints.iter().filter_map(|one| one.deadline_millis).max();
    let left = left.map_or_else(String::new, |millis| {
        format!(", cut in {} s", millis.div_ceil(1000))
    });
    format!("{target}: {in_flight} in flight{left}")
}

/// One line on stderr that is written over and over, where somebody looks at it.
struct ProgressLine {
    terminal: bool,
    answered: bool,
}

impl ProgressLine {
    fn new(answered: bool) -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            answered,
        }
    }

    fn show(&self, text: &str) {
        if self.terminal {
            // A terminal that has gone away is no reason to stop waiting.
            let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
        }
    }

    fn clear(&self) {
        self.show("");
    }
}
