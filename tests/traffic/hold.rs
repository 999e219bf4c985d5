//! A preStop hook inside the test: the code of `lastcall-hold` on a thread, which notes when it was
//! released.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use lastcall_hold::wire::Cause;
use lastcall_hold::{Options, Outcome, Progress, run};

use crate::support::record::now_micros;
use crate::support::{Lastcall, wait_until};

/// How long a hold may take to be answered.
const LIMIT: Duration = Duration::from_secs(20);

/// A hold under way.
pub struct Hold {
    thread: JoinHandle<(Outcome, u64)>,
    heard: Arc<Mutex<Vec<Progress>>>,
}

/// How it ended.
#[derive(Debug)]
pub struct Released {
    /// What lastcall said.
    pub outcome: Outcome,
    /// When, in microseconds of the clock that records use.
    pub at: u64,
}

/// Options for a hold of these targets, each `be/NAME` or `be/NAME/ADDRESS:PORT`.
pub fn options(lastcall: &Lastcall, targets: &[String], grace: Duration) -> Options {
    let mut options = Options::new(targets.to_vec());
    options.socket = socket(lastcall);
    options.grace = Some(grace);
    options
}

fn socket(lastcall: &Lastcall) -> PathBuf {
    lastcall.admin_socket()
}

impl Hold {
    /// Asks lastcall to hold.
    pub fn start(options: Options) -> Self {
        let heard: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let notes = Arc::clone(&heard);
        let thread = std::thread::spawn(move || {
            let outcome = run(&options, &mut |progress| {
                notes.lock().unwrap().push(progress.clone());
            });
            (outcome, now_micros())
        });
        Self { thread, heard }
    }

    /// Asks lastcall to hold one endpoint of `web`, and waits until it does.
    #[track_caller]
    pub fn of(lastcall: &Lastcall, endpoint: std::net::SocketAddr, grace: Duration) -> Self {
        let hold = Self::start(options(lastcall, &[format!("be/web/{endpoint}")], grace));
        hold.wait_until_held();
        hold
    }

    /// Waits until lastcall has said that it holds.
    #[track_caller]
    pub fn wait_until_held(&self) {
        wait_until("the hold to be taken", LIMIT, || {
            let heard = self.heard();
            let held = heard
                .iter()
                .any(|progress| matches!(progress, Progress::Holding { .. }));
            (held || !self.is_waiting()).then_some(()).ok_or(heard)
        });
    }

    /// What was heard so far.
    pub fn heard(&self) -> Vec<Progress> {
        self.heard.lock().unwrap().clone()
    }

    /// Whether it has not been released yet.
    pub fn is_waiting(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits for the release.
    #[track_caller]
    pub fn released(self, limit: Duration) -> Released {
        wait_until("the hold to be released", limit, || {
            self.thread.is_finished().then_some(()).ok_or("it holds")
        });
        let (outcome, at) = self.thread.join().unwrap();
        Released { outcome, at }
    }
}

impl Released {
    /// Cause and number of cut requests; panics where lastcall did not release.
    #[track_caller]
    pub fn cause(&self) -> (Cause, u64) {
        match &self.outcome {
            Outcome::Released { cause, cut, .. } => (*cause, *cut),
            other => panic!("not released: {other:?}"),
        }
    }

    /// From the first call to the release.
    #[track_caller]
    pub fn held(&self) -> Duration {
        match &self.outcome {
            Outcome::Released { held, .. } => *held,
            other => panic!("not released: {other:?}"),
        }
    }

    /// From the last byte to the release, by lastcall's own measure.
    #[track_caller]
    pub fn since_last_byte(&self) -> Duration {
        match &self.outcome {
            Outcome::Released {
                since_last_byte, ..
            } => *since_last_byte,
            other => panic!("not released: {other:?}"),
        }
    }
}
