//! What a request may still try: which endpoints are left, on which connections, and whether it may be sent
//! again (Law 7). Pure but for the gate that a picked endpoint is entered by.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::exchange::{Task, Unanswered};
use crate::model::WeightedBackend;
use crate::proxy::pick::{Entered, NoPlace, Wanted, pick, wait};
use crate::proxy::retry_budget::Drawn;
use crate::proxy::worker::{Pool, Worker};

/// What was written down of a request for all its attempts.
pub(in crate::proxy) struct Attempts<'a> {
    pub(in crate::proxy) choice: &'a WeightedBackend,
    pub(in crate::proxy) task: Task<'a>,
    /// Attempts left for a request that was sent and not answered.
    resends: u32,
    /// By which the endpoint is chosen, where the Backend goes by keys.
    key: u64,
    /// What retries are taken out of, where they are bounded.
    budget: Option<Rc<Drawn>>,
    /// Endpoints that were asked in vain, by their keys.
    tried: Vec<u64>,
    /// The one among them that was asked on a connection it had given up.
    stale: Option<u64>,
    /// Whether only new connections are used: what is kept may be as old as the one that was given up.
    fresh: bool,
}

impl<'a> Attempts<'a> {
    /// Notes a request, of which retries may be only so many.
    pub(in crate::proxy) fn new(
        choice: &'a WeightedBackend,
        key: u64,
        task: Task<'a>,
        pool: &Pool,
    ) -> Self {
        let figures = choice.retry.budget.as_ref();
        let budget = figures.and_then(|figures| pool.budget(figures)).cloned();
        if let Some(budget) = &budget {
            budget.note(Instant::now());
        }
        Self {
            choice,
            task,
            resends: choice.retry.attempts,
            key,
            budget,
            tried: Vec::new(),
            stale: None,
            fresh: false,
        }
    }

    /// Picks an endpoint that was not asked yet; where there is none, the one that was asked on a connection
    /// it had given up gets a second chance (PITFALLS 14, 44).
    fn pick(&mut self, pool: &Pool, worker: &Worker) -> Option<Entered> {
        pick(self.wanted(pool), worker).or_else(|| {
            let stale = self.stale.take()?;
            self.tried.retain(|key| *key != stale);
            pick(self.wanted(pool), worker)
        })
    }

    /// The same, and where all are full waits for one. `gone` is ready once the client has left.
    pub(in crate::proxy) async fn place(
        &mut self,
        pool: &Pool,
        worker: &Worker,
        gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Result<Entered, NoPlace> {
        if let Some(entered) = self.pick(pool, worker) {
            return Ok(entered);
        }
        let deadline = self.task.deadline;
        // On the heap: it is rare, and no other request is to carry anything of it.
        Box::pin(wait(self.wanted(pool), deadline, worker, gone)).await
    }

    fn wanted<'w>(&'w self, pool: &'w Pool) -> Wanted<'w> {
        Wanted {
            pool,
            tried: &self.tried,
            key: self.key,
        }
    }

    /// The endpoint was asked in vain.
    pub(in crate::proxy) fn asked(&mut self, at: u64) {
        self.tried.push(at);
    }

    /// The endpoint was asked in vain, on a kept connection that it had given up.
    pub(in crate::proxy) fn asked_stale(&mut self, at: u64) {
        self.tried.push(at);
        self.stale = Some(at);
        self.fresh = true;
    }

    /// Whether kept connections may be used.
    pub(in crate::proxy) fn may_reuse(&self) -> bool {
        !self.fresh
    }

    /// How long connecting may take.
    pub(in crate::proxy) fn connect_limit(&self, now: Instant) -> std::time::Duration {
        let limit = self.choice.timeouts.connect;
        let deadline = self.task.deadline;
        deadline.map_or(limit, |at| limit.min(at.saturating_duration_since(now)))
    }

    /// Whether the request as a whole is over its time.
    pub(in crate::proxy) fn is_overdue(&self, now: Instant) -> bool {
        self.task.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Whether a request of which `sent` bytes went out unanswered may be asked again. Law 7: one of which
    /// nothing was sent whatever it is; one that was sent only where its method is idempotent, the policy
    /// allows it, nothing of a body would be missing, and the budget has one left.
    pub(in crate::proxy) fn may_go_on(&mut self, why: &Unanswered, sent: u64) -> bool {
        if sent == 0 {
            return true;
        }
        let head = self.task.head;
        let replayable =
            head.method.is_idempotent() && head.body.is_empty() && head.upgrade.is_none();
        let in_time = !matches!(why, Unanswered::TimedOut);
        let is_allowed = replayable && in_time && self.resends > 0;
        let budget = self.budget.as_ref();
        if is_allowed && budget.is_none_or(|budget| budget.take(Instant::now())) {
            self.resends -= 1;
            return true;
        }
        false
    }
}
