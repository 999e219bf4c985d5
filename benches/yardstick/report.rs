//! What was measured: the values of `benches/report.json`, and the two files. `text` writes the one for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::costs::Costs;
use crate::load::Outcome;
use crate::peers::Proxy;
use crate::process::CpuTime;
use crate::skew::Skew;
use crate::{summary, text};

const MIB: f64 = 1024.0 * 1024.0;

/// One turn of one proxy.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    user_micros: f64,
    system_micros: f64,
    peak: f64,
    half: Outcome,
    rss_mib: f64,
}

impl Sample {
    /// Of a turn at full load that used so much, and one at half load.
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    pub fn new(used: CpuTime, peak: &Outcome, half: &Outcome, resident: u64) -> Self {
        let exchanges = peak.exchanges as f64;
        Self {
            user_micros: used.user * 1e6 / exchanges,
            system_micros: used.system * 1e6 / exchanges,
            peak: exchanges / peak.seconds,
            half: *half,
            rss_mib: resident as f64 / MIB,
        }
    }

    fn micros(&self) -> f64 {
        self.user_micros + self.system_micros
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:6.2} us ({:.2} user), {:.0}/s, at half p50 {:.2} p99 {:.2} p99.9 {:.2} ms, {:.1} MiB",
            self.micros(),
            self.user_micros,
            self.peak,
            self.half.p50_millis,
            self.half.p99_millis,
            self.half.p999_millis,
            self.rss_mib
        )
    }
}

/// One proxy at one kind of work, over all rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkRow {
    /// The work's name.
    pub work: String,
    /// The proxy's.
    pub proxy: String,
    /// Median over the rounds, as all that follows: CPU time of the proxy for one exchange at full load.
    pub cpu_micros_per_request: f64,
    /// Of that in user space.
    pub user_micros: f64,
    /// And in the kernel.
    pub system_micros: f64,
    /// At full load of the generator's CPU or of the proxy's, whichever came first.
    pub requests_per_second: f64,
    /// From when an exchange was due to its answer, at half of that rate.
    pub p50_millis: f64,
    /// As above.
    pub p99_millis: f64,
    /// As above.
    pub p999_millis: f64,
    /// Resident memory after the full load.
    #[serde(rename = "rssMiB")]
    pub rss_mib: f64,
    /// Lowest and highest CPU time of the rounds.
    pub spread: [f64; 2],
    /// lastcall's CPU time over this one's, each round by itself: lowest, median, highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lastcall_against: Option<[f64; 3]>,
    /// Rounds.
    pub rounds: usize,
}

impl WorkRow {
    /// Of all proxies that took part.
    pub fn all(work: &str, samples: &[(Proxy, Vec<Sample>)]) -> Vec<Self> {
        let measured = samples.iter().filter(|(_, samples)| !samples.is_empty());
        let ours = samples.iter().find(|(proxy, _)| *proxy == Proxy::Lastcall);
        let ours = ours.map(|(_, samples)| samples.as_slice());
        let rows = measured.map(|(proxy, samples)| {
            let against = ours.filter(|_| *proxy != Proxy::Lastcall);
            Self::one(work, proxy.name(), samples, against)
        });
        rows.collect()
    }

    fn one(work: &str, proxy: &str, samples: &[Sample], ours: Option<&[Sample]>) -> Self {
        let median = |what: fn(&Sample) -> f64| round(quantiles(samples.iter().map(what))[1]);
        let cpu = quantiles(samples.iter().map(Sample::micros));
        let against = ours.filter(|ours| !ours.is_empty()).map(|ours| {
            let pairs = ours.iter().zip(samples);
            quantiles(pairs.map(|(ours, theirs)| ours.micros() / theirs.micros())).map(round)
        });
        // A turn may have been too short for the kernel's clock to see it.
        let against = against.filter(|all| all.iter().all(|ratio| ratio.is_finite()));
        Self {
            work: work.to_owned(),
            proxy: proxy.to_owned(),
            cpu_micros_per_request: round(cpu[1]),
            user_micros: median(|s| s.user_micros),
            system_micros: median(|s| s.system_micros),
            requests_per_second: median(|s| s.peak).round(),
            p50_millis: median(|s| s.half.p50_millis),
            p99_millis: median(|s| s.half.p99_millis),
            p999_millis: median(|s| s.half.p999_millis),
            rss_mib: median(|s| s.rss_mib),
            spread: [round(cpu[0]), round(cpu[2])],
            lastcall_against: against,
            rounds: samples.len(),
        }
    }
}

