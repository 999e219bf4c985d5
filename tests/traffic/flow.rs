//! Open-loop load beside a test: sends a plan of requests on threads of its own and tells at the end what
//! became of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::load::{Live, Load, Outcome};
use crate::support::plan::{Outline, Planned, Shares, Work};
use crate::support::wait_until;

/// How long a request may take over what it asked for: a busy machine is no loss.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tests that load the machine take turns, or they would measure each other.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `rate` requests a second for `lasts`: quick ones, and slow ones, streams and uploads of up to `longest`.
pub fn mixed(seed: u64, rate: f64, lasts: Duration, longest: Duration) -> Vec<Planned> {
    let outline = Outline {
        seed,
        rate,
        lasts,
        longest,
        shares: Shares::default(),
        burst: None,
    };
    outline.draw()
}

/// Makes every `nth` stream of the plan last for `over`.
pub fn with_long_streams(mut plan: Vec<Planned>, nth: usize, over: Duration) -> Vec<Planned> {
    let streams = plan
        .iter_mut()
        .filter(|planned| matches!(planned.work, Work::Stream { .. }));
    for planned in streams.step_by(nth) {
        planned.work = Work::Stream {
            over,
            bytes: 32 * 1024,
        };
    }
    plan
}

/// A load that is running.
pub struct Flow {
    live: Arc<Live>,
    planned: usize,
    thread: JoinHandle<Vec<Outcome>>,
}

/// What became of it.
#[derive(Debug)]
pub struct Ended {
    /// Requests sent: all of the plan.
    pub sent: usize,
    /// Those that failed.
    pub failed: Vec<Outcome>,
    /// From when each was to start to its end, sorted.
    pub latencies: Vec<Duration>,
}

impl Flow {
    /// Begins to send the plan.
    pub fn start(target: SocketAddr, plan: Vec<Planned>) -> Self {
        let live: Arc<Live> = Arc::default();
        let counts = Arc::clone(&live);
        let planned = plan.len();
        let load = Load {
            target,
            host: "test".to_owned(),
            patience: PATIENCE,
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(load.run(&plan, &counts))
        });
        Self {
            live,
            planned,
            thread,
        }
    }

    /// Whether every request of the plan has been sent.
    pub fn all_sent(&self) -> bool {
        self.live.sent() == self.planned as u64
    }

    /// Waits until so many requests more were sent.
    #[track_caller]
    pub fn wait_for_more(&self, requests: u64) {
        let from = self.live.sent();
        wait_until("requests to be sent", Duration::from_secs(60), || {
            let sent = self.live.sent();
            (sent >= from + requests).then_some(()).ok_or(sent)
        });
    }

    /// Waits for the end of the last request.
    pub fn end(self) -> Ended {
        let outcomes = self.thread.join().unwrap();
        assert_eq!(outcomes.len(), self.planned, "an outcome for every request");
        let mut latencies: Vec<_> = outcomes.iter().map(|one| one.latency).collect();
        latencies.sort();
        Ended {
            sent: outcomes.len(),
            failed: outcomes
                .into_iter()
                .filter(|one| one.failure.is_some())
                .collect(),
            latencies,
        }
    }
}

impl Ended {
    /// Fails the test where a request failed, and says how and when.
    #[track_caller]
    pub fn nothing_failed(&self) {
        assert!(
            self.failed.is_empty(),
            "{} of {} requests failed: {:?}; the first: {:#?}",
            self.failed.len(),
            self.sent,
            self.kinds(),
            &self.failed[..self.failed.len().min(5)]
        );
    }

    /// How many failed in which way.
    pub fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for failure in self.failed.iter().filter_map(|one| one.failure) {
            *kinds.entry(failure.name()).or_default() += 1;
        }
        kinds
    }
}
