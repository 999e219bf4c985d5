//! The kubelet's part: starts a pod (a child process), and stops it as the kubelet does: first the preStop
//! hook, then SIGTERM, and SIGKILL when the grace period is over. Called by [`super::scene`].

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, timeout};

use super::record::{Follower, Summary, now_micros};

/// How long a child may take to start, on a machine that is busy with two of everything.
const START_LIMIT: Duration = Duration::from_secs(10);
/// What an app has after its hook at least, also when the hook took the whole grace period
/// (`pkg/kubelet/kuberuntime`: `minimumGracePeriodInSeconds`).
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// A record that is still being written.
pub type Record = Arc<Mutex<Follower>>;

/// What a record says now; what it said last where it cannot be read.
pub fn read(record: &Record) -> std::io::Result<Summary> {
    record.lock().unwrap_or_else(PoisonError::into_inner).read()
}

/// One server: a process, its address and its record.
#[derive(Debug)]
pub struct Pod {
    /// Its name, `web-3`.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its own record.
    pub record: Record,
    child: Child,
    /// Open until the server has ended: it takes its end for ours, and would not finish its record.
    _stdin: ChildStdin,
}

/// A child process of this very program. It dies with its handle, and does not see the terminal's Ctrl-C:
/// the demo ends its children itself, in order.
pub fn child(subcommand: &str) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("find this program's own path")?;
    let mut command = Command::new(program);
    command
        .arg(subcommand)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .process_group(0);
    Ok(command)
}

impl Pod {
    /// Starts a server that keeps its record in `folder`.
    pub async fn start(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(format!("{name}.ndjson"));
        let mut child = child("demo-backend")?
            .arg("--name")
            .arg(name)
            .arg("--record")
            .arg(&path)
            // Open as long as the demo lives: the server ends with it, even if the demo is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start server {name}"))?;
        let stdout = child.stdout.take().context("a server without an output")?;
        // Waiting for the child would close it.
        let stdin = child.stdin.take().context("a server without an input")?;
        let mut line = String::new();
        timeout(START_LIMIT, BufReader::new(stdout).read_line(&mut line))
            .await
            .with_context(|| format!("server {name} did not start in {START_LIMIT:?}"))??;
        let address = line
            .trim()
            .parse()
            .with_context(|| format!("server {name} said {line:?} in place of its address"))?;
        let record = Arc::new(Mutex::new(Follower::open(&path)?));
        Ok(Self {
            name: name.to_owned(),
            address,
            record,
            child,
            _stdin: stdin,
        })
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self
            .child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
            .with_context(|| format!("server {} ended before its SIGTERM", self.name))?;
        kill_process(pid, signal).with_context(|| format!("signal server {}", self.name))
    }
}

/// What the hook said at its end: the JSON of `lastcall-hold -o json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookSaid {
    /// `released`, `gaveUp` or `refused`.
    pub outcome: String,
    /// `Drained`, `Deadline` or `Cut`, when released.
    pub cause: Option<String>,
    /// From the last request's end to the release, by lastcall's own clock, ms.
    pub since_last_byte_millis: Option<f64>,
    /// Requests that lastcall cut.
    #[serde(default)]
    pub cut: u64,
    /// Why, where it was not released.
    pub detail: Option<String>,
}

/// How a server was stopped.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The server.
    pub name: String,
    /// In flight when its hook was called, by its own record.
    pub in_flight_at_hook: u64,
    /// In flight at its SIGTERM, by its own record: these are lost.
    pub in_flight_at_sigterm: u64,
    /// From the hook's call to the hook's end.
    pub held: Duration,
    /// From the last response's last byte, by the server's own record, to the hook's end, ms. Negative
    /// where the hook ended first. `None` where no response ended while it was held.
    pub release_millis: Option<f64>,
    /// What the hook said.
    pub hook: HookSaid,
    /// SIGKILL was needed.
    pub killed: bool,
}

/// Stops a server: hook, SIGTERM, SIGKILL, `grace` in all (but at least 2 s for SIGTERM). `released` is
/// called between the hook's end and SIGTERM.
pub async fn stop(
    mut pod: Pod,
    mut hook: Command,
    grace: Duration,
    released: impl FnOnce(&HookSaid),
) -> anyhow::Result<Ending> {
    let begin = Instant::now();
    let called_at = now_micros();
    let in_flight_at_hook = read(&pod.record)?.in_flight;
    let hook = hook
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("run the hook of {}", pod.name))?;
    let ended = timeout(grace, hook.wait_with_output()).await;
    let released_at = now_micros();
    let held = begin.elapsed();
    let said = match ended {
        Ok(output) => heard(&pod.name, &output?.stdout)?,
        Err(_) => bail!(
            "the hook of {} did not end within its grace period of {grace:?}",
            pod.name
        ),
    };
    released(&said);
    pod.signal(Signal::TERM)?;
    let left = grace.saturating_sub(begin.elapsed()).max(LEAST_GRACE);
    let killed = timeout(left, pod.child.wait()).await.is_err();
    if killed {
        pod.child.kill().await?;
    }
    let summary = read(&pod.record)?;
    if !killed && summary.sigterm.is_none() {
        bail!("the record of {} does not reach to its SIGTERM", pod.name);
    }
    Ok(Ending {
        name: pod.name,
        in_flight_at_hook,
        in_flight_at_sigterm: summary.in_flight_at_sigterm.unwrap_or(summary.in_flight),
        held,
        release_millis: summary
            .last_byte
            .filter(|last| *last > called_at)
            .map(|last| millis_between(last, released_at)),
        hook: said,
        killed,
    })
}

fn heard(name: &str, output: &[u8]) -> anyhow::Result<HookSaid> {
    let said: HookSaid = serde_json::from_slice(output).with_context(|| {
        format!(
            "the hook of {name} said {:?}",
            String::from_utf8_lossy(output)
        )
    })?;
    if said.outcome != "released" {
        let detail = said.detail.as_deref().unwrap_or_default();
        bail!(
            "the hook of {name} was not released: {}: {detail}",
            said.outcome
        );
    }
    Ok(said)
}

#[allow(clippy::cast_precision_loss)] // Microseconds of one demo fit an f64 many times over.
fn millis_between(from: u64, to: u64) -> f64 {
    if to >= from {
        (to - from) as f64 / 1e3
    } else {
        -((from - to) as f64) / 1e3
    }
}
