//! What the admin API shows and changes, as traits: `app` passes in the real parts, tests pass in small
//! ones.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::readiness::Readiness;
use crate::drain::{Handle, HoldRequest, HoldUpdate, TargetError};
use crate::model::report::{BackendReport, ConfigurationFault, ConfigurationReport};
use crate::model::totals::{ClusterTotals, DataPlaneTotals, DrainTotals};
use crate::model::{AdminState, EndpointId, Snapshot, Target};

/// The drain's coordinator; [`Handle`] is the real one.
pub trait Draining: Send + Sync {
    /// See [`Handle::hold`].
    fn hold(
        &self,
        request: HoldRequest,
    ) -> BoxFuture<'_, Result<mpsc::UnboundedReceiver<HoldUpdate>, TargetError>>;

    /// See [`Handle::set_admin_state`].
    fn set_admin_state(
        &self,
        target: Target,
        state: AdminState,
        timeout: Option<Duration>,
    ) -> BoxFuture<'_, Result<Vec<EndpointId>, TargetError>>;

    /// See [`Handle::report`].
    fn report(&self) -> BoxFuture<'_, Result<Vec<BackendReport>, TargetError>>;

    /// See [`Handle::changes`].
    fn changes(&self) -> watch::Receiver<u64>;
}

impl Draining for Handle {
    fn hold(
        &self,
        request: HoldRequest,
    ) -> BoxFuture<'_, Result<mpsc::UnboundedReceiver<HoldUpdate>, TargetError>> {
        Box::pin(Handle::hold(self, request))
    }

    fn set_admin_state(
        &self,
        target: Target,
        state: AdminState,
        timeout: Option<Duration>,
    ) -> BoxFuture<'_, Result<Vec<EndpointId>, TargetError>> {
        Box::pin(Handle::set_admin_state(self, target, state, timeout))
    }

    fn report(&self) -> BoxFuture<'_, Result<Vec<BackendReport>, TargetError>> {
        Box::pin(Handle::report(self))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Handle::changes(self)
    }
}

/// The configuration: which one runs, and reading it anew.
pub trait Configuration: Send + Sync {
    /// The running configuration; an empty one while its report's revision is 0.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Which one it is, and why the last one was refused where it was.
    fn report(&self) -> ConfigurationReport;

    /// Reads the source anew and takes it into service, or says all that is wrong with it and changes
    /// nothing (Law 4).
    fn reload(&self) -> BoxFuture<'_, Result<ConfigurationReport, Vec<ConfigurationFault>>>;
}

/// Numbers for the metrics. Called at each scrape, from the control plane's runtime: must not block.
pub trait Statistics: Send + Sync {
    /// What the workers have done.
    fn data_plane(&self) -> DataPlaneTotals;

    /// What drains and holds have come to.
    fn drains(&self) -> DrainTotals;

    /// What there is in a cluster only.
    fn cluster(&self) -> Option<ClusterTotals> {
        None
    }
}

/// All that the admin API and the metrics need.
pub struct Parts {
    /// The drain's coordinator.
    pub draining: Arc<dyn Draining>,
    /// The configuration.
    pub configuration: Arc<dyn Configuration>,
    /// The numbers.
    pub statistics: Arc<dyn Statistics>,
    /// Who is not ready yet.
    pub readiness: Readiness,
    /// True from the moment lastcall has been told to stop.
    pub shutting_down: watch::Receiver<bool>,
    /// When the process started.
    pub started: Instant,
}
