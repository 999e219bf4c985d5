//! From the folder to the workers: plans what was read, has the coordinator take it in, and remembers
//! what became of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

use crate::admin;
use crate::drain;
use crate::model::Snapshot;
use crate::model::report::{ConfigurationFault, ConfigurationReport};
use crate::plan::{Facts, Plan, plan};
use crate::proxy::Workers;
use crate::source::{Directory, FileError, Loaded};

/// The running configuration and how it got there.
pub(super) struct Configurator {
    directory: Directory,
    draining: drain::Handle,
    workers: Workers,
    /// Held while one is taken in, so that two never overtake each other.
    applying: tokio::sync::Mutex<()>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    snapshot: Arc<Snapshot>,
    report: ConfigurationReport,
    /// The source's revision that runs.
    source: u64,
    /// References of it that do not resolve.
    unresolved: Vec<ConfigurationFault>,
    /// What was refused last, so that the same is counted once.
    refused: Vec<FileError>,
}

impl Configurator {
    /// Takes what the folder says into service, then follows it. At the start every listener has to be
    /// bound: a process that listens nowhere is of no use.
    pub(super) async fn start(
        directory: Directory,
        draining: drain::Handle,
        workers: Workers,
    ) -> anyhow::Result<Arc<Self>> {
        let mut loaded = directory.loaded();
        let configurator = Arc::new(Self {
            directory,
            draining,
            workers,
            applying: tokio::sync::Mutex::default(),
            running: Mutex::default(),
        });
        let first = loaded.borrow_and_update().clone();
        configurator.apply(&first).await;
        if let Some((_, error)) = configurator.workers.failed_ports().await.into_iter().next() {
            anyhow::bail!(error);
        }
        let following = Arc::clone(&configurator);
        tokio::spawn(async move {
            while loaded.changed().await.is_ok() {
                let now = loaded.borrow_and_update().clone();
                following.apply(&now).await;
            }
        });
        Ok(configurator)
    }

    /// Takes one state of the folder in. An equal snapshot wakes nobody.
    async fn apply(&self, loaded: &Loaded) {
        let _alone = self.applying.lock().await;
        if !loaded.errors.is_empty() {
            self.refuse(&loaded.errors);
            return;
        }
        // Revisions grow: what waited here while a later one was taken in comes too late.
        if loaded.revision <= self.lock().source {
            self.settle_faults();
            self.workers.retry_failed_ports().await;
            self.report_unresolved().await;
            return;
        }
        let before = Arc::clone(&self.lock().snapshot);
        let planned = plan(&loaded.objects, &known(loaded, Some(before)));
        let unresolved = unresolved(&planned);
        let snapshot = Arc::new(planned.snapshot);
        let changed = *self.lock().snapshot != *snapshot || self.lock().report.revision == 0;
        if changed {
            let configured = self.draining.configure(Arc::clone(&snapshot)).await;
            if configured.is_err() {
                // The coordinator has ended, and with it the process.
                return;
            }
        } else {
            self.workers.retry_failed_ports().await;
        }
        self.accept(loaded, snapshot, unresolved);
        self.report_unresolved().await;
    }

    /// Says what is out of service in the configuration that runs.
    async fn report_unresolved(&self) {
        let failed = self.workers.failed_ports().await;
        let mut running = self.lock();
        let ports = failed
            .into_iter()
            .map(|(port, message)| ConfigurationFault {
                source: format!("port {port}"),
                line: None,
                field: None,
                message,
            });
        let all: Vec<_> = running.unresolved.iter().cloned().chain(ports).collect();
        for fault in &all {
            if !running.report.unresolved.contains(fault) {
                tracing::warn!(%fault, "out of service");
            }
        }
        running.report.unresolved = all;
    }

    fn accept(
        &self,
        loaded: &Loaded,
        snapshot: Arc<Snapshot>,
        unresolved: Vec<ConfigurationFault>,
    ) {
        let mut running = self.lock();
        running.snapshot = snapshot;
        running.source = loaded.revision;
        running.refused.clear();
        running.report.revision = loaded.revision;
        running.report.accepted_total += 1;
        running.report.faults.clear();
        running.unresolved = unresolved;
        let at = loaded
            .loaded_at
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        running.report.loaded_at_seconds = at.as_secs_f64();
        tracing::info!(
            revision = loaded.revision,
            load_balancers = loaded.objects.load_balancers.len(),
            backends = loaded.objects.backends.len(),
            "configuration in service"
        );
    }

    fn refuse(&self, errors: &[FileError]) {
        let mut running = self.lock();
        if running.refused == errors {
            return;
        }
        running.refused = errors.to_vec();
        running.report.refused_total += 1;
        running.report.faults = errors.iter().map(fault).collect();
        let revision = running.report.revision;
        for error in errors {
            tracing::error!(%error, running = revision, "configuration refused: the last good one runs on");
        }
    }

    fn settle_faults(&self) {
        let mut running = self.lock();
        running.refused.clear();
        running.report.faults.clear();
    }

    /// Reads the folder at once and takes it in.
    pub(super) async fn reload_and_log(
        &self,
    ) -> Result<ConfigurationReport, Vec<ConfigurationFault>> {
        let loaded = self.directory.reload().await;
        self.apply(&loaded).await;
        let running = self.lock();
        if running.report.faults.is_empty() {
            Ok(running.report.clone())
        } else {
            Err(running.report.faults.clone())
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        // Each change is whole in itself: a panic elsewhere leaves nothing half done.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl admin::Configuration for Configurator {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.lock().snapshot)
    }

    fn report(&self) -> ConfigurationReport {
        self.lock().report.clone()
    }

    fn reload(&self) -> BoxFuture<'_, Result<ConfigurationReport, Vec<ConfigurationFault>>> {
        Box::pin(self.reload_and_log())
    }
}

/// What was accepted and does not resolve: its own listener or route is out of service (Law 4).
pub(super) fn unresolved(plan: &Plan) -> Vec<ConfigurationFault> {
    let mut faults = Vec::new();
    for (object, verdict) in &plan.verdicts {
        for (listener, condition) in verdict.faults() {
            let source = match listener {
                Some(listener) => format!("{object} listener {listener}"),
                None => object.to_string(),
            };
            // The message begins with the field; here it has a place of its own.
            let field = condition.field.clone();
            let message = field
                .as_ref()
                .and_then(|field| condition.message.strip_prefix(&format!("{field}: ")))
                .unwrap_or(&condition.message);
            faults.push(ConfigurationFault {
                source,
                line: None,
                message: message.to_owned(),
                field,
            });
        }
    }
    faults
}

/// What is known beside the folder's objects.
pub(super) fn known(loaded: &Loaded, before: Option<Arc<Snapshot>>) -> Facts {
    Facts {
        secrets: Arc::clone(&loaded.secrets),
        now: unix_seconds(SystemTime::now()),
        before,
        ..Facts::default()
    }
}

/// A time in seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn fault(error: &FileError) -> ConfigurationFault {
    ConfigurationFault {
        source: error.file.display().to_string(),
        line: error.line.map(|line| line as u64),
        field: (!error.field.is_empty()).then(|| error.field.clone()),
        message: error.message.clone(),
    }
}
