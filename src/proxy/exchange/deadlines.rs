//! What an exchange may wait for, and how long.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::download::Download;
use super::upload::Upload;
use super::{Caller, Exchange};
use crate::proxy::attempts::{Failure, Truncated, Unanswered};
use crate::proxy::http1::driver::CONTINUE_AFTER;

/// How long an endpoint may take for an answer before a client that leaves casts doubt on the connection.
const LONG: Duration = Duration::from_secs(5);

/// Whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overdue {
    /// The request as a whole, or the endpoint's response, or the endpoint takes none of the request.
    Endpoint,
    /// A client that waits for a 100 has waited for it.
    Continue,
    /// The client sends none of its body.
    Body,
    /// The client does not end its request, which was answered.
    End,
    /// The client takes none of its response.
    Write,
}

impl<C: Caller> Exchange<'_, C> {
    /// Waits for the earliest of the deadlines that stand now.
    pub(super) fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let Some((deadline, overdue)) = self.next_deadline() else {
            return Poll::Pending;
        };
        if self.timer.poll_until(deadline, cx).is_pending() {
            return Poll::Pending;
        }
        self.now = Instant::now();
        Poll::Ready(match overdue {
            Overdue::Continue => {
                if let Err(failure) = self.continue_ourselves() {
                    return Poll::Ready(failure);
                }
                // Sends it, and looks at the deadlines again.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Overdue::End => {
                self.give_up();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Overdue::Endpoint => {
                if let Some(link) = &self.link {
                    link.doubt();
                }
                if self.caller.has_begun() {
                    Failure::Truncated(Truncated::TimedOut)
                } else {
                    Failure::Unanswered(Unanswered::TimedOut)
                }
            }
            Overdue::Body => Failure::BodyTimedOut,
            Overdue::Write => Failure::ClientGone,
        })
    }

    /// The client has given the request up. Many wait for less than we do: where it had waited for long, that says of
    /// the endpoint what our own limits would have said.
    pub(super) fn doubt_after_waiting(&self) {
        let waited = |sent| self.now.saturating_duration_since(sent) >= LONG;
        if let (Some(link), Download::Head) = (&self.link, self.download)
            && self.sent_at.is_some_and(waited)
        {
            link.doubt();
        }
    }

    /// Whether it is a call of gRPC that is under way. Such a one may stream both ways, and nobody can tell whose
    /// turn it is: a client that says nothing for hours, such as one that watches, owes nothing.
    fn is_conversation(&self) -> bool {
        self.messages.is_some() && (self.body_read > 0 || self.caller.has_begun())
    }

    fn next_deadline(&self) -> Option<(Instant, Overdue)> {
        let client = self.task.client_timeouts;
        let whole = self.task.deadline.filter(|_| self.in_flight.is_some());
        let awaited = self.download == Download::Head && self.upload.is_over();
        let response = awaited.then_some(self.sent_at).flatten();
        let response = response.and_then(|sent| Some(sent + self.task.timeouts.response_head?));
        let upload = match self.upload {
            Upload::Begin | Upload::Sending { .. } => {
                Some((self.upload_moved + client.write, Overdue::Endpoint))
            }
            Upload::Waiting => Some((self.upload_moved + CONTINUE_AFTER, Overdue::Continue)),
            Upload::Reading if self.is_conversation() => {
                let moved = self.upload_moved.max(self.download_moved);
                let idle = self.task.timeouts.tunnel_idle;
                idle.map(|idle| (moved + idle, Overdue::Endpoint))
            }
            Upload::Reading => Some((self.upload_moved + client.request_body, Overdue::Body)),
            Upload::Ending if self.download == Download::Done => {
                Some((self.download_moved + client.request_body, Overdue::End))
            }
            Upload::Ending | Upload::Done | Upload::GivenUp => None,
        };
        let writing =
            self.download == Download::Rest || (self.download == Download::Body && self.blocked);
        let write = writing.then_some((self.download_moved + client.write, Overdue::Write));
        let all = [
            whole.map(|at| (at, Overdue::Endpoint)),
            response.map(|at| (at, Overdue::Endpoint)),
            upload,
            write,
        ];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
