//! From the API server to the workers: plans what is observed, has the coordinator take it in, and tells the
//! controller what runs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::admin;
use crate::app::configuration::{unix_seconds, unresolved};
use crate::controller::{Running, Unprotected};
use crate::drain;
use crate::model::report::{ConfigurationFault, ConfigurationReport};
use crate::model::{Member, ObjectName, Snapshot};
use crate::plan::allotment::{Allotment, allot};
use crate::plan::cluster::{Cluster, Pod, facts};
use crate::plan::plan;
use crate::proxy::Workers;
use crate::source::Observed;

/// The running configuration and how it got there.
pub(in crate::app) struct Configurator {
    draining: drain::Handle,
    workers: Workers,
    data_ports: RangeInclusive<u16>,
    observed: watch::Receiver<Option<Arc<Observed>>>,
    /// Held while one is taken in, so that two never overtake each other.
    applying: tokio::sync::Mutex<Allotment>,
    state: Mutex<State>,
    running: watch::Sender<Arc<Running>>,
    /// The revision that runs.
    applied: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    snapshot: Arc<Snapshot>,
    report: ConfigurationReport,
}

impl Configurator {
    /// With nothing in service yet.
    pub(in crate::app) fn new(
        observed: watch::Receiver<Option<Arc<Observed>>>,
        data_ports: RangeInclusive<u16>,
        draining: drain::Handle,
        workers: Workers,
    ) -> Self {
        Self {
            draining,
            workers,
            data_ports,
            observed,
            applying: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            running: watch::channel(Arc::default()).0,
            applied: watch::channel(0).0,
        }
    }

    /// Takes what is observed into service, then follows it. `recorded`: the container ports that are
    /// allotted.
    pub(in crate::app) async fn start(self: &Arc<Self>, recorded: Allotment) {
        *self.applying.lock().await = recorded;
        let mut following = self.observed.clone();
        following.mark_changed();
        let owner = Arc::clone(self);
        tokio::spawn(async move {
            while following.changed().await.is_ok() {
                owner.apply_latest().await;
            }
        });
        // Until the first is in service; the sender is ours.
        let _ = self.applied().wait_for(|revision| *revision > 0).await;
    }

    /// What is known of the cluster; nothing before it was listed.
    pub(in crate::app) fn observed(&self) -> Option<Arc<Observed>> {
        self.observed.borrow().clone()
    }

    /// What runs, for the controller.
    pub(in crate::app) fn running(&self) -> watch::Receiver<Arc<Running>> {
        self.running.subscribe()
    }

    /// The revision of what was observed that runs.
    pub(in crate::app) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    async fn apply_latest(&self) {
        let mut allotment = self.applying.lock().await;
        let Some(observed) = self.observed.borrow().clone() else {
            return;
        };
        if observed.revision == *self.applied.borrow() {
            return;
        }
        *allotment = allot(&observed.objects, &allotment, &self.data_ports);
        let mut known = facts(&observed.objects, &observed.cluster);
        known.ports = Some(allotment.clone());
        known.now = unix_seconds(SystemTime::now());
        known.before = Some(Arc::clone(&self.lock().snapshot));
        let planned = plan(&observed.objects, &known);
        let faults = unresolved(&planned);
        let snapshot = Arc::new(planned.snapshot);
        let changed = *self.lock().snapshot != *snapshot || *self.applied.borrow() == 0;
        if changed {
            if self
                .draining
                .configure(Arc::clone(&snapshot))
                .await
                .is_err()
            {
                // The coordinator has ended, and with it the process.
                return;
            }
        } else {
            self.workers.retry_failed_ports().await;
        }
        let failed_ports = self.workers.failed_ports().await;
        let unprotected = unprotected(&snapshot, &observed.cluster);
        self.remember(&observed, &snapshot, faults, changed);
        let running = Running {
            verdicts: planned.verdicts,
            ports: allotment.clone(),
            failed_ports: failed_ports.into_iter().collect(),
            unprotected,
        };
        self.running.send_if_modified(|before| {
            let news = **before != running;
            *before = Arc::new(running);
            news
        });
        self.applied.send_replace(observed.revision);
    }

    fn remember(
        &self,
        observed: &Observed,
        snapshot: &Arc<Snapshot>,
        faults: Vec<ConfigurationFault>,
        changed: bool,
    ) {
        let mut state = self.lock();
        for fault in &faults {
            if !state.report.unresolved.contains(fault) {
                tracing::warn!(%fault, "out of service");
            }
        }
        state.snapshot = Arc::clone(snapshot);
        state.report.revision = observed.revision;
        state.report.unresolved = faults;
        state.report.faults = observed
            .faults
            .iter()
            .map(|fault| ConfigurationFault {
                source: fault.object.to_string(),
                line: None,
                field: None,
                message: fault.message.clone(),
            })
            .collect();
        if changed {
            state.report.accepted_total += 1;
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            state.report.loaded_at_seconds = now.unwrap_or_default().as_secs_f64();
            tracing::debug!(revision = observed.revision, "configuration in service");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole in itself: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pods that serve a Backend and are not held when they are stopped (Law 8).
fn unprotected(snapshot: &Snapshot, cluster: &Cluster) -> BTreeMap<ObjectName, Unprotected> {
    let by_uid: BTreeMap<&str, &Pod> = cluster
        .pods
        .values()
        .map(|pod| (&*pod.uid, &**pod))
        .collect();
    let mut all = BTreeMap::new();
    for backend in &snapshot.backends {
        let mut here = Unprotected::default();
        for endpoint in &backend.endpoints {
            let Member::Pod { uid, .. } = &endpoint.id.member else {
                continue;
            };
            let why = by_uid.get(&**uid).and_then(|pod| pod.unprotected());
            if let Some(why) = why {
                here.pods += 1;
                if here.example.is_empty() {
                    let pod = endpoint.pod.as_deref().unwrap_or_default();
                    here.example = format!("{pod}: {why}");
                }
            }
        }
        if here.pods > 0 {
            all.insert(backend.name.clone(), here);
        }
    }
    all
}

impl admin::Configuration for Configurator {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.lock().snapshot)
    }

    fn report(&self) -> ConfigurationReport {
        self.lock().report.clone()
    }

    /// There is nothing to read anew: every change is heard of.
    fn reload(&self) -> BoxFuture<'_, Result<ConfigurationReport, Vec<ConfigurationFault>>> {
        Box::pin(std::future::ready(Ok(self.lock().report.clone())))
    }
}
