//! What a run is to measure, from the environment: the whole yardstick, or a part of it in a minute.

use std::env;
use std::fmt::Display;
use std::str::FromStr;

use anyhow::{anyhow, ensure};

use crate::peers::{self, Proxy};
use crate::work::{self, FIGURES, WORKS, Work};

/// What `--help` says.
pub const HELP: &str = "\
What a request costs in lastcall and in its peers, as CPU time of the proxy, measured in turns within one run.

Usage: make bench [VARIABLE=VALUE ...]
       VARIABLE=VALUE ... cargo bench --bench yardstick

Variables:
  BENCH_WORK     what is measured, by name, with commas between [all of them]
  BENCH_PROXIES  which proxies, by name, with commas between [all that are installed]
  BENCH_ROUNDS   turns of each proxy [5]
  BENCH_SECONDS  length of a turn at full load; half of that at half load [2]
  BENCH_WRITE    yes: write what was measured into the report, in place of its last figures
                 [yes for everything, no for a part; never where proxies are left out by BENCH_PROXIES]

The proxy has the first CPU that this program may use, the load generator and the backend have the second. For
figures that are worth keeping nothing else should run. Writes benches/report.md, benches/report.json, and a
summary into README.md.
";

/// A run.
#[derive(Debug)]
pub struct Options {
    /// Kinds of work, in the order of the report.
    pub works: Vec<&'static Work>,
    /// Further figures.
    pub figures: Vec<&'static str>,
    /// Proxies, in the order of the report.
    pub proxies: Vec<Proxy>,
    /// Turns of each proxy.
    pub rounds: usize,
    /// Length of a turn.
    pub seconds: f64,
    /// Whether the report is written.
    pub writes: bool,
}

impl Options {
    /// As the environment says.
    pub fn from_environment() -> anyhow::Result<Self> {
        let wanted = list("BENCH_WORK");
        let works = WORKS.iter().filter(|work| has(wanted.as_ref(), work.name));
        let figures = FIGURES.iter().filter(|name| has(wanted.as_ref(), name));
        let chosen = list("BENCH_PROXIES");
        let proxies = peers::ALL.iter().filter(|p| has(chosen.as_ref(), p.name()));
        for name in wanted.iter().flatten() {
            let known = work::find(name).is_some() || FIGURES.contains(&name.as_str());
            ensure!(known, "BENCH_WORK: no {name}; there are {}", names());
        }
        for name in chosen.iter().flatten() {
            let all: Vec<_> = peers::ALL.iter().map(|p| p.name()).collect();
            let known = all.contains(&name.as_str());
            ensure!(
                known,
                "BENCH_PROXIES: no {name}; there are {}",
                all.join(", ")
            );
        }
        let writes = match env::var("BENCH_WRITE").as_deref() {
            Ok("yes") => true,
            Ok("no") => false,
            Ok(other) => return Err(anyhow!("BENCH_WRITE: {other:?} is neither yes nor no")),
            Err(_) => wanted.is_none(),
        };
        let options = Self {
            works: works.collect(),
            figures: figures.copied().collect(),
            proxies: proxies.copied().collect(),
            rounds: number("BENCH_ROUNDS", 5)?,
            seconds: number("BENCH_SECONDS", 2.0)?,
            // Who is compared must have been measured in the same run.
            writes: writes && chosen.is_none(),
        };
        ensure!(options.rounds > 0, "BENCH_ROUNDS: at least 1");
        ensure!(options.seconds >= 0.1, "BENCH_SECONDS: at least 0.1");
        Ok(options)
    }

    /// Whether that figure is to be measured.
    pub fn wants(&self, figure: &str) -> bool {
        self.figures.contains(&figure)
    }
}

fn names() -> String {
    let works = WORKS.iter().map(|work| work.name);
    works
        .chain(FIGURES.iter().copied())
        .collect::<Vec<_>>()
        .join(", ")
}

fn list(variable: &str) -> Option<Vec<String>> {
    let value = env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(
        value
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect(),
    )
}

fn has(wanted: Option<&Vec<String>>, name: &str) -> bool {
    wanted.is_none_or(|names| names.iter().any(|one| one == name))
}

fn number<T: FromStr<Err: Display>>(variable: &str, otherwise: T) -> anyhow::Result<T> {
    match env::var(variable) {
        Ok(text) => text.parse().map_err(|error| anyhow!("{variable}: {error}")),
        Err(_) => Ok(otherwise),
    }
}
