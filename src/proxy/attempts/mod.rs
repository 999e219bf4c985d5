//! A request over all attempts at it: which endpoint is asked next, on which connections, and whether the
//! request may be sent again (Law 7). The one owner of these decisions, whatever client and endpoint speak; the
//! drivers of HTTP/1 (`http1::driver`) and HTTP/2 (`http2::stream`) make the attempts.

mod connecting;
mod failure;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

pub(super) use connecting::{NotConnected, connected, unreachable};
pub(super) use failure::{Ended, Failure, Truncated, Unanswered};

use super::destination::Chosen;
use super::mirror::Copied;
use super::pick::{Entered, NoPlace, Picked, Wanted, pick, wait};
use super::respond::Answer;
use super::retry_budget::Drawn;
use super::worker::{Control, Pool, Shutdown, Worker};
use crate::gate::InFlight;
use crate::model::{ClientTimeouts, FieldEdits, RouteTimeouts, WeightedBackend};
use crate::proxy::http1::{RequestHead, WebSocketAccept};

/// What is the same for every attempt at a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) timeouts: &'a RouteTimeouts,
    pub(super) client_timeouts: &'a ClientTimeouts,
    pub(super) body_limit: Option<u64>,
    /// When the request as a whole is over its time.
    pub(super) deadline: Option<Instant>,
    /// An upgrade is asked of the endpoint.
    pub(super) upgrade: bool,
    /// What a `WebSocket`'s opening is answered with, where one of the two sides has no word for it: a client of
    /// HTTP/2 does not check it, and an endpoint of HTTP/2 does not say it.
    pub(super) accept: Option<WebSocketAccept>,
    /// What the route changes of the response's fields.
    pub(super) edits: Option<&'a FieldEdits>,
    /// It is to be copied.
    pub(super) copied: Option<&'a Copied<'a>>,
}

/// What became of one attempt.
#[derive(Debug)]
pub(super) enum Tried<T> {
    /// The exchange is over, and this comes next.
    Over(T),
    /// Nothing was answered; another endpoint may be asked.
    Again(Answer),
    /// The same, and it was a connection that the endpoint had given up, or gave up then: that says little of
    /// the endpoint itself.
    Stale(Answer),
    /// Nothing was answered, and nobody else is asked.
    Failed(Answer),
}

/// One request, and who was asked so far.
pub(super) struct Attempts<'a> {
    pub(super) choice: &'a WeightedBackend,
    pub(super) task: Task<'a>,
    pool: &'a Pool,
    /// By it an order to cut reaches the attempt under way.
    control: Rc<Control>,
    /// Attempts left for a request that was sent and not answered.
    resends: u32,
    /// What those are taken out of, where they are bounded.
    budget: Option<Rc<Drawn>>,
    /// By which the endpoint is chosen, where the Backend goes by keys.
    by: u64,
    /// The key of the endpoint that is being asked.
    at: u64,
    /// Those that were asked in vain.
    tried: Vec<u64>,
    /// The one among them that was asked on a connection it had given up.
    stale: Option<u64>,
    /// Whether only new connections are used: what is kept may be as old as the one that was given up.
    fresh: bool,
    /// What the client is told, where nobody else is asked.
    answer: Option<Answer>,
}

impl<'a> Attempts<'a> {
    /// A request for `chosen`, whose endpoints are those in `pool`.
    pub(super) fn new(
        chosen: &'a Chosen<'_>,
        task: Task<'a>,
        pool: &'a Pool,
        control: &Rc<Control>,
    ) -> Self {
        let choice = &chosen.backend;
        let figures = choice.retry.budget.as_ref();
        let budget = figures.and_then(|figures| pool.budget(figures)).cloned();
        if let Some(budget) = &budget {
            budget.note(Instant::now());
        }
        Self {
            choice,
            task,
            pool,
            control: Rc::clone(control),
            resends: choice.retry.attempts,
            budget,
            by: chosen.key,
            at: 0,
            tried: Vec::new(),
            stale: None,
            fresh: false,
            answer: None,
        }
    }

