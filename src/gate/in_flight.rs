//! The guard that carries the count.

use std::marker::PhantomData;
use std::rc::Rc;

use super::counter::WorkerSlot;
use super::{Gate, Phase};

/// What kind of request asks to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing binds it to this endpoint.
    New,
    /// Session persistence directs it to this endpoint.
    Session,
}

/// One request in flight on the endpoint `E`, from the moment the endpoint was picked. Counts itself
/// out when dropped.
///
/// It is `!Send`: the count is the worker's own. It lives in the exchange itself, not in a body, and
/// moves into the tunnel when a connection is upgraded.
pub struct InFlight<E: AsRef<Gate>> {
    endpoint: E,
    worker: Rc<WorkerSlot>,
    not_send: PhantomData<*const ()>,
}

impl<E: AsRef<Gate>> InFlight<E> {
    /// Enters the gate of `endpoint`; gives the endpoint back with the phase that refused.
    pub fn enter(
        endpoint: E,
        worker: &Rc<WorkerSlot>,
        admission: Admission,
    ) -> Result<Self, (E, Phase)> {
        if endpoint.as_ref().enter(worker, admission) {
            Ok(Self {
                endpoint,
                worker: Rc::clone(worker),
                not_send: PhantomData,
            })
        } else {
            let phase = endpoint.as_ref().phase();
            Err((endpoint, phase))
        }
    }

    /// Counts this request as ended by force (Law 8). Call it once, before the guard is dropped.
    pub fn count_cut(&self) {
        self.endpoint.as_ref().counters.count_cut(&self.worker);
    }

    /// The endpoint whose count this is.
    pub fn endpoint(&self) -> &E {
        &self.endpoint
    }
}

impl<E: AsRef<Gate>> Drop for InFlight<E> {
    fn drop(&mut self) {
        self.endpoint.as_ref().leave(&self.worker);
    }
}

impl<E: AsRef<Gate> + std::fmt::Debug> std::fmt::Debug for InFlight<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("InFlight").field(&self.endpoint).finish()
    }
}
