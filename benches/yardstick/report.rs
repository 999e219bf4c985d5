//! What was measured, as `benches/report.md` for people and `benches/report.json` for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::load::Outcome;
use crate::peers::Peer;
use crate::process::CpuTime;
use crate::{CONNECTIONS, REQUESTS, ROUNDS};

/// Name of this work among those that the report may have.
const WORK: &str = "http1-small";
const MIB: f64 = 1024.0 * 1024.0;

/// One turn of one proxy.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    user_micros: f64,
    system_micros: f64,
    requests_per_second: f64,
    p99_millis: f64,
    rss_mib: f64,
}

impl Sample {
    /// Of a turn of so many requests.
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    pub fn new(used: CpuTime, outcome: &Outcome, resident: u64, requests: u64) -> Self {
        let requests = requests as f64;
        Self {
            user_micros: used.user * 1e6 / requests,
            system_micros: used.system * 1e6 / requests,
            requests_per_second: requests / outcome.seconds,
            p99_millis: outcome.p99_millis,
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
            "{:5.2} us/request ({:.2} user), {:.0} requests/s, p99 {:.2} ms, {:.1} MiB",
            self.micros(),
            self.user_micros,
            self.requests_per_second,
            self.p99_millis,
            self.rss_mib
        )
    }
}

/// What idle connections add.
#[derive(Clone, Copy, Debug)]
pub struct IdleCost {
    /// How many there were.
    pub connections: usize,
    /// Resident bytes without them.
    pub before: u64,
    /// And with them.
    pub after: u64,
}

impl IdleCost {
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    fn kib_each(&self) -> f64 {
        (self.after as f64 - self.before as f64) / 1024.0 / self.connections as f64
    }

    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    fn mib(&self) -> f64 {
        self.after as f64 / MIB
    }
}

impl fmt::Display for IdleCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, kib, mib) = (self.connections, self.kib_each(), self.mib());
        write!(
            f,
            "{count} connections: {kib:.2} KiB each, {mib:.1} MiB in all"
        )
    }
}

/// Everything measured in one run.
pub struct Report {
    /// Name and version, in the order of the run.
    peers: Vec<(&'static str, String)>,
    samples: BTreeMap<&'static str, Vec<Sample>>,
    idle: BTreeMap<&'static str, IdleCost>,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(peers: &[Peer]) -> Self {
        Self {
            peers: peers.iter().map(|p| (p.name, p.version.clone())).collect(),
            samples: BTreeMap::new(),
            idle: BTreeMap::new(),
        }
    }

    /// Adds a turn.
    pub fn add(&mut self, peer: &Peer, sample: Sample) {
        self.samples.entry(peer.name).or_default().push(sample);
    }

    /// Adds what idle connections cost.
    pub fn add_idle(&mut self, peer: &Peer, cost: IdleCost) {
        self.idle.insert(peer.name, cost);
    }

