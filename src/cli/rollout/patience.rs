//! Waits for what a pod's move depends on, up to the pod's deadline, and tells whoever watches how it stands.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::cli::Failure;

/// One look takes no longer than this.
pub(super) const LOOK: Duration = Duration::from_secs(30);

/// Lines for whoever waits. Each once, until it changes.
pub(super) struct Progress {
    tell: Box<dyn Fn(&str) + Send + Sync>,
    last: Mutex<String>,
}

impl Progress {
    pub(super) fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            tell: Box::new(tell),
            last: Mutex::default(),
        }
    }

    pub(super) fn say(&self, pod: &str, what: &str) {
        let line = format!("{pod}: {what}");
        // A line is whole in itself.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != line {
            (self.tell)(&line);
            *last = line;
        }
    }
}

/// What one look has seen.
pub(super) enum Look<T> {
    Done(T),
    NotYet(String),
}

/// How long, for which pod, and who is told.
pub(super) struct Patience<'a> {
    pub(super) pod: &'a str,
    pub(super) deadline: Instant,
    pub(super) progress: &'a Progress,
}

impl Patience<'_> {
    /// Looks until it is so, and shows how it stands. What cannot be asked now is asked again.
    pub(super) async fn until<T>(
        &self,
        pause: Duration,
        mut look: impl AsyncFnMut() -> Result<Look<T>, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let what = match timeout(LOOK, look()).await {
                Ok(Ok(Look::Done(seen))) => return Ok(seen),
                Ok(Ok(Look::NotYet(what))) => what,
                Ok(Err(failure)) if failure.is_passing() => format!("{failure}; asking again"),
                Ok(Err(failure)) => return Err(failure),
                Err(_) => "no answer; asking again".to_owned(),
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::NotReached(format!(
                    "pod {}: {what}, when its time was over (--timeout)",
                    self.pod
                )));
            }
            self.progress.say(self.pod, &what);
            sleep(pause.min(left)).await;
        }
    }
}
