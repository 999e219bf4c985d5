//! How much one endpoint may have in flight, as one worker sees it: what the balancer asks before it picks the
//! endpoint, and who is told when something has left it. Kept in the endpoint; set with each configuration.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::queue::Line;
use crate::gate::Gate;

/// An endpoint's bound.
#[derive(Debug)]
pub struct Room {
    most: Cell<u64>,
    /// Of its Backend, where there is a queue.
    line: RefCell<Option<Rc<Line>>>,
}

/// As much as comes.
const BOUNDLESS: u64 = u64::MAX;

impl Default for Room {
    fn default() -> Self {
        Self {
            most: Cell::new(BOUNDLESS),
            line: RefCell::default(),
        }
    }
}

impl Room {
    /// What the configuration says, from now on.
    pub fn set(&self, most: Option<u64>, line: Option<Rc<Line>>) {
        self.most.set(most.unwrap_or(BOUNDLESS));
        self.line.replace(line);
    }

    /// Whether one more may enter. The sum over all workers is read before the worker's own count is raised, so
    /// where several workers ask at the same moment one more for each but the first may enter: each of them has
    /// raised its count, and fenced, before it asks again.
    pub fn has_place(&self, gate: &Gate) -> bool {
        let most = self.most.get();
        most == BOUNDLESS || gate.in_flight() < most
    }

    /// Something has left the endpoint's gate.
    pub fn left(&self) {
        if self.most.get() == BOUNDLESS {
            return;
        }
        if let Some(line) = &*self.line.borrow() {
            line.bells().ring();
        }
    }
}
