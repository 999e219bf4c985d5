//! One timer a connection, armed lazily: most deadlines are pushed back before they come, so a later
//! deadline is noted and only looked at when the earlier one fires.

use std::pin::Pin;
use std::task::{Context, Poll};
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
