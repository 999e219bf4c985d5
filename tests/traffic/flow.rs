//! Open-loop load beside a test: sends a plan of requests on threads of its own and tells at the end what
//! became of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::load::{Live, Load, Outcome};
use crate::support::plan::{Outline, Planned, Shares, Work};
use crate::support::wait_until;

/// How long a request may take over what it asked for: a busy machine is no loss.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long so many requests may take to be sent, or to fail.
const LIMIT: Duration = Duration::from_mins(1);

/// One of the two forms of a test: what runs always, or what `make soak` runs.
pub fn short_or_long<T>(short: T, long: T) -> T {
    if is_soak() { long } else { short }
}

/// Whether the long forms of tests run.
pub fn is_soak() -> bool {
    std::env::var_os("LASTCALL_SOAK").is_some_and(|value| value != "0" && !value.is_empty())
}

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

/// Gives every request of the plan a connection of its own.
pub fn fresh_only(mut plan: Vec<Planned>) -> Vec<Planned> {
    for planned in &mut plan {
        planned.fresh = true;
    }
    plan
}

/// A load that is running.
pub struct Flow {
    live: Arc<Live>,
    planned: usize,
    thread: JoinHandle<Ended>,
}

/// A request that failed.
#[derive(Debug)]
pub struct Failed {
    /// What was asked.
    pub planned: Planned,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a load.
#[derive(Debug, Default)]
pub struct Ended {
    /// Requests sent: all of the plan.
    pub sent: usize,
    /// Those that failed.
    pub failed: Vec<Failed>,
    /// From when each was to start to its end, sorted.
    pub latencies: Vec<Duration>,
}

impl Flow {
    /// Begins to send the plan.
    pub fn start(target: SocketAddr, plan: Vec<Planned>) -> Self {
        let live: Arc<Live> = Arc::default();
        let counts = Arc::clone(&live);
        let planned = plan.len();
        let thread = std::thread::spawn(move || {
            let outcomes = runtime().block_on(load(target).run(&plan, &counts));
            Ended::of(plan, outcomes)
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

    /// Waits for the end of the last request.
    pub fn end(self) -> Ended {
        self.thread.join().unwrap()
    }
}

fn load(target: SocketAddr) -> Load {
    Load {
        target,
        host: "test".to_owned(),
        patience: PATIENCE,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

impl Ended {
    fn of(plan: Vec<Planned>, outcomes: Vec<Outcome>) -> Self {
        assert_eq!(outcomes.len(), plan.len(), "an outcome for every request");
        let mut latencies: Vec<_> = outcomes.iter().map(|one| one.latency).collect();
        latencies.sort();
        let failed = plan
            .into_iter()
            .zip(outcomes)
            .filter(|(_, outcome)| outcome.failure.is_some())
            .map(|(planned, outcome)| Failed { planned, outcome });
        Self {
            sent: latencies.len(),
            failed: failed.collect(),
            latencies,
        }
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed.extend(other.failed);
        self.latencies.extend(other.latencies);
        self.latencies.sort();
    }

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
        for failure in self.failed.iter().filter_map(|one| one.outcome.failure) {
            *kinds.entry(failure.name()).or_default() += 1;
        }
        kinds
    }

    /// The latency that so many percent of the requests stayed below.
    pub fn percentile(&self, percent: usize) -> Duration {
        let at = self.latencies.len() * percent / 100;
        self.latencies[at.min(self.latencies.len() - 1)]
    }
}

/// A load that goes on until it is ended, however long that takes: plan after plan, each begun when the
/// last request of the one before was sent.
pub struct Steady {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    thread: JoinHandle<Ended>,
}

impl Steady {
    /// Begins. `plan` draws the next plan from a seed, some seconds long.
    pub fn start(target: SocketAddr, plan: impl Fn(u64) -> Vec<Planned> + Send + 'static) -> Self {
        let (stop, sent, failed) = (Arc::default(), Arc::default(), Arc::default());
        let counts = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failed));
        let thread = std::thread::spawn(move || {
            let (stop, sent, failed): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>) = counts;
            let mut flows: Vec<Flow> = Vec::new();
            while !stop.load(Ordering::SeqCst) || !flows.last().is_some_and(Flow::all_sent) {
                if flows.last().is_none_or(Flow::all_sent) {
                    flows.push(Flow::start(target, plan(flows.len() as u64)));
                }
                std::thread::sleep(Duration::from_millis(2));
                let sum = |one: fn(&Live) -> u64| flows.iter().map(|flow| one(&flow.live)).sum();
                sent.store(sum(Live::sent), Ordering::SeqCst);
                failed.store(sum(Live::failed), Ordering::SeqCst);
            }
            let mut all = Ended::default();
            for flow in flows {
                all.add(flow.end());
            }
            all
        });
        Self {
            stop,
            sent,
            failed,
            thread,
        }
    }

    /// Waits until so many requests more were sent.
    #[track_caller]
    pub fn wait_for_more(&self, requests: u64) {
        let from = self.sent.load(Ordering::SeqCst);
        wait_until("requests to be sent", LIMIT, || {
            let sent = self.sent.load(Ordering::SeqCst);
            (sent >= from + requests).then_some(()).ok_or(sent)
        });
    }

    /// Waits until so many requests more have failed.
    #[track_caller]
    pub fn wait_for_failures(&self, failures: u64) {
        let from = self.failed.load(Ordering::SeqCst);
        wait_until("requests to fail", LIMIT, || {
            let failed = self.failed.load(Ordering::SeqCst);
            (failed >= from + failures).then_some(()).ok_or(failed)
        });
    }

    /// Sends the rest of the present plan, and waits for the end of the last request.
    pub fn end(self) -> Ended {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}
