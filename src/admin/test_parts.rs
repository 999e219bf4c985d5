//! Small parts for tests: a coordinator that says what it is told, and what goes with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::parts::{Configuration, Draining, Parts, Statistics};
use super::readiness::Readiness;
use crate::drain::{HoldRequest, HoldUpdate, TargetError};
use crate::model::report::{
    BackendReport, ConfigurationFault, ConfigurationReport, EndpointReport, IN_SERVICE,
    ServiceState,
};
use crate::model::totals::{DataPlaneTotals, DrainTotals};
use crate::model::{AdminState, EndpointId, Member, ObjectName, Snapshot, Target};

pub(crate) use crate::model::report::sample_endpoint as endpoint;

/// A Backend's report in the namespace `default`.
pub(crate) fn backend(name: &str, endpoints: Vec<EndpointReport>) -> BackendReport {
    BackendReport {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        total: endpoints.len() as u64,
        in_service: 0,
        draining: 0,
        out_of_service: 0,
        endpoints,
    }
}

/// A coordinator, a configuration and numbers, as a test sets them.
pub(crate) struct Fake {
    pub(crate) reports: Mutex<Vec<BackendReport>>,
    pub(crate) changes: watch::Sender<u64>,
    /// The holds that were asked for, and the channels of their updates.
    pub(crate) holds: Mutex<Vec<(HoldRequest, mpsc::UnboundedSender<HoldUpdate>)>>,
    pub(crate) states: Mutex<Vec<(Target, AdminState, Option<Duration>)>>,
    pub(crate) configuration: Mutex<ConfigurationReport>,
    pub(crate) refuse: Mutex<Option<TargetError>>,
    /// How often a report was asked for.
    pub(crate) looks: AtomicU64,
}

impl Fake {
    /// `be/web` with `127.0.0.1:1` in service, configured.
    pub(crate) fn new() -> Arc<Self> {
        let one = endpoint("127.0.0.1:1", ServiceState::InService, IN_SERVICE, 0);
        Arc::new(Self {
            reports: Mutex::new(vec![backend("web", vec![one])]),
            changes: watch::Sender::new(0),
            holds: Mutex::default(),
            states: Mutex::default(),
            configuration: Mutex::new(ConfigurationReport {
                revision: 1,
                ..ConfigurationReport::default()
            }),
            refuse: Mutex::default(),
            looks: AtomicU64::new(0),
        })
    }

    /// Sets the one endpoint's state and tells of it.
    pub(crate) fn set(&self, state: ServiceState, description: &str, in_flight: u64) {
        let one = endpoint("127.0.0.1:1", state, description, in_flight);
        *self.reports.lock().unwrap() = vec![backend("web", vec![one])];
        self.changes.send_modify(|change| *change += 1);
    }

    /// The parts with this fake behind all of them.
    pub(crate) fn parts(self: &Arc<Self>) -> Arc<Parts> {
        Arc::new(Parts {
            draining: self.clone(),
            configuration: self.clone(),
            statistics: self.clone(),
            readiness: Readiness::new(),
            shutting_down: watch::channel(false).1,
            started: Instant::now(),
        })
    }
}

impl Draining for Fake {
    fn hold(
        &self,
        request: HoldRequest,
    ) -> BoxFuture<'_, Result<mpsc::UnboundedReceiver<HoldUpdate>, TargetError>> {
        if let Some(error) = self.refuse.lock().unwrap().clone() {
            return Box::pin(async { Err(error) });
        }
        let (updates, receiver) = mpsc::unbounded_channel();
        self.holds.lock().unwrap().push((request, updates));
        Box::pin(async { Ok(receiver) })
    }

    fn set_admin_state(
        &self,
        target: Target,
        state: AdminState,
        timeout: Option<Duration>,
    ) -> BoxFuture<'_, Result<Vec<EndpointId>, TargetError>> {
        if let Some(error) = self.refuse.lock().unwrap().clone() {
            return Box::pin(async { Err(error) });
        }
        self.states.lock().unwrap().push((target, state, timeout));
        let id = EndpointId {
            backend: ObjectName::new("default", "web"),
            member: Member::Static(([127, 0, 0, 1], 1).into()),
        };
        Box::pin(async { Ok(vec![id]) })
    }

    fn report(&self) -> BoxFuture<'_, Result<Vec<BackendReport>, TargetError>> {
        let reports = self.reports.lock().unwrap().clone();
        self.looks.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(reports) })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Configuration for Fake {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::default()
    }

    fn report(&self) -> ConfigurationReport {
        self.configuration.lock().unwrap().clone()
    }

    fn reload(&self) -> BoxFuture<'_, Result<ConfigurationReport, Vec<ConfigurationFault>>> {
        let report = self.configuration.lock().unwrap().clone();
        Box::pin(async {
            if report.faults.is_empty() {
                Ok(report)
            } else {
                Err(report.faults)
            }
        })
    }
}

impl Statistics for Fake {
    fn data_plane(&self) -> DataPlaneTotals {
        DataPlaneTotals::default()
    }

    fn drains(&self) -> DrainTotals {
        DrainTotals::new()
    }
}
