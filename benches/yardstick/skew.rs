//! How evenly clients' connections fall to lastcall's workers, each of which has a listening socket of its own
//! (`SO_REUSEPORT`): counted in the kernel's own tables, where each worker's epoll instance lists its sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::backend::Addresses;
use crate::idle::Holder;
use crate::peers::{self, Proxy};
use crate::process::Cpus;
use crate::work::{self, HTTP1_IDLE};

const WORKERS: usize = 2;
const CONNECTIONS: usize = 1_000;
/// Each with other ports, so with other hashes.
const RUNS: usize = 10;
/// ESTABLISHED, as /proc/net/tcp writes it.
const ESTABLISHED: &str = "01";

/// How uneven it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skew {
    /// Worker threads.
    pub workers: usize,
    /// Connections, in each run.
    pub connections: usize,
    /// Runs.
    pub runs: usize,
    /// The busiest worker's connections over the mean: the median of the runs.
    pub median_max_over_mean: f64,
    /// And the worst of them.
    pub worst_max_over_mean: f64,
    /// Standard deviation of one worker's connections, over workers and runs.
    pub standard_deviation: f64,
}

/// Measures it.
pub fn measure(cpus: &Cpus, backend: &Addresses) -> anyhow::Result<Skew> {
    let work = work::find("http1-small").context("no such work")?;
    let (mut ratios, mut squares) = (Vec::new(), 0.0);
    for _ in 0..RUNS {
        let started = peers::start(Proxy::Lastcall, work, &cpus.proxy, WORKERS, backend)?;
        let address = started.address;
        let _holder = Holder::start(&cpus.load, HTTP1_IDLE, address, CONNECTIONS)?;
        let counts = by_worker(started.running.pid(), address.port())?;
        let sum: usize = counts.iter().sum();
        ensure!(
            counts.len() <= WORKERS && sum == CONNECTIONS,
            "{CONNECTIONS} connections were found as {counts:?}"
        );
        #[allow(clippy::cast_precision_loss)] // A thousand.
        {
            let mean = CONNECTIONS as f64 / WORKERS as f64;
            let most = counts.iter().max().copied().unwrap_or(0) as f64;
            ratios.push(most / mean);
            let idle = WORKERS - counts.len();
            let all = counts.iter().copied().chain(vec![0; idle]);
            squares += all.map(|count| (count as f64 - mean).powi(2)).sum::<f64>();
        }
    }
    ratios.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss)] // Twenty.
    let variance = squares / (RUNS * WORKERS) as f64;
    Ok(Skew {
        workers: WORKERS,
        connections: CONNECTIONS,
        runs: RUNS,
        median_max_over_mean: ratios[RUNS / 2],
        worst_max_over_mean: ratios[RUNS - 1],
        standard_deviation: variance.sqrt(),
    })
}

/// Connections to that port in each epoll instance that has any.
fn by_worker(pid: u32, port: u16) -> anyhow::Result<Vec<usize>> {
    let process = Path::new("/proc").join(pid.to_string());
    let accepted = accepted(&process, port)?;
    let mut descriptors = BTreeMap::new();
    let mut instances = Vec::new();
    for entry in fs::read_dir(process.join("fd"))? {
        let name = entry?.file_name();
        let Ok(link) = fs::read_link(process.join("fd").join(&name)) else {
            continue; // closed meanwhile
        };
        let link = link.to_string_lossy().into_owned();
        let name = name.to_string_lossy().into_owned();
        if link == "anon_inode:[eventpoll]" {
            instances.push(name);
        } else if let Some(inode) = link.strip_prefix("socket:[") {
            let inode = inode.trim_end_matches(']').to_owned();
            descriptors.insert(name, inode);
        }
    }
    // A runtime has two descriptors for one instance, so they are told apart by what is in them.
    let mut sets = BTreeSet::new();
    for name in instances {
        let text = fs::read_to_string(process.join("fdinfo").join(&name))?;
        let watched = text.lines().filter_map(|line| {
            let descriptor = line.strip_prefix("tfd:")?.split_whitespace().next()?;
            let inode = descriptors.get(descriptor)?;
            accepted.contains(inode).then(|| inode.clone())
        });
        sets.insert(watched.collect::<BTreeSet<_>>());
    }
    let counts = sets.iter().map(BTreeSet::len);
    Ok(counts.filter(|count| *count > 0).collect())
}

/// Inodes of the established sockets whose own port this is.
fn accepted(process: &Path, port: u16) -> anyhow::Result<BTreeSet<String>> {
    let table = fs::read_to_string(process.join("net/tcp"))?;
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let ours = columns.get(1)?.ends_with(&port) && *columns.get(3)? == ESTABLISHED;
        ours.then(|| columns.get(9).map(ToString::to_string))?
    });
    Ok(rows.collect())
}
