//! Tasks that do one job after the other: each request of a client that speaks HTTP/2 is one. A task of its own for
//! each would be some kilobytes that are allocated, moved into place and freed again, for a few microseconds' work.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Tasks without a job that are kept for the next.
const KEPT: usize = 256;

/// What a task does.
pub(super) trait Work: 'static {
    /// Does it. What it holds is dropped before the task takes the next, also where it panics, which ends the task.
    async fn work(&mut self);
}

/// A worker's tasks without a job.
pub(super) struct Runners<J> {
    /// The last to have become idle is the next to be used.
    idle: RefCell<Vec<Rc<Seat<J>>>>,
    /// The fewest that were idle since [`Runners::sweep`]: so many were not needed.
    unused: Cell<usize>,
}

/// Where a task finds what is next.
struct Seat<J> {
    next: Cell<Next<J>>,
    /// The task's, once it has looked; it never changes.
    waker: OnceCell<Waker>,
}

enum Next<J> {
    /// It waits.
    Nothing,
    Job(J),
    /// It is needed no more.
    End,
}

impl<J> Default for Runners<J> {
    fn default() -> Self {
        Self {
            idle: RefCell::default(),
            unused: Cell::default(),
        }
    }
}

impl<J: Work> Runners<J> {
    /// Has a task do `job`.
    pub(super) fn run(self: &Rc<Self>, job: J) {
        let idle = self.idle.borrow_mut().pop();
        if let Some(seat) = idle {
            let left = self.idle.borrow().len();
            self.unused.set(self.unused.get().min(left));
            seat.put(Next::Job(job));
            return;
        }
        let seat = Rc::new(Seat {
            next: Cell::new(Next::Job(job)),
            waker: OnceCell::new(),
        });
        let runners = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while let Some(mut job) = poll_fn(|cx| seat.poll_next(cx)).await {
                job.work().await;
                // Whoever waits for its end need not wait for the next.
                drop(job);
                if !runners.keep(&seat) {
                    return;
                }
            }
        });
    }

    /// Notes that a task has no job; false where it is one too many.
    fn keep(&self, seat: &Rc<Seat<J>>) -> bool {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.len() < KEPT;
        if kept {
            idle.push(Rc::clone(seat));
        }
        kept
    }

    /// Ends the tasks that were not needed since the last time.
    pub(super) fn sweep(&self) {
        let mut idle = self.idle.borrow_mut();
        // Those at the bottom. There are as many: whoever takes one away notes what is left.
        for seat in idle.drain(..self.unused.get()) {
            seat.put(Next::End);
        }
        self.unused.set(idle.len());
    }
}

impl<J> Seat<J> {
    fn put(&self, next: Next<J>) {
        self.next.set(next);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The next job; `None` where there is none any more.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<J>> {
        match self.next.replace(Next::Nothing) {
            Next::Job(job) => Poll::Ready(Some(job)),
            Next::End => Poll::Ready(None),
            Next::Nothing => {
                self.waker.get_or_init(|| cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;
    use tokio::task::{LocalSet, yield_now};

    /// Lasts until it is told to end, or panics where it is told so; `Rc`s count those that are there.
    struct Job(oneshot::Receiver<bool>, #[expect(dead_code)] Rc<()>);

    impl Work for Job {
        async fn work(&mut self) {
            assert!((&mut self.0).await.unwrap_or(true), "told to");
        }
    }

    #[derive(Default)]
    struct Tasks {
        runners: Rc<Runners<Job>>,
        held: Rc<()>,
    }

    impl Tasks {
        fn run(&self) -> oneshot::Sender<bool> {
            let (send, go) = oneshot::channel();
            self.runners.run(Job(go, Rc::clone(&self.held)));
            send
        }

        /// Jobs that are not over.
        fn jobs(&self) -> usize {
            Rc::strong_count(&self.held) - 1
        }

        fn idle(&self) -> usize {
            self.runners.idle.borrow().len()
        }

        /// Tasks that live: each holds the pool.
        fn alive(&self) -> usize {
            Rc::strong_count(&self.runners) - 1
        }

        async fn until(&self, idle: usize, alive: usize) {
            for _ in 0..1000 {
                if (self.idle(), self.alive()) == (idle, alive) {
                    return;
                }
                yield_now().await;
            }
            panic!("{} idle, {} alive", self.idle(), self.alive());
        }
    }

    #[tokio::test]
    async fn a_task_without_a_job_does_the_next_and_holds_nothing_of_the_last() {
        let tasks = Tasks::default();
        let test = async {
            for _ in 0..3 {
                // Two at once: so many tasks, and no more however often.
                let all = [tasks.run(), tasks.run()];
                assert_eq!((tasks.idle(), tasks.jobs()), (0, 2));
                for send in all {
                    send.send(true).unwrap();
                }
                tasks.until(2, 2).await;
                assert_eq!(tasks.jobs(), 0);
            }
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_job_that_lasts_holds_no_other_up() {
        let tasks = Tasks::default();
        let test = async {
            drop(tasks.run());
            tasks.until(1, 1).await;
            let lasting = tasks.run();
            for _ in 0..3 {
                drop(tasks.run());
                tasks.until(1, 2).await;
                assert_eq!(tasks.jobs(), 1);
            }
            drop(lasting);
            tasks.until(2, 2).await;
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_job_that_panics_ends_alone_and_takes_its_task_with_it() {
        let tasks = Tasks::default();
        let test = async {
            drop((tasks.run(), tasks.run()));
            tasks.until(2, 2).await;
            let (broken, other) = (tasks.run(), tasks.run());
            broken.send(false).unwrap();
            tasks.until(0, 1).await;
            assert_eq!(tasks.jobs(), 1);
            drop(other);
            // Those that come after are done by tasks that live.
            for _ in 0..2 {
                tasks.until(1, 1).await;
                drop(tasks.run());
            }
            tasks.until(1, 1).await;
            assert_eq!(tasks.jobs(), 0);
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be_and_those_not_needed_end() {
        let tasks = Tasks::default();
        let test = async {
            // Whoever would tell them to end has gone: they do.
            (0..KEPT + 40).for_each(|_| drop(tasks.run()));
            tasks.until(KEPT, KEPT).await;
            tasks.runners.sweep();
            assert_eq!(tasks.idle(), KEPT, "all were needed");
            let three = [tasks.run(), tasks.run(), tasks.run()];
            drop(three);
            tasks.until(KEPT, KEPT).await;
            tasks.runners.sweep();
            tasks.until(3, 3).await;
            tasks.runners.sweep();
            tasks.until(0, 0).await;
            tasks.runners.sweep();
            drop(tasks.run());
            tasks.until(1, 1).await;
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn what_is_not_over_is_dropped_with_the_runtime() {
        let tasks = Tasks::default();
        let local = LocalSet::new();
        let waits = local
            .run_until(async {
                drop(tasks.run());
                tasks.until(1, 1).await;
                // One is given to a task that has not looked yet, one to a new task.
                [tasks.run(), tasks.run()]
            })
            .await;
        assert_eq!(tasks.jobs(), 2);
        drop(local);
        assert_eq!((tasks.jobs(), tasks.alive()), (0, 0));
        drop(waits);
    }
}
