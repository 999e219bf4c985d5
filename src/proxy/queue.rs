//! Where requests wait while every endpoint of their Backend is full: a line in each worker, first come first
//! served, and bells by which a worker whose request leaves an endpoint wakes who waits, in whatever worker.
//! No lock: each line is its worker's own, the bells are atomics.
//!
//! The request that has waited longest over all workers is woken, so that only lines which are woken at the same
//! moment may pass one another. No wake-up is lost: who waits says so, then looks at the endpoints once more; who
//! leaves an endpoint counts itself out, then looks whether anybody waits; each with a fence in between (the gate's
//! own, for who leaves), so at least one sees the other. What changes otherwise (a configuration, a gate that is
//! opened again) is found when [`Line::stir`] is called: with each configuration, and once a second.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst, fence};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use futures_util::task::AtomicWaker;

/// What the workers share of one Backend's queue.
#[derive(Debug)]
pub struct Bells {
    /// Requests that wait, over all workers.
    waiting: AtomicUsize,
    /// The next to come gets this number.
    ticket: AtomicU64,
    workers: Box<[CachePadded<Desk>]>,
}

/// The head of one worker's line.
#[derive(Debug)]
struct Desk {
    /// Its ticket.
    first: AtomicU64,
    bell: AtomicWaker,
}

/// The ticket of nobody.
const NOBODY: u64 = u64::MAX;

impl Bells {
    /// Nobody waits.
    pub fn new(workers: usize) -> Self {
        let desk = |_| {
            CachePadded::new(Desk {
                first: AtomicU64::new(NOBODY),
                bell: AtomicWaker::new(),
            })
        };
        Self {
            waiting: AtomicUsize::new(0),
            ticket: AtomicU64::new(0),
            workers: (0..workers).map(desk).collect(),
        }
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// There may be a place: wakes who has waited longest. Called after a request has left its endpoint's gate.
    pub fn ring(&self) {
        if self.waiting() > 0 {
            self.ring_after(None);
        }
    }

    /// Wakes the head that has waited longest of those that came after the one with this ticket.
    fn ring_after(&self, ticket: Option<u64>) {
        let first = |desk: &&CachePadded<Desk>| desk.first.load(SeqCst);
        let after = |desk: &&CachePadded<Desk>| {
            let first = first(desk);
            first != NOBODY && ticket.is_none_or(|ticket| first > ticket)
        };
        if let Some(desk) = self.workers.iter().filter(after).min_by_key(first) {
            desk.bell.wake();
        }
    }

    /// Whether nobody has waited longer.
    fn is_first(&self, ticket: u64) -> bool {
        let mut heads = self.workers.iter().map(|desk| desk.first.load(SeqCst));
        heads.all(|head| head >= ticket)
    }

    /// One more waits, where that is not more than `most`.
    fn join(&self, most: usize) -> Option<u64> {
        let joined = self
            .waiting
            .fetch_update(SeqCst, SeqCst, |now| (now < most).then_some(now + 1));
        joined.ok().map(|_| self.ticket.fetch_add(1, SeqCst))
    }
}

/// One worker's requests that wait for one Backend.
#[derive(Debug)]
pub struct Line {
    bells: Arc<Bells>,
    worker: usize,
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    waker: RefCell<Option<Waker>>,
    /// Who came before cannot use the place that there is.
    invited: Cell<bool>,
}

/// Why a request got no place.
#[derive(Debug, PartialEq, Eq)]
pub enum Denied<G> {
    /// So many wait already.
    Full,
    /// It waited as long as it may.
    Late,
    /// It does not want one any more.
    Left(G),
}

/// What a request that waits does whenever it is woken.
pub struct Turn<P, R, L> {
    /// Takes a place, where there is one for it.
    pub place: P,
    /// Whether there is one for anybody.
    pub room: R,
    /// Ready once it wants none any more.
    pub left: L,
}

impl Line {
    /// The line of one worker, which nobody stands in.
    pub fn new(bells: Arc<Bells>, worker: usize) -> Self {
        Self {
            bells,
            worker,
            waiters: RefCell::default(),
        }
    }

    /// Those of all workers.
    pub fn bells(&self) -> &Arc<Bells> {
        &self.bells
    }