    /// Picks the endpoint to be asked next and enters its gate, and waits for one where all are full; what the
    /// client is told where there is none, or where the time is over. `None` where the client has left while it
    /// waited: `gone` is ready then.
    pub(super) async fn next(
        &mut self,
        worker: &Worker,
        gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Result<Option<InFlight<Picked>>, Answer> {
        // A request that took too long is answered, and acted on by nobody after that.
        if let Some(late) = self.answer.take_if(|_| overdue(self.task.deadline)) {
            return Err(late);
        }
        let (at, in_flight) = match self.place(worker, gone).await {
            Ok(entered) => entered,
            Err(NoPlace::ClientGone) => {
                worker.stats().client_gone.add(1);
                return Ok(None);
            }
            Err(why) => return Err(self.answer.take().unwrap_or_else(|| why.answer())),
        };
        if self.answer.is_some() {
            worker.stats().retries.add(1);
        }
        self.at = at;
        self.control.cut.set(worker.shutdown() == Shutdown::Cut);
        self.control.upstream.set(at);
        Ok(Some(in_flight))
    }

    /// Takes in what became of the attempt: what comes next where the exchange is over, `None` where another
    /// endpoint may be asked; an error is what the client is told.
    pub(super) fn note<T>(&mut self, tried: Tried<T>) -> Result<Option<T>, Answer> {
        self.control.upstream.set(0);
        self.control.cut.set(false);
        self.answer = Some(match tried {
            Tried::Over(next) => return Ok(Some(next)),
            Tried::Failed(answer) => return Err(answer),
            Tried::Again(answer) => answer,
            Tried::Stale(answer) => {
                self.stale = Some(self.at);
                self.fresh = true;
                answer
            }
        });
        self.tried.push(self.at);
        Ok(None)
    }

    /// Picks an endpoint that was not asked yet; where there is none, the one that was asked on a connection
    /// it had given up gets a second chance (PITFALLS 14, 44).
    fn pick(&mut self, worker: &Worker) -> Option<Entered> {
        pick(self.wanted(), worker).or_else(|| {
            let stale = self.stale.take()?;
            self.tried.retain(|key| *key != stale);
            pick(self.wanted(), worker)
        })
    }

    /// The same, and where all are full waits for one.
    async fn place(
        &mut self,
        worker: &Worker,
        gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Result<Entered, NoPlace> {
        if let Some(entered) = self.pick(worker) {
            return Ok(entered);
        }
        // On the heap: it is rare, and no other request is to carry anything of it.
        Box::pin(wait(self.wanted(), self.task.deadline, worker, gone)).await
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            pool: self.pool,
            tried: &self.tried,
            key: self.by,
        }
    }

    /// Whether kept connections may be used.
    pub(super) fn may_reuse(&self) -> bool {
        !self.fresh
    }

    /// How long connecting may take.
    pub(super) fn connect_limit(&self, now: Instant) -> Duration {
        let limit = self.choice.timeouts.connect;
        let deadline = self.task.deadline;
        deadline.map_or(limit, |at| limit.min(at.saturating_duration_since(now)))
    }

    /// What an attempt means that was not answered. `sent`: bytes that may have reached the endpoint; `kept`: on
    /// a connection that was there before; `replayable`: another endpoint could be given the same body.
    pub(super) fn unanswered<T>(
        &mut self,
        why: &Unanswered,
        sent: u64,
        kept: bool,
        replayable: bool,
    ) -> Tried<T> {
        let answer = why.answer();
        let resends = self.resends;
        let goes_on = replayable && may_go_on(self.task.head, why, sent, &mut self.resends);
        // What was never sent is not taken out of the budget (Law 7).
        let is_resent = self.resends < resends;
        let budget = self.budget.as_ref().filter(|_| is_resent);
        if !goes_on || budget.is_some_and(|budget| !budget.take(Instant::now())) {
            Tried::Failed(answer)
        } else if why.is_of_connection(kept) && !self.fresh {
            // Once for each request: who gives up new connections, too, is no better than one that refuses.
            Tried::Stale(answer)
        } else {
            Tried::Again(answer)
        }
    }
}

/// Whether a request of which `sent` bytes went out unanswered may be asked again; `resends` is how often one may
/// that was sent. Law 7: one of which nothing was sent, or nothing was looked at, whatever it is; one that was
/// sent only where its method is idempotent, the policy allows it, and nothing of a body would be missing.
fn may_go_on(head: &RequestHead, why: &Unanswered, sent: u64, resends: &mut u32) -> bool {
    if sent == 0 || why.is_unprocessed() {
        return true;
    }
    let replayable = head.method.is_idempotent() && head.body.is_empty() && head.upgrade.is_none();
    if replayable && *why != Unanswered::TimedOut && *resends > 0 {
        *resends -= 1;
        return true;
    }
    false
}

/// What an attempt means that was cut, and of which the client has seen nothing: where nothing was sent, another
/// endpoint may be asked whatever the method is (Law 7), but where everything is ended by force.
pub(super) fn cut<T>(worker: &Worker, sent: u64, replayable: bool) -> Tried<T> {
    if sent > 0 || !replayable {
        let left = "the endpoint left before it answered; it may have acted on the request";
        return Tried::Failed(Answer::new(503, left).retry_after(1));
    }
    if worker.shutdown() == Shutdown::Cut {
        return Tried::Failed(Answer::new(503, "this load balancer is stopping").retry_after(1));
    }
    Tried::Again(Answer::new(503, "the endpoint was disabled").retry_after(1))
}

/// Whether the request as a whole is over its time.
fn overdue(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
