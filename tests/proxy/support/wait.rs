//! Waiting for a condition, never for a time; a failure says what was seen last.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long to pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `look` until it returns `Ok`, and returns that. Panics after `limit` with what the last `Err` said.
/// Blocks the thread: for tests without a runtime, or on a runtime with more than one thread.
#[track_caller]
pub fn wait_until<T, E: Debug>(
    what: &str,
    limit: Duration,
    look: impl FnMut() -> Result<T, E>,
) -> T {
    wait_until_by_looks(PAUSE, what, limit, look)
}

/// The same where a look costs more: a pause of its own between two.
#[track_caller]
pub fn wait_until_by_looks<T, E: Debug>(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(seen) if begin.elapsed() > limit => {
                panic!("waited {limit:?} for {what}; seen last: {seen:?}")
            }
            Err(_) => std::thread::sleep(pause),
        }
    }
}

/// The same for a test on a runtime.
pub async fn wait_until_async<T, E: Debug>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let begin = Instant::now();
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(seen) if begin.elapsed() > limit => {
                panic!("waited {limit:?} for {what}; seen last: {seen:?}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