/// Memory with idle connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdleRow {
    /// What they speak.
    pub work: String,
    /// The proxy.
    pub proxy: String,
    /// How many there are.
    pub connections: usize,
    /// Resident memory with them.
    #[serde(rename = "rssMiB")]
    pub rss_mib: f64,
    /// What each of them adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kib_per_connection: Option<f64>,
}

impl IdleRow {
    /// So many bytes with, and without.
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    pub fn new(work: &str, proxy: &str, connections: usize, before: u64, with: u64) -> Self {
        let more = (with as f64 - before as f64) / 1024.0;
        Self {
            work: work.to_owned(),
            proxy: proxy.to_owned(),
            connections,
            rss_mib: round(with as f64 / MIB),
            kib_per_connection: (connections > 0).then(|| round(more / connections as f64)),
        }
    }
}

impl fmt::Display for IdleRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (work, proxy, mib) = (&self.work, &self.proxy, self.rss_mib);
        write!(
            f,
            "{work} {proxy:<13} {:>6} connections: {mib:.1} MiB",
            self.connections
        )
    }
}

/// A row of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Row {
    /// Of work.
    Work(WorkRow),
    /// Of idle connections.
    Idle(IdleRow),
}

impl Row {
    fn work(&self) -> &str {
        match self {
            Row::Work(row) => &row.work,
            Row::Idle(row) => &row.work,
        }
    }
}

/// In place of a work's name, where a proxy is not there at all.
pub const EVERYTHING: &str = "everything";

/// Who was not measured, at what, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    /// The proxy.
    pub proxy: String,
    /// The work.
    pub work: String,
    /// The reason.
    pub why: String,
}

impl LeftOut {
    /// In one line.
    pub fn new(proxy: &str, work: &str, why: &str) -> Self {
        Self {
            proxy: proxy.to_owned(),
            work: work.to_owned(),
            why: why.to_owned(),
        }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// CPU, how many of them, and the kernel.
    pub machine: String,
    /// Of the proxies.
    pub versions: BTreeMap<String, String>,
    /// Everything that has a proxy.
    pub rows: Vec<Row>,
    /// What has not.
    pub left_out: Vec<LeftOut>,
    /// How evenly connections fall to workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew: Option<Skew>,
    /// What the gate and the metrics cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
}

impl Report {
    /// Nothing measured yet, on this machine.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            machine: machine()?,
            ..Self::default()
        })
    }

    /// Works of which there are rows or reasons.
    fn works(&self) -> BTreeSet<&str> {
        let rows = self.rows.iter().map(Row::work);
        rows.chain(self.left_out.iter().map(|one| one.work.as_str()))
            .collect()
    }

    /// Takes from the report that is there what was not measured now, if that was this machine too.
    pub fn add_last(&mut self) {
        let last = fs::read_to_string(folder().join("report.json"));
        let last = last
            .ok()
            .and_then(|text| serde_json::from_str::<Self>(&text).ok());
        let Some(last) = last.filter(|last| last.machine == self.machine) else {
            return;
        };
        let measured: BTreeSet<String> = self.works().into_iter().map(str::to_owned).collect();
        let rows = last.rows.into_iter();
        self.rows
            .extend(rows.filter(|row| !measured.contains(row.work())));
        let left_out = last.left_out.into_iter();
        let left_out = left_out.filter(|one| one.work != EVERYTHING);
        self.left_out
            .extend(left_out.filter(|one| !measured.contains(&one.work)));
        for (name, version) in last.versions {
            self.versions.entry(name).or_insert(version);
        }
        self.skew = self.skew.take().or(last.skew);
        self.costs = self.costs.or(last.costs);
    }

    /// Writes both files, and the summary in README.
    pub fn write(&self) -> anyhow::Result<()> {
        let write = |name: &str, text: String| {
            fs::write(folder().join(name), text)
                .with_context(|| format!("cannot write benches/{name}"))
        };
        write("report.md", text::report(self)?)?;
        write("report.json", serde_json::to_string_pretty(self)? + "\n")?;
        let readme = folder().with_file_name("README.md");
        let text = fs::read_to_string(&readme).context("README.md")?;
        fs::write(readme, summary::renew(&text, self)?).context("cannot write README.md")
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

/// Lowest, median and highest.
fn quantiles(all: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut all: Vec<f64> = all.collect();
    all.sort_by(f64::total_cmp);
    let at = |index: usize| all.get(index).copied().unwrap_or(f64::NAN);
    let last = all.len().saturating_sub(1);
    // Of an even number, the mean of the two in the middle.
    let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
    [at(0), median, at(last)]
}

/// To two digits after the point.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn machine() -> anyhow::Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let count = info.lines().filter(|l| l.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{count} × {model}, Linux {}", kernel.trim()))
}
