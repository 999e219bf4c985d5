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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::cluster::hold_tests::Idle;
    use crate::app::data_plane::NoCluster;
    use crate::drain::Coordinator;
    use crate::model::{
        AdminState, Backend, DrainPolicy, EndpointId, EndpointSpec, Member, ObjectName, Policy,
        Snapshot, Target, UpstreamTls,
    };

    #[tokio::test(start_paused = true)]
    async fn one_report_serves_all_who_ask_until_a_state_changes_or_its_numbers_are_old() {
        let backend = ObjectName::new("shop", "web");
        let address = ([10, 0, 0, 7], 80).into();
        let id = EndpointId {
            backend: backend.clone(),
            member: Member::Static(address),
        };
        let snapshot = Snapshot {
            backends: vec![Backend {
                name: backend.clone(),
                endpoints: vec![EndpointSpec::fixed(id, address, 1, AdminState::Enabled)],
                protocol: crate::model::EndpointProtocol::Http1,
                policy: Policy::RoundRobin,
                admin_state: AdminState::Enabled,
                draining: DrainPolicy::default(),
                tls: UpstreamTls::No,
                send_proxy: None,
                slow_start: None,
                limits: None,
            }],
            ..Snapshot::default()
        };
        let (coordinator, draining) =
            Coordinator::new(1, Arc::new(Idle), Arc::new(NoCluster), Arc::new(|_| ()));
        tokio::spawn(coordinator.run());
        draining.configure(Arc::new(snapshot)).await.unwrap();
        let process = Process::new(draining.clone(), watch::channel(Arc::default()).1);
        let look = async || process.report().await.unwrap();

        let first = look().await;
        assert!(Arc::ptr_eq(&first, &look().await), "asked for twice");
        let target = Target {
            backend,
            address: Some(address),
        };
        let mut changes = draining.changes();
        changes.mark_unchanged();
        let set = draining.set_admin_state(target, AdminState::Disabled, None);
        set.await.unwrap();
        changes.changed().await.unwrap();
        let changed = look().await;
        assert_eq!((first[0].in_service, changed[0].in_service), (1, 0));
        tokio::time::advance(FRESH).await;
        assert!(!Arc::ptr_eq(&changed, &look().await), "old numbers");
    }
}