    /// Waits for a place until then, where no more than `length` wait.
    pub async fn wait<T, G, P, R, L>(
        &self,
        length: usize,
        until: Instant,
        mut turn: Turn<P, R, L>,
    ) -> Result<T, Denied<G>>
    where
        P: FnMut() -> Option<T>,
        R: Fn() -> bool,
        L: FnMut(&mut Context<'_>) -> Poll<G>,
    {
        let Some(ticket) = self.bells.join(length) else {
            return Err(Denied::Full);
        };
        let waiting = self.stand(ticket);
        let mut late = std::pin::pin!(tokio::time::sleep_until(until.into()));
        let mut fresh = true;
        let result = poll_fn(|cx| {
            let is_fresh = std::mem::take(&mut fresh);
            if let Some(place) = waiting.look(is_fresh, &mut turn, cx) {
                return Poll::Ready(Ok(place));
            }
            if let Poll::Ready(why) = (turn.left)(cx) {
                return Poll::Ready(Err(Denied::Left(why)));
            }
            late.as_mut().poll(cx).map(|()| Err(Denied::Late))
        })
        .await;
        drop(waiting);
        result
    }

    fn stand(&self, ticket: u64) -> Waiting<'_> {
        let waiter = Rc::new(Waiter {
            ticket,
            waker: RefCell::default(),
            invited: Cell::new(false),
        });
        self.waiters.borrow_mut().push_back(Rc::clone(&waiter));
        Waiting { line: self, waiter }
    }

    /// Has the head look again.
    pub fn stir(&self) {
        if let Some(head) = self.waiters.borrow().front() {
            head.wake();
        }
    }

    fn desk(&self) -> &Desk {
        &self.bells.workers[self.worker]
    }
}

impl Waiter {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// A request's place in the line, given up when this is dropped.
struct Waiting<'a> {
    line: &'a Line,
    waiter: Rc<Waiter>,
}

impl Waiting<'_> {
    /// Looks for a place where it is this one's turn.
    fn look<T, P, R, L>(
        &self,
        is_fresh: bool,
        turn: &mut Turn<P, R, L>,
        cx: &mut Context<'_>,
    ) -> Option<T>
    where
        P: FnMut() -> Option<T>,
        R: Fn() -> bool,
    {
        let (bells, ticket) = (&self.line.bells, self.waiter.ticket);
        self.waiter.waker.replace(Some(cx.waker().clone()));
        let is_head = self.is_head();
        if is_head {
            let desk = self.line.desk();
            desk.bell.register(cx.waker());
            desk.first.store(ticket, SeqCst);
        }
        // Others see that this one waits before it looks.
        fence(SeqCst);
        let invited = self.waiter.invited.take();
        if invited || (is_head && (!is_fresh || bells.is_first(ticket))) {
            let place = (turn.place)();
            if place.is_none() && (turn.room)() {
                self.pass_on(is_head);
            }
            return place;
        }
        if is_fresh && (turn.room)() {
            bells.ring();
        }
        None
    }

    fn is_head(&self) -> bool {
        let waiters = self.line.waiters.borrow();
        let head = waiters.front();
        head.is_some_and(|head| Rc::ptr_eq(head, &self.waiter))
    }

    /// There is a place, and not for this one: others may want it.
    fn pass_on(&self, is_head: bool) {
        let waiters = self.line.waiters.borrow();
        let found = waiters.binary_search_by_key(&self.waiter.ticket, |waiter| waiter.ticket);
        if let Some(next) = found.ok().and_then(|at| waiters.get(at + 1)) {
            next.invited.set(true);
            next.wake();
        }
        if is_head {
            self.line.bells.ring_after(Some(self.waiter.ticket));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let was_head = self.is_head();
        let mut waiters = self.line.waiters.borrow_mut();
        let found = waiters.binary_search_by_key(&self.waiter.ticket, |waiter| waiter.ticket);
        if let Ok(at) = found {
            waiters.remove(at);
        }
        if was_head {
            let next = waiters.front();
            let ticket = next.map_or(NOBODY, |next| next.ticket);
            self.line.desk().first.store(ticket, SeqCst);
            if let Some(next) = next {
                next.wake();
            }
        }
        drop(waiters);
        self.line.bells.waiting.fetch_sub(1, SeqCst);
        // It may have been woken for a place that it does not take, or there is another one.
        self.line.bells.ring();
    }
}

#[cfg(test)]
mod tests;
