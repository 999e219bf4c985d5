//! One timer a connection, armed lazily: most deadlines are pushed back before they come, so a later
//! deadline is noted and only looked at when the earlier one fires.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::time::Sleep;

/// Wakes a task at the earliest of its deadlines.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<(Pin<Box<Sleep>>, Instant)>,
}

impl Timer {
    /// Ready once `deadline` has passed; otherwise the task is woken then, or before.
    pub fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let (sleep, armed) = self.sleep.get_or_insert_with(|| {
            (
                Box::pin(tokio::time::sleep_until(deadline.into())),
                deadline,
            )
        });
        if deadline < *armed {
            sleep.as_mut().reset(deadline.into());
            *armed = deadline;
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if *armed >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
            *armed = deadline;
        }
        Poll::Pending
    }
}

/// Armed timers that are kept for the next.
const KEPT: usize = 256;

/// Timers that are used again by who has one only for a moment: to arm a new one costs an allocation and a place
/// in the runtime's wheel, and most deadlines are the same time away, so that an old one need not be moved.
#[derive(Debug, Default)]
pub struct Timers(RefCell<Vec<Timer>>);

impl Timers {
    /// A timer, perhaps one that wakes its task too early once.
    pub fn take(&self) -> Timer {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a timer for the next who needs one. Called inside the runtime.
    pub fn give(&self, mut timer: Timer) {
        let mut kept = self.0.borrow_mut();
        if let Some((sleep, _)) = &mut timer.sleep
            && kept.len() < KEPT
        {
            // It would hold on to the task that it was used by.
            let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            kept.push(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn one_that_is_used_again_fires_when_it_should() {
        let start = tokio::time::Instant::now().into_std();
        let at = |seconds| start + Duration::from_secs(seconds);
        let timers = Timers::default();
        let mut first = timers.take();
        let armed = std::future::poll_fn(|cx| Poll::Ready(first.poll_until(at(5), cx)));
        assert!(armed.await.is_pending());
        timers.give(first);
        for until in [9, 12] {
            // Armed for a time before it; then for one that has passed.
            let mut again = timers.take();
            assert!(timers.0.borrow().is_empty());
            std::future::poll_fn(|cx| again.poll_until(at(until), cx)).await;
            let now = tokio::time::Instant::now().into_std();
            assert_eq!((now - start).as_secs(), until);
            timers.give(again);
        }
        // One that was never armed is not worth it.
        timers.0.take();
        timers.give(Timer::default());
        assert!(timers.0.borrow().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_deadline_that_was_asked_for_last() {
        let start = tokio::time::Instant::now().into_std();
        let mut timer = Timer::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut wait = async |seconds| {
            std::future::poll_fn(|cx| timer.poll_until(at(seconds), cx)).await;
            (tokio::time::Instant::now().into_std() - start).as_secs()
        };
        assert_eq!(wait(5).await, 5);
        assert_eq!(wait(5).await, 5, "a deadline that has passed");
        assert_eq!(wait(9).await, 9);
        // Armed far away, then asked for less: the nearer one holds.
        let mut timer = Timer::default();
        let far = std::future::poll_fn(|cx| Poll::Ready(timer.poll_until(at(60), cx)));
        assert!(far.await.is_pending());
        std::future::poll_fn(|cx| timer.poll_until(at(12), cx)).await;
        assert_eq!(
            (tokio::time::Instant::now().into_std() - start).as_secs(),
            12
        );
    }
}
