//! Picks an endpoint of a Backend and enters its gate. Called for each attempt at a request, and for each TCP
//! connection.

use std::rc::Rc;

use super::upstream::Upstream;
use super::worker::{Pool, Worker};
use crate::gate::{Admission, Gate, InFlight};
use crate::model::ProxyVersion;

/// An endpoint that was picked, as its gate's guard holds it, and how it is told of the client: as the
/// configuration said at that moment.
#[derive(Clone, Debug)]
pub(super) struct Picked(pub(super) Rc<Upstream>, pub(super) Option<ProxyVersion>);

impl AsRef<Gate> for Picked {
    fn as_ref(&self) -> &Gate {
        self.0.as_ref().as_ref()
    }
}

/// Picks an endpoint that is not among `tried` and enters its gate: from here on the work is in flight there.
/// What a gate refuses is passed over. Gives its index in the pool, too.
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
        let upstream = Rc::clone(&pool.endpoints[at]);
        let tells = upstream.send_proxy();
        let picked = Picked(upstream, tells);
        match InFlight::enter(picked, &worker.slot, Admission::New) {
            Ok(in_flight) => return Some((at, in_flight)),
            Err(_) => refused.push(at),
        }
    }
}
