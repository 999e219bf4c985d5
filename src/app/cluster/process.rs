//! The process, as the controller sees it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::controller::{self, Running};
use crate::drain::Handle;
use crate::model::report::BackendReport;

/// A report is told again within this, where no endpoint has changed its state since.
const FRESH: Duration = Duration::from_millis(100);

/// The coordinator and what runs.
pub(super) struct Process {
    draining: Handle,
    running: watch::Receiver<Arc<Running>>,
    last: Mutex<Option<Last>>,
}

/// The last report, and when it was made.
struct Last {
    at: Instant,
    change: u64,
    report: Arc<Vec<BackendReport>>,
}

impl Process {
    pub(super) fn new(draining: Handle, running: watch::Receiver<Arc<Running>>) -> Self {
        Self {
            draining,
            running,
            last: Mutex::default(),
        }
    }

    /// The controller asks for each Backend by itself, after a change for all of them at once: one report
    /// serves all, or a thousand Backends would have the coordinator count a million.
    async fn report(&self) -> Option<Arc<Vec<BackendReport>>> {
        let mut last = self.last.lock().await;
        // Read before the report is made: it may be newer than this says, never older.
        let change = *self.draining.changes().borrow();
        if let Some(last) = &*last
            && last.change == change
            && last.at.elapsed() < FRESH
        {
            return Some(Arc::clone(&last.report));
        }
        let report = Arc::new(self.draining.report().await.ok()?);
        *last = Some(Last {
            at: Instant::now(),
            change,
            report: Arc::clone(&report),
        });
        Some(report)
    }
}

impl controller::Process for Process {
    fn running(&self) -> watch::Receiver<Arc<Running>> {
        self.running.clone()
    }

    fn report(&self) -> BoxFuture<'_, Option<Arc<Vec<BackendReport>>>> {
        Box::pin(self.report())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.draining.changes()
    }
}
