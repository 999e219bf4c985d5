//! What is written back to the cluster: a Service for each LoadBalancer, the status of LoadBalancers,
//! Backends and pods, and Events. Run by `app` in the process that leads.
//!
//! Every write is made only where it changes something, so a quiet cluster causes none. What is to be
//! written is decided by pure functions ([`service`], [`status`]); [`reconcile`] reads and writes.

mod backend_status;
pub mod notices;
mod reconcile;
mod service;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::model::ObjectName;
use crate::model::report::BackendReport;
use crate::plan::allotment::Allotment;
use crate::plan::{ObjectRef, Verdict};

pub use reconcile::{Context, recorded_ports, run};
pub use service::Template;

/// The name under which fields are owned (server-side apply).
pub const FIELD_MANAGER: &str = "lastcall";

/// What runs, as far as it is written back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// What was said of each object.
    pub verdicts: BTreeMap<ObjectRef, Verdict>,
    /// The container port of each listener.
    pub ports: Allotment,
    /// Container ports that could not be bound, and why.
    pub failed_ports: BTreeMap<u16, String>,
    /// Pods that a Backend serves from and that have no hook: how many, and of one of them why.
    pub unprotected: BTreeMap<ObjectName, Unprotected>,
}

/// Pods of one Backend that are not held when they are stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unprotected {
    /// How many.
    pub pods: u32,
    /// Of one of them, its name and why.
    pub example: String,
}

/// What the controller asks of the process that it runs in.
pub trait Process: Send + Sync {
    /// What runs, now and at every change.
    fn running(&self) -> watch::Receiver<Arc<Running>>;
    /// Every Backend as it is now; `None` where the process is going down. All Backends are asked for at once
    /// and share one answer.
    fn report(&self) -> BoxFuture<'_, Option<Arc<Vec<BackendReport>>>>;
    /// Changes its value when the state of an endpoint changes.
    fn changes(&self) -> watch::Receiver<u64>;
}
