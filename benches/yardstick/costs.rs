//! What the gate and the metrics cost a request: the very code that the request path runs, over and over, less a
//! loop that does without it. (To build lastcall a second time without them would take a switch in the product.)

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use lastcall::gate::{Admission, Gate, Generation, InFlight, State, Wake, worker_tickets};
use lastcall::proxy::stats::Stats;
use serde::{Deserialize, Serialize};

/// Of which the fastest counts: others were disturbed.
const RUNS: usize = 20;
const TIMES: u32 = 1_000_000;

/// Nanoseconds a request.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// To enter a gate and leave it, and to count that.
    pub gate_nanos: f64,
    /// To count a response by its status, its bytes, and a connection that was used again.
    pub metrics_nanos: f64,
}

/// Nobody waits.
struct Nobody;

impl Wake for Nobody {
    fn emptied(&self, _: Generation) {}
}

/// An endpoint, as a worker holds it.
struct Endpoint<'a>(&'a Gate);

impl AsRef<Gate> for Endpoint<'_> {
    fn as_ref(&self) -> &Gate {
        self.0
    }
}

/// Measures both.
pub fn measure() -> Costs {
    let nothing = fastest(|| {
        black_box(());
    });
    let gate = Gate::new(2, State::Open, Arc::new(Nobody));
    let slot = Rc::new(worker_tickets(2).remove(0).claim());
    let gate = fastest(|| {
        let entered = InFlight::enter(Endpoint(black_box(&gate)), &slot, Admission::New);
        assert!(entered.is_ok());
    });
    let stats = Stats::new(2);
    let metrics = fastest(|| {
        let stats = black_box(&stats).worker(0);
        stats.upstream_reuses.add(1);
        stats.responses[black_box(2)].add(1);
        stats.bytes_out.add(black_box(300));
    });
    Costs {
        gate_nanos: (gate - nothing).max(0.0),
        metrics_nanos: (metrics - nothing).max(0.0),
    }
}

/// Nanoseconds for one time.
fn fastest(mut what: impl FnMut()) -> f64 {
    let run = |_| {
        let began = Instant::now();
        for _ in 0..TIMES {
            what();
        }
        began.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}
