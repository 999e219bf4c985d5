//! The coordinator's task.
use super::{HoldRequest, HoldUpdate, TargetError};
use crate::gate::Gate;
use crate::model::report::BackendReport;
use crate::model::{AdminState, EndpointId, Snapshot, Target};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

pub(super) enum Command {
    Hold {
        request: HoldRequest,
        reply: oneshot::Sender<Result<mpsc::UnboundedReceiver<HoldUpdate>, TargetError>>,
    },
    SetAdminState {
        target: Target,
        state: AdminState,
        timeout: Option<Duration>,
        reply: oneshot::Sender<Result<Vec<EndpointId>, TargetError>>,
    },
    Report {
        reply: oneshot::Sender<Vec<BackendReport>>,
    },
}

/// What the workers run: the configuration, and the gate of each endpoint in it.
#[derive(Clone)]
pub struct Published {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// The gate of every endpoint in it.
    pub gates: Arc<HashMap<EndpointId, Arc<Gate>>>,
}

/// The task that owns every gate.
pub struct Coordinator;
