//! The client connections that one worker has, as it reaches them from outside their tasks.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use slab::Slab;

use super::Worker;
use crate::proxy::connection_counts::Counted;

/// A connection, as its worker reaches it from outside.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Control {
    waker: RefCell<Option<Waker>>,
    /// The key of the endpoint that its exchange is in flight on; 0 for none.
    pub(in crate::proxy) upstream: Cell<u64>,
    /// Its exchange is to end by force.
    pub(in crate::proxy) cut: Cell<bool>,
}

impl Control {
    /// Remembers how to wake the connection's task; the waker of a task never changes.
    pub(in crate::proxy) fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if known.is_none() {
            *known = Some(waker.clone());
        }
    }

    /// Has another task woken from here on, the one that awaits this: it goes on with the connection.
    pub(in crate::proxy) async fn follow(&self) {
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    /// Has the connection's task look at where it stands.
    pub(in crate::proxy) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// A connection's place in its worker; it is given up when this is dropped.
pub(in crate::proxy) struct Registered {
    worker: Rc<Worker>,
    key: usize,
    _counted: Counted,
    pub(in crate::proxy) control: Rc<Control>,
}

impl Registered {
    /// Counts the connection and makes it known to its worker.
    pub(super) fn new(worker: &Rc<Worker>, counted: Counted) -> Self {
        let control = Rc::new(Control::default());
        let key = worker
            .connections
            .open
            .borrow_mut()
            .insert(Rc::clone(&control));
        worker.stats().connections.add(1);
        worker.stats().open.add(1);
        Self {
            worker: Rc::clone(worker),
            key,
            _counted: counted,
            control,
        }
    }

    /// Whose connection it is.
    pub(in crate::proxy) fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.open.borrow_mut().remove(self.key);
        self.worker.stats().open.subtract(1);
    }
}

/// One of the exchanges of a connection that has several at once, as its worker reaches it from outside.
pub(in crate::proxy) struct Exchanging {
    worker: Rc<Worker>,
    key: usize,
    pub(in crate::proxy) control: Rc<Control>,
}

impl Exchanging {
    /// Makes the exchange known to its worker.
    pub(in crate::proxy) fn new(worker: &Rc<Worker>) -> Self {
        let control = Rc::new(Control::default());
        let mut open = worker.connections.open.borrow_mut();
        Self {
            worker: Rc::clone(worker),
            key: open.insert(Rc::clone(&control)),
            control,
        }
    }
}

impl Drop for Exchanging {
    fn drop(&mut self) {
        self.worker.connections.open.borrow_mut().remove(self.key);
    }
}

/// Exchanges at once, in each worker, that no client waits for.
const MAX_UNATTENDED: u64 = 128;

/// An exchange that no client waits for, as its worker reaches it; its place is given up when this is dropped.
pub(in crate::proxy) struct Unattended {
    worker: Rc<Worker>,
    key: usize,
    pub(in crate::proxy) control: Rc<Control>,
}

impl Unattended {
    /// Makes one known to its worker; `None` where there are too many.
    pub(in crate::proxy) fn new(worker: &Rc<Worker>) -> Option<Self> {
        let connections = &worker.connections;
        if worker.stats().mirroring.get() >= MAX_UNATTENDED {
            return None;
        }
        worker.stats().mirroring.add(1);
        let control = Rc::new(Control::default());
        let key = connections.open.borrow_mut().insert(Rc::clone(&control));
        Some(Self {
            worker: Rc::clone(worker),
            key,
            control,
        })
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        self.worker.connections.open.borrow_mut().remove(self.key);
        self.worker.stats().mirroring.subtract(1);
    }
}

/// Every connection that is open, every exchange of those that have several at once, and those without one.
#[derive(Default)]
pub(super) struct Connections {
    open: RefCell<Slab<Rc<Control>>>,
}

impl Connections {
    /// Ends by force the exchanges that are in flight on the endpoint with this key.
    pub(super) fn cut_on(&self, upstream: u64) {
        for (_, control) in &*self.open.borrow() {
            if control.upstream.get() == upstream {
                control.cut();
            }
        }
    }

    /// Ends every exchange by force.
    pub(super) fn cut_all(&self) {
        for (_, control) in &*self.open.borrow() {
            control.cut();
        }
    }

    /// Has every connection look at where it stands.
    pub(super) fn wake_all(&self) {
        for (_, control) in &*self.open.borrow() {
            control.wake();
        }
    }
}
