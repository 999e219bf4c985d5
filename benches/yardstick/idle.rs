//! What idle connections add to a proxy's memory: they made one request each and then fell silent.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::ChildStdin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::backend::Addresses;
use crate::load::tls::Tls;
use crate::load::{self, Http1};
use crate::peers::{self, Proxy};
use crate::process::{self, Cpus, Running};
use crate::report::IdleRow;
use crate::wire;
use crate::work::{self, HTTP1_IDLE, TLS_IDLE, Work};

/// Its name on the command line.
pub const PART: &str = "idle";

/// Idle connections, where the limit of open files allows them.
const COUNTS: [usize; 2] = [1_000, 10_000];
/// Made and ended before the first look at the memory.
const WARM_UP: usize = 100;
/// Requests at once while the connections are made.
const AT_ONCE: usize = 32;
/// After the last request, before the memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// The work whose configuration serves them.
fn as_in(figure: &str) -> anyhow::Result<&'static Work> {
    let name = match figure {
        TLS_IDLE => "tls-small",
        HTTP1_IDLE => "http1-small",
        other => other,
    };
    work::find(name).context("no such work")
}

/// The memory of one proxy with none, some and many of them.
pub fn measure(
    figure: &'static str,
    proxy: Proxy,
    cpus: &Cpus,
    backend: &Addresses,
) -> anyhow::Result<Vec<IdleRow>> {
    let started = peers::start(proxy, as_in(figure)?, &cpus.proxy, 1, backend)?;
    drop(Holder::start(&cpus.load, figure, started.address, WARM_UP)?);
    std::thread::sleep(SETTLE);
    let before = started.running.resident_bytes()?;
    let row = |connections, bytes| IdleRow::new(figure, proxy.name(), connections, before, bytes);
    let mut rows = vec![row(0, before)];
    let mut holders = Vec::new();
    let mut open = 0;
    for count in COUNTS {
        let count = count.min(process::open_files()?.saturating_sub(1_000));
        holders.push(Holder::start(
            &cpus.load,
            figure,
            started.address,
            count - open,
        )?);
        open = count;
        std::thread::sleep(SETTLE);
        rows.push(row(open, started.running.resident_bytes()?));
    }
    Ok(rows)
}

/// The process that holds connections; they close when this is dropped.
pub struct Holder {
    _to: ChildStdin,
    _running: Running,
}

impl Holder {
    /// Returns once every connection has had its answer.
    pub fn start(
        cpu: &str,
        figure: &str,
        target: SocketAddr,
        count: usize,
    ) -> anyhow::Result<Self> {
        let args = [PART, figure, &target.to_string(), &count.to_string()];
        let mut running = Running::talking_part(cpu, &args)?;
        let (to, from) = running.pipes()?;
        let mut line = String::new();
        BufReader::new(from).read_line(&mut line)?;
        ensure!(
            line.trim() == "idle",
            "the clients broke off; their reason is above"
        );
        Ok(Self {
            _to: to,
            _running: running,
        })
    }
}

/// Opens the connections, says so, and holds them until its input ends.
pub fn run(figure: &str, target: SocketAddr, count: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let held = local.block_on(&runtime, open(figure == TLS_IDLE, target, count))?;
    println!("idle");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

/// Kept for its connection alone.
enum Idle {
    Clear(#[allow(dead_code)] Http1<TcpStream>),
    Tls(#[allow(dead_code)] Box<Http1<TlsStream<TcpStream>>>),
}

async fn open(secure: bool, target: SocketAddr, count: usize) -> anyhow::Result<Vec<Idle>> {
    let slots = Rc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let tls = Rc::new(Tls::new(false)?);
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (slots, tls) = (Rc::clone(&slots), Rc::clone(&tls));
            tokio::task::spawn_local(async move {
                let _slot = slots.acquire().await?;
                one(secure.then_some(&*tls), target).await
            })
        })
        .collect();
    let mut held = Vec::with_capacity(count);
    for task in tasks {
        held.push(task.await??);
    }
    Ok(held)
}

async fn one(tls: Option<&Tls>, target: SocketAddr) -> anyhow::Result<Idle> {
    let request = wire::request(&target.to_string(), wire::SMALL_TARGET, "");
    if let Some(tls) = tls {
        let stream = tls.connect(target).await?;
        let mut client = Http1::new(stream, request, wire::SMALL);
        client.ask().await?;
        Ok(Idle::Tls(Box::new(client)))
    } else {
        let stream = load::connect(target).await?;
        let mut client = Http1::new(stream, request, wire::SMALL);
        client.ask().await?;
        Ok(Idle::Clear(client))
    }
}
