//! `lastcall run`: the planes wired together in a cluster. The data plane and the drain are those of
//! standalone; objects come from the API server, hooks by TLS, and what becomes of them is written back.

mod configurator;
#[cfg(test)]
mod hold_tests;
mod hook_ids;
mod lookups;
mod namespaces;
mod own_end;
mod process;
mod returns;
mod statistics;
mod telling;
mod webhook;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::data_plane::{DataPlane, Statistics};
use super::journal::DrainJournal;
use super::{Signal, Signals, ended};
use crate::admin::{self, Parts, Readiness};
use crate::admission::ReviewCounts;
use crate::cli::run::Run;
use crate::cli::standalone::MetricsAddress;
use crate::controller::{self, Template};
use crate::drain::{self, Coordinator, Entry, Journal, hook};
use crate::proxy::Workers;
use crate::source::Kubernetes;
use crate::source::kubernetes::{Gone, Live};
use crate::source::tokens::Tokens;
use configurator::Configurator;
use lookups::Lookups;
use process::Process;
use returns::Returns;
use statistics::InCluster;

/// Between tries of what a start needs of the API server.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs lastcall in a cluster until it is told to stop.
pub fn run(args: &Run) -> anyhow::Result<()> {
    super::on_control_threads(args.log_format, &args.log_level, serve(args))
}

async fn serve(args: &Run) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let readiness = Readiness::new();
    let not_configured = readiness.hold("configuration");
    let (going_down, shutting_down) = watch::channel(false);
    let (mut planes, heard) = Planes::start(args).await?;
    // Health from the beginning: who asks why it is not ready is told.
    planes.open_ports(args, &readiness, shutting_down).await?;
    let template = Template {
        namespace: args.namespace.clone(),
        selector: args.pod_selector.clone(),
    };
    let prepared = tokio::select! {
        prepared = planes.prepare(args, &template) => prepared,
        () = stopped(&mut signals) => return Ok(()),
    };
    planes.follow(heard);
    planes.answer(args, prepared, template).await?;
    not_configured.ready();
    tracing::info!(namespace = args.namespace, "ready");

    let died = tokio::select! {
        () = stopped(&mut signals) => false,
        // Without it nothing drains any more: it ends by a panic only, and then so does the process.
        _ = &mut planes.coordinator => true,
    };
    if died {
        tracing::error!("the drain coordinator has died: shutting down");
    }
    // Held, not dropped: unready from here to the end.
    let _leaving = readiness.hold("shutting down");
    // Nobody listens for it only where nothing is served.
    let _ = going_down.send(true);
    let (delay, timeout) = (args.shutdown_delay, args.shutdown_timeout);
    let end = Instant::now() + delay + timeout;
    let in_time = super::farewell(delay, timeout, &planes.workers, &mut signals).await;
    if in_time && !died {
        let alone = own_end::is_uninstalled(&planes.lookups.live, args).await;
        own_end::wait_for_kubelets(&planes.calls, alone, end, &mut signals).await;
    }
    anyhow::ensure!(
        !died,
        "the drain coordinator has died; its panic is in the log"
    );
    Ok(())
}

/// What runs, from the start to the end of the process.
struct Planes {
    client: kube::Client,
    source: Kubernetes,
    workers: Workers,
    lookups: Arc<Lookups>,
    journal: Arc<DrainJournal>,
    returns: Returns,
    draining: drain::Handle,
    coordinator: JoinHandle<()>,
    configurator: Arc<Configurator>,
    reviews: Arc<ReviewCounts>,
    calls: hook::Calls,
}

/// What is heard, for those who follow it.
struct Heard {
    gone: mpsc::UnboundedReceiver<Gone>,
    entries: mpsc::UnboundedReceiver<Entry>,
    tell_changes: watch::Sender<u64>,
}

impl Planes {
    /// Starts the watches, the workers and the coordinator. Nothing is served yet.
    async fn start(args: &Run) -> anyhow::Result<(Self, Heard)> {
        let config = kube::Config::infer()
            .await
            .context("no cluster: neither in a pod nor by KUBECONFIG")?;
        let client =
            crate::source::kubernetes::client(config).context("no client of the API server")?;
        let (source, gone) =
            Kubernetes::start_with(&client, &args.watch_namespace, args.read_secrets);
        let count = args
            .workers
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let workers = Workers::start(count, IpAddr::V6(Ipv6Addr::UNSPECIFIED))
            .context("cannot start the workers")?;
        let (tell_changes, changes) = watch::channel(0);
        let lookups = Arc::new(Lookups {
            client: client.clone(),
            live: Live::new(client.clone(), lookups::PATIENCE),
            tokens: Tokens::new(client.clone()),
            observed: source.observed(),
            changes,
            hook_ids: hook_ids::HookIds::default(),
            turns: Semaphore::new(lookups::LOOKS),
        });
        let journal = Arc::new(DrainJournal::default());
        let returns = Returns::default();
        let (entries, told) = mpsc::unbounded_channel();
        let (coordinator, draining) = Coordinator::new(
            count,
            Arc::new(DataPlane(workers.clone())),
            Arc::clone(&lookups) as _,
            ear(&journal, entries),
        );
        let configurator = Arc::new(Configurator::new(
            source.observed(),
            args.data_ports.clone(),
            draining.clone(),
            workers.clone(),
        ));
        let planes = Self {
            client,
            source,
            workers,
            lookups,
            journal,
            returns,
            draining,
            coordinator: tokio::spawn(coordinator.run()),
            configurator,
            reviews: Arc::default(),
            calls: hook::Calls::default(),
        };
        let heard = Heard {
            gone,
            entries: told,
            tell_changes,
        };
        Ok((planes, heard))
    }