    /// Writes both files and returns the one for people.
    pub fn write(&self) -> anyhow::Result<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        let machine = machine()?;
        let (text, values) = (self.text(&machine)?, self.values(&machine));
        fs::write(folder.join("report.md"), &text).context("cannot write benches/report.md")?;
        let values = serde_json::to_string_pretty(&values)? + "\n";
        fs::write(folder.join("report.json"), values)
            .context("cannot write benches/report.json")?;
        Ok(text)
    }

    fn median(&self, name: &str, what: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples[name].iter().map(what).collect())
    }

    /// Lowest and highest CPU time a request over the rounds.
    fn range(&self, name: &str) -> (f64, f64) {
        let all = || self.samples[name].iter().map(Sample::micros);
        (
            all().fold(f64::INFINITY, f64::min),
            all().fold(0.0, f64::max),
        )
    }

    /// CPU time of `name` over that of `other`, each round by itself: lowest, median, highest.
    fn ratio(&self, name: &str, other: &str) -> (f64, f64, f64) {
        let pairs = self.samples[name].iter().zip(&self.samples[other]);
        let mut all: Vec<f64> = pairs.map(|(a, b)| a.micros() / b.micros()).collect();
        all.sort_by(f64::total_cmp);
        (all[0], median(all.clone()), all[all.len() - 1])
    }

    fn values(&self, machine: &str) -> Value {
        let mut rows: Vec<Value> = self.peers.iter().map(|(name, _)| self.row(name)).collect();
        for (name, cost) in &self.idle {
            rows.push(json!({
                "work": "http1-idle",
                "proxy": name,
                "connections": cost.connections,
                "rssMiB": round(cost.mib()),
                "kibPerConnection": round(cost.kib_each()),
            }));
        }
        let versions: BTreeMap<_, _> = self.peers.iter().map(|(n, v)| (n, v)).collect();
        json!({"machine": machine, "versions": versions, "rows": rows})
    }

    fn row(&self, name: &str) -> Value {
        let (low, high) = self.range(name);
        json!({
            "work": WORK,
            "proxy": name,
            "cpuMicrosPerRequest": round(self.median(name, Sample::micros)),
            "userMicrosPerRequest": round(self.median(name, |s| s.user_micros)),
            "systemMicrosPerRequest": round(self.median(name, |s| s.system_micros)),
            "requestsPerSecond": self.median(name, |s| s.requests_per_second).round(),
            "p99Millis": round(self.median(name, |s| s.p99_millis)),
            "rssMiB": round(self.median(name, |s| s.rss_mib)),
            "spread": [round(low), round(high)],
        })
    }

    fn text(&self, machine: &str) -> Result<String, fmt::Error> {
        let mut out = String::from("# What a request costs\n\n");
        writeln!(out, "Written by `make bench`. {machine}.\n")?;
        for (name, version) in self.peers.iter().filter(|(n, _)| !n.ends_with("-bare")) {
            writeln!(out, "- {name}: {version}")?;
        }
        writeln!(
            out,
            "\n## {WORK}\n\n65 bytes of content, {CONNECTIONS} keep-alive connections with one request \
             at a time each, one worker, connections to the backend kept. The proxy alone on one CPU, load \
             generator and backend on another. {ROUNDS} rounds in turns, {REQUESTS} requests each; median, \
             in parentheses lowest and highest. CPU time is the process's own, from /proc/PID/stat; \
             requests a second and p99 are at full load of the generator's CPU and say little.\n"
        )?;
        out += "| proxy | CPU µs/request | user | system | lastcall against it | RSS MiB | requests/s | p99 ms |\n\
                |---|---|---|---|---|---|---|---|\n";
        for (name, _) in &self.peers {
            self.line(&mut out, name)?;
        }
        out += "\nhaproxy and nginx send the backend the same fields that lastcall does (X-Forwarded-For, \
                -Proto, -Host, X-Real-IP, Forwarded, X-Request-Id, Via); `-bare` sends X-Forwarded-For \
                only.\n\n## http1-idle\n\nKeep-alive connections that made one request each and fell \
                silent; resident memory of the process (what the kernel keeps for sockets is not in \
                it).\n\n| proxy | connections | RSS MiB | KiB a connection |\n|---|---|---|---|\n";
        for (name, cost) in &self.idle {
            let (count, mib, kib) = (cost.connections, cost.mib(), cost.kib_each());
            writeln!(out, "| {name} | {count} | {mib:.1} | {kib:.2} |")?;
        }
        Ok(out)
    }

    fn line(&self, out: &mut String, name: &str) -> fmt::Result {
        let (low, high) = self.range(name);
        let ratio = if name == "lastcall" {
            String::new()
        } else {
            let (low, middle, high) = self.ratio("lastcall", name);
            format!("{middle:.2} ({low:.2}–{high:.2})")
        };
        writeln!(
            out,
            "| {name} | {:.2} ({low:.2}–{high:.2}) | {:.2} | {:.2} | {ratio} | {:.1} | {:.0} | {:.2} |",
            self.median(name, Sample::micros),
            self.median(name, |s| s.user_micros),
            self.median(name, |s| s.system_micros),
            self.median(name, |s| s.rss_mib),
            self.median(name, |s| s.requests_per_second),
            self.median(name, |s| s.p99_millis),
        )
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// To two digits after the point.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// CPU, how many of them, and the kernel.
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
