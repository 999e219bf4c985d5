//! What an exchange may wait for, and how long.

use std::task::{Context, Poll};
use std::time::Instant;

use super::download::{CONTINUE_AFTER, Download};
use super::exchange::{Exchange, Seen};
use super::upload::Upload;
use crate::proxy::attempts::{Ended, Failure, Truncated, Unanswered};

/// Whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overdue {
    /// The request as a whole, or the endpoint's response.
    Response,
    /// The endpoint takes none of the request.
    Upload,
    /// A client that waits for a 100 has waited for it.
    Continue,
    /// The client sends none of its body.
    Body,
    /// The client takes none of its response.
    Write,
}

impl Exchange<'_> {
    /// Waits for the earliest of the deadlines that stand now.
    pub(super) fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some((deadline, overdue)) = self.next_deadline() else {
            return Poll::Pending;
        };
        if self.client.timer.poll_until(deadline, cx).is_pending() {
            return Poll::Pending;
        }
        self.now = Instant::now();
        let failure = match overdue {
            Overdue::Continue => {
                self.continue_ourselves();
                // Sends it, and looks at the deadlines again.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Overdue::Response | Overdue::Upload if self.seen() != Seen::Nothing => {
                Failure::Truncated(Truncated::TimedOut)
            }
            Overdue::Response | Overdue::Upload => Failure::Unanswered(Unanswered::TimedOut),
            Overdue::Body => Failure::BodyTimedOut,
            Overdue::Write => Failure::ClientGone,
        };
        Poll::Ready(Ended::Failed(failure))
    }

    fn next_deadline(&self) -> Option<(Instant, Overdue)> {
        let client = self.task.client_timeouts;
        let awaited = self.download == Download::Head && self.upload.is_over();
        let response = awaited.then_some(self.sent_at).flatten();
        let response = response.and_then(|sent| Some(sent + self.task.timeouts.response_head?));
        let upload = match self.upload {
            Upload::Head { .. } | Upload::Sending => {
                Some((self.upload_moved + client.write, Overdue::Upload))
            }
            // Only between messages: in the middle of another interim head it would be part of that.
            Upload::Waiting if self.download == Download::Head => {
                Some((self.upload_moved + CONTINUE_AFTER, Overdue::Continue))
            }
            Upload::Reading => Some((self.upload_moved + client.request_body, Overdue::Body)),
            Upload::Waiting | Upload::Done | Upload::GivenUp => None,
        };
        let writing = matches!(
            self.download,
            Download::Interim | Download::Switching | Download::Sending
        );
        let write = writing.then_some((self.download_moved + client.write, Overdue::Write));
        let all = [
            self.task.deadline.map(|at| (at, Overdue::Response)),
            response.map(|at| (at, Overdue::Response)),
            upload,
            write,
        ];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
