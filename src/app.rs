//! The composition root: the only place where the planes are wired together.
//!
//! The data plane has threads of its own (see [`crate::proxy::Workers`]); everything here runs on the
//! control plane's runtime, so that neither can starve the other.

pub mod cluster;
mod configuration;
mod data_plane;
mod descriptors;
mod journal;
mod logging;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{self, AdminSocket, Parts, Readiness};
use crate::cli::standalone::{LogFormat, MetricsAddress, Standalone};
use crate::drain::Coordinator;
use crate::proxy::Workers;
use crate::source::Directory;
use configuration::Configurator;
use data_plane::{DataPlane, Statistics};
use journal::DrainJournal;

/// Threads of the control plane: one may be busy with a large configuration while the other answers.
const CONTROL_THREADS: usize = 2;

/// Runs lastcall from a folder of YAML files until it is told to stop, or checks the folder.
pub fn standalone(args: &Standalone) -> anyhow::Result<()> {
    if args.check {
        return check(args);
    }
    on_control_threads(args.log_format, &args.log_level, run(args))
}

/// Sets the process up and runs it to its end: the log, the limit of open files, the control plane's runtime.
fn on_control_threads(
    format: LogFormat,
    level: &str,
    process: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let _log = logging::init(format, level)?;
    let descriptors = descriptors::raise_limit();
    tracing::debug!(descriptors, "limit of open descriptors");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("no runtime for the control plane")?;
    let ended = runtime.block_on(process);
    // What still runs serves nobody any more.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// Reads the folder as a start would, says all that is wrong, and changes nothing.
fn check(args: &Standalone) -> anyhow::Result<()> {
    let directory = Directory::open(&args.config)?;
    let loaded = Arc::clone(&directory.loaded().borrow());
    let objects = &loaded.objects;
    let plan = crate::plan::plan(objects, &configuration::known(&loaded, None));
    let faults = configuration::unresolved(&plan);
    for fault in &faults {
        eprintln!("{fault}");
    }
    anyhow::ensure!(
        faults.is_empty(),
        "{} of the references do not resolve",
        faults.len()
    );
    let (balancers, backends) = (objects.load_balancers.len(), objects.backends.len());
    println!(
        "{}: {balancers} LoadBalancers and {backends} Backends, no fault",
        args.config.display()
    );
    Ok(())
}

async fn run(args: &Standalone) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let readiness = Readiness::new();
    let not_configured = readiness.hold("configuration");
    let directory = Directory::open(&args.config)?;

    let count = args
        .workers
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get);
    let ip = args
        .listen_address
        .unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let workers = Workers::start(count, ip).context("cannot start the workers")?;
    let journal = Arc::new(DrainJournal::default());
    let (coordinator, draining) = Coordinator::new(
        count,
        Arc::new(DataPlane(workers.clone())),
        Arc::new(data_plane::NoCluster),
        DrainJournal::hears(&journal),
    );
    let mut coordinator = tokio::spawn(coordinator.run());

    let socket = AdminSocket::bind(&args.admin_socket)?;
    let configurator = Configurator::start(directory, draining.clone(), workers.clone()).await?;
    not_configured.ready();

    let (going_down, shutting_down) = watch::channel(false);
    let parts = Arc::new(Parts {
        draining: Arc::new(draining),
        configuration: configurator.clone(),
        statistics: Arc::new(Statistics {
            workers: workers.clone(),
            journal,
        }),
        readiness: readiness.clone(),
        shutting_down,
        started: tokio::time::Instant::now(),
    });
    serve(args, socket, &parts).await?;
    tracing::info!(
        config = %args.config.display(),
        workers = count,
        admin_socket = %args.admin_socket.display(),
        "ready"
    );

    let died = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                // What came of it is in the log.
                Signal::Reload => drop(configurator.reload_and_log().await),
                Signal::Stop => break false,
            },
            // Without it nothing drains any more: it ends by a panic only, and then so does the process.
            _ = &mut coordinator => break true,
        }
    };
    if died {
        tracing::error!("the drain coordinator has died: shutting down");
    }
    // Held, not dropped: unready from here to the end.
    let _leaving = readiness.hold("shutting down");
    // Nobody listens for it only where nothing is served.
    let _ = going_down.send(true);
    farewell(
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

/// Opens the admin API and the metrics.
async fn serve(args: &Standalone, socket: AdminSocket, parts: &Arc<Parts>) -> anyhow::Result<()> {
    tokio::spawn(ended(admin::serve_unix(
        socket,
        admin::router(Arc::clone(parts)),
    )));
    if let Some(address) = args.admin_address {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (--admin-address)"))?;
        tokio::spawn(ended(admin::serve_tcp(
            listener,
            admin::router(Arc::clone(parts)),
        )));
    }
    if let MetricsAddress::At(address) = args.metrics_address {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} (--metrics-address; `off` to do without)")
        })?;
        tokio::spawn(ended(admin::serve_observe(
            listener,
            admin::observe_router(Arc::clone(parts)),
        )));
    }
    Ok(())
}

async fn ended(server: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = server.await {
        tracing::error!(%error, "a control-plane port has closed");
    }
}

/// The end, in the order that loses nothing (DESIGN section 6). A second signal cuts what is open, and ends
/// it; true where there was none.
async fn farewell(
    delay: Duration,
    timeout: Duration,
    workers: &Workers,
    signals: &mut Signals,
) -> bool {
    tracing::info!(?delay, ?timeout, "shutting down");
    tokio::select! {
        farewell = workers.shut_down(delay, timeout) => {
            tracing::info!(cut = farewell.cut, "shut down");
            true
        }
        () = signals.stop_again() => {
            let farewell = workers.cut_all().await;
            tracing::warn!(cut = farewell.cut, "second signal: cut what was open");
            false
        }
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

enum Signal {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    /// A reload is of no use any more.
    async fn stop_again(&mut self) {
        while let Signal::Reload = self.next().await {}
    }
}
