//! What a request may still try: which endpoints are left, on which connections, and whether it may be sent
//! again (Law 7). Pure but for the gate that a picked endpoint is entered by.

use std::rc::Rc;
use std::time::Instant;

use super::exchange::{Picked, Task, Unanswered};
use crate::gate::{Admission, InFlight};
use crate::model::WeightedBackend;
use crate::proxy::worker::{Pool, Worker};

/// What was written down of a request for all its attempts.
pub(super) struct Attempts<'a> {
    pub(super) choice: &'a WeightedBackend,
    pub(super) task: Task<'a>,
    /// Attempts left for a request that was sent and not answered.
    resends: u32,
    /// Endpoints that were asked in vain, as indices into the pool.
    tried: Vec<usize>,
    /// The one among them that was asked on a connection it had given up.
    stale: Option<usize>,
    /// Whether only new connections are used: what is kept may be as old as the one that was given up.
    fresh: bool,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(choice: &'a WeightedBackend, task: Task<'a>) -> Self {
        Self {
            choice,
            task,
            resends: choice.retry.attempts,
            tried: Vec::new(),
            stale: None,
            fresh: false,
        }
    }

    /// Picks an endpoint that was not asked yet; where there is none, the one that was asked on a connection
    /// it had given up gets a second chance (PITFALLS 14, 44).
    pub(super) fn pick(
        &mut self,
        pool: &Pool,
        worker: &Worker,
    ) -> Option<(usize, InFlight<Picked>)> {
        pick(pool, &self.tried, worker).or_else(|| {
            let stale = self.stale.take()?;
            self.tried.retain(|at| *at != stale);
            pick(pool, &self.tried, worker)
        })
    }

    /// The endpoint was asked in vain.
    pub(super) fn asked(&mut self, at: usize) {
        self.tried.push(at);
    }

    /// The endpoint was asked in vain, on a kept connection that it had given up.
    pub(super) fn asked_stale(&mut self, at: usize) {
        self.tried.push(at);
        self.stale = Some(at);
        self.fresh = true;
    }

    /// Whether kept connections may be used.
    pub(super) fn may_reuse(&self) -> bool {
        !self.fresh
    }

    /// Whether the request as a whole is over its time.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.task.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Whether a request of which `sent` bytes went out unanswered may be asked again. Law 7: one of which
    /// nothing was sent whatever it is; one that was sent only where its method is idempotent, the policy
    /// allows it, and nothing of a body would be missing.
    pub(super) fn may_go_on(&mut self, why: &Unanswered, sent: u64) -> bool {
        if sent == 0 {
            return true;
        }
        let head = self.task.head;
        let replayable =
            head.method.is_idempotent() && head.body.is_empty() && head.upgrade.is_none();
        let in_time = !matches!(why, Unanswered::TimedOut);
        if replayable && in_time && self.resends > 0 {
            self.resends -= 1;
            return true;
        }
        false
    }
}

/// Picks an endpoint and enters its gate: from here on the request is in flight there. What a gate refuses
/// is passed over.
pub(super) fn pick(
    pool: &Pool,
    tried: &[usize],
    worker: &Worker,
) -> Option<(usize, InFlight<Picked>)> {
    let mut refused = Vec::new();
    loop {
        let at = if refused.is_empty() {
            pool.balancer.pick(&pool.endpoints, tried, &worker.rng)?
        } else {
            let passed_over = [tried, &refused].concat();
            pool.balancer
                .pick(&pool.endpoints, &passed_over, &worker.rng)?
        };
        let picked = Picked(Rc::clone(&pool.endpoints[at]));
        match InFlight::enter(picked, &worker.slot, Admission::New) {
            Ok(in_flight) => return Some((at, in_flight)),
            Err(_) => refused.push(at),
        }
    }
}