    /// Opens the admin API and the metrics.
    async fn open_ports(
        &self,
        args: &Run,
        readiness: &Readiness,
        shutting_down: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let parts = Arc::new(Parts {
            draining: Arc::new(self.draining.clone()),
            configuration: Arc::clone(&self.configurator) as _,
            statistics: Arc::new(InCluster {
                own: Statistics {
                    workers: self.workers.clone(),
                    journal: Arc::clone(&self.journal),
                },
                running: self.configurator.running(),
                reviews: Arc::clone(&self.reviews),
            }),
            readiness: readiness.clone(),
            shutting_down,
            started: tokio::time::Instant::now(),
        });
        let listener = bind(args.admin_address, "--admin-address").await?;
        tokio::spawn(ended(admin::serve_tcp(
            listener,
            admin::router(Arc::clone(&parts)),
        )));
        if let MetricsAddress::At(address) = args.metrics_address {
            let listener = bind(address, "--metrics-address").await?;
            tokio::spawn(ended(admin::serve_observe(
                listener,
                admin::observe_router(parts),
            )));
        }
        Ok(())
    }

    /// Waits for what has to be there before anything is served, and takes the first configuration in.
    async fn prepare(&self, args: &Run, template: &Template) -> webhook::Prepared {
        let prepared = webhook::prepare(args, &self.client).await;
        let recorded = patiently("the Services of LoadBalancers", async || {
            controller::recorded_ports(self.client.clone(), template).await
        })
        .await;
        patiently("the cluster's keys", async || {
            self.lookups.tokens.fetch().await
        })
        .await;
        self.source.first().await;
        self.configurator.start(recorded).await;
        prepared
    }

    /// Follows the cluster: containers that come back, pods that are gone, what is to be told of.
    fn follow(&self, heard: Heard) {
        let (returns, draining) = (&self.returns, &self.draining);
        tokio::spawn(returns::follow(
            returns.clone(),
            self.source.observed(),
            draining.clone(),
        ));
        tokio::spawn(returns::follow_gone(
            returns.clone(),
            heard.gone,
            self.configurator.applied(),
            draining.clone(),
        ));
        tokio::spawn(count_changes(self.source.observed(), heard.tell_changes));
        let (tell, notices) = mpsc::unbounded_channel();
        tokio::spawn(telling::follow(
            heard.entries,
            self.source.observed(),
            returns.clone(),
            tell,
        ));
        tokio::spawn(controller::notices::publish(self.client.clone(), notices));
    }

    /// Answers hooks and webhooks, and writes back.
    async fn answer(
        &self,
        args: &Run,
        prepared: webhook::Prepared,
        template: Template,
    ) -> anyhow::Result<()> {
        let hooks = hook::router(hook::Parts {
            draining: self.draining.clone(),
            cluster: Arc::clone(&self.lookups) as _,
            node_shutdown: Duration::from_secs(args.node_shutdown_grace_seconds.into()),
            calls: self.calls.clone(),
            // One replica has nobody to hand a call over to.
            peer_ready: watch::channel(false).1,
        });
        let reviewing = webhook::Reviewing {
            configurator: Arc::clone(&self.configurator),
            counts: Arc::clone(&self.reviews),
        };
        webhook::serve(args, &self.client, prepared, hooks, reviewing).await?;
        tokio::spawn(controller::run(controller::Context {
            client: self.client.clone(),
            namespaces: args.watch_namespace.clone(),
            template,
            process: Arc::new(Process::new(
                self.draining.clone(),
                self.configurator.running(),
            )),
        }));
        Ok(())
    }
}

/// SIGHUP has nothing to read anew in a cluster.
async fn stopped(signals: &mut Signals) {
    while let Signal::Reload = signals.next().await {}
}

/// What hears the coordinator: the log and the numbers at once, the rest on a task of its own.
fn ear(journal: &Arc<DrainJournal>, entries: mpsc::UnboundedSender<Entry>) -> Journal {
    let written = DrainJournal::hears(journal);
    Arc::new(move |entry| {
        written(entry);
        // Fails only where the process is going down.
        let _ = entries.send(entry.clone());
    })
}

/// Tries until it is there: a replica that starts while the API server is away is not ready, and waits.
async fn patiently<T, E: std::fmt::Display>(
    what: &str,
    mut try_once: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    loop {
        match try_once().await {
            Ok(there) => return there,
            Err(error) => tracing::warn!(what, %error, "not there yet; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn count_changes<T: Send + Sync + 'static>(
    mut observed: watch::Receiver<T>,
    changes: watch::Sender<u64>,
) {
    while observed.changed().await.is_ok() {
        changes.send_modify(|count| *count += 1);
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ({flag})"))
}
