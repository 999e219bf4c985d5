//! `lastcall run`: the planes wired together in a cluster. The data plane and the drain are those of
//! standalone; objects come from the API server, hooks by TLS, and what becomes of them is written back.

mod configurator;
mod lookups;
mod process;
mod returns;
mod telling;
mod webhook;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::data_plane::{DataPlane, Statistics};
use super::journal::DrainJournal;
use super::{CONTROL_THREADS, Signal, Signals, descriptors, ended, logging};
use crate::admin::{self, Parts, Readiness};
use crate::cli::run::Run;
use crate::cli::standalone::MetricsAddress;
use crate::controller::{self, Template};
use crate::drain::hook;
use crate::drain::{Coordinator, Entry, Journal};
use crate::proxy::Workers;
use crate::source::Kubernetes;
use crate::source::kubernetes::Live;
use crate::source::tokens::Tokens;
use configurator::Configurator;
use lookups::Lookups;
use process::Process;
use returns::Returns;

/// Between tries of what a start needs of the API server.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs lastcall in a cluster until it is told to stop.
pub fn run(args: &Run) -> anyhow::Result<()> {
    let _log = logging::init(args.log_format, &args.log_level)?;
    let descriptors = descriptors::raise_limit();
    tracing::debug!(descriptors, "limit of open descriptors");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("no runtime for the control plane")?;
    let ended = runtime.block_on(serve(args));
    // What still runs serves nobody any more.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

async fn serve(args: &Run) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let readiness = Readiness::new();
    let not_configured = readiness.hold("configuration");
    let (going_down, shutting_down) = watch::channel(false);

    let config = kube::Config::infer()
        .await
        .context("no cluster: neither in a pod nor by KUBECONFIG")?;
    let client =
        crate::source::kubernetes::client(config).context("no client of the API server")?;
    let (source, gone) = Kubernetes::start(&client, &args.watch_namespace);

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
    });
    let journal = Arc::new(DrainJournal::default());
    let returns = Returns::default();
    let (notices, to_publish) = mpsc::unbounded_channel();
    let ear = ear(&journal, returns.clone(), &source, notices);
    let (coordinator, draining) = Coordinator::new(
        count,
        Arc::new(DataPlane(workers.clone())),
        Arc::clone(&lookups) as _,
        ear,
    );
    let mut coordinator = tokio::spawn(coordinator.run());

    let configurator = Arc::new(Configurator::new(
        source.observed(),
        args.data_ports.clone(),
        draining.clone(),
        workers.clone(),
    ));
    let parts = Arc::new(Parts {
        draining: Arc::new(draining.clone()),
        configuration: configurator.clone(),
        statistics: Arc::new(Statistics {
            workers: workers.clone(),
            journal,
        }),
        readiness: readiness.clone(),
        shutting_down,
        started: tokio::time::Instant::now(),
    });
    // Health from the beginning: who asks why it is not ready is told.
    open_ports(args, &parts).await?;

    let template = Template {
        namespace: args.namespace.clone(),
        selector: args.pod_selector.clone(),
    };
    let starting = async {
        let prepared = webhook::prepare(args, &client).await;
        let recorded = patiently("the Services of LoadBalancers", async || {
            controller::recorded_ports(client.clone(), &template).await
        })
        .await;
        patiently("the cluster's keys", async || lookups.tokens.fetch().await).await;
        source.first().await;
        configurator.start(recorded).await;
        prepared
    };
    let prepared = tokio::select! {
        prepared = starting => prepared,
        () = stopped(&mut signals) => return Ok(()),
    };
    tokio::spawn(returns::follow(
        returns.clone(),
        source.observed(),
        draining.clone(),
    ));
    tokio::spawn(returns::follow_gone(
        returns,
        gone,
        configurator.applied(),
        draining.clone(),
    ));
    tokio::spawn(count_changes(source.observed(), tell_changes));
    tokio::spawn(controller::notices::publish(client.clone(), to_publish));
    let hooks = hook::router(hook::Parts {
        draining: draining.clone(),
        cluster: Arc::clone(&lookups) as _,
        node_shutdown: Duration::from_secs(args.node_shutdown_grace_seconds.into()),
    });
    webhook::serve(args, &client, prepared, hooks, Arc::clone(&configurator)).await?;
    tokio::spawn(controller::run(controller::Context {
        client,
        template,
        process: Arc::new(Process {
            draining,
            running: configurator.running(),
        }),
    }));
    not_configured.ready();
    tracing::info!(workers = count, namespace = args.namespace, "ready");

    let died = tokio::select! {
        () = stopped(&mut signals) => false,
        // Without it nothing drains any more: it ends by a panic only, and then so does the process.
        _ = &mut coordinator => true,
    };
    if died {
        tracing::error!("the drain coordinator has died: shutting down");
    }
    // Held, not dropped: unready from here to the end.
    let _leaving = readiness.hold("shutting down");
    let _ = going_down.send(true);
    super::farewell(
        args.shutdown_delay,
        args.shutdown_timeout,
        &workers,
        &mut signals,
    )
    .await;
    anyhow::ensure!(
        !died,
        "the drain coordinator has died; its panic is in the log"
    );
    Ok(())
}

/// SIGHUP has nothing to read anew in a cluster.
async fn stopped(signals: &mut Signals) {
    while let Signal::Reload = signals.next().await {}
}

/// What hears the coordinator: the log and the numbers, who watches for containers that come back, and the
/// Events.
fn ear(
    journal: &Arc<DrainJournal>,
    returns: Returns,
    source: &Kubernetes,
    notices: mpsc::UnboundedSender<controller::notices::Notice>,
) -> Journal {
    let written = DrainJournal::hears(journal);
    let observed = source.observed();
    Arc::new(move |entry| {
        written(entry);
        let seen = observed.borrow().clone();
        let cluster = seen.as_ref().map(|seen| &*seen.cluster);
        if let Entry::HoldStarted { key, .. } = entry {
            returns.hook_called(key, cluster);
        }
        if let Some(notice) = telling::notices(entry, cluster) {
            // Fails only where the process is going down.
            let _ = notices.send(notice);
        }
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

async fn open_ports(args: &Run, parts: &Arc<Parts>) -> anyhow::Result<()> {
    let listener = bind(args.admin_address, "--admin-address").await?;
    tokio::spawn(ended(admin::serve_tcp(
        listener,
        admin::router(Arc::clone(parts)),
    )));
    if let MetricsAddress::At(address) = args.metrics_address {
        let listener = bind(address, "--metrics-address").await?;
        tokio::spawn(ended(admin::serve_observe(
            listener,
            admin::observe_router(Arc::clone(parts)),
        )));
    }
    Ok(())
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ({flag})"))
}
