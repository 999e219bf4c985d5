//! The process, as the controller sees it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::controller::{self, Running};
use crate::drain::Handle;
use crate::model::report::BackendReport;

/// The coordinator and what runs.
pub(super) struct Process {
    pub(super) draining: Handle,
    pub(super) running: watch::Receiver<Arc<Running>>,
}

impl controller::Process for Process {
    fn running(&self) -> watch::Receiver<Arc<Running>> {
        self.running.clone()
    }

    fn report(&self) -> BoxFuture<'_, Option<Vec<BackendReport>>> {
        Box::pin(async { self.draining.report().await.ok() })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.draining.changes()
    }
}
