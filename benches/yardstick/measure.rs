//! The turns: each proxy is started afresh, warmed up, measured at full load and at half of it, and ended; then
//! the next one; and all of that over and over, so that a slow minute of the machine is everybody's.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::backend::{self, Addresses};
use crate::load::{Generator, Turn};
use crate::options::Options;
use crate::peers::{self, Part, Proxy};
use crate::process::Cpus;
use crate::report::{LeftOut, Sample, WorkRow};
use crate::work::{Ask, Speaks, Work};

/// Not counted: until buffers have grown and connections to the backend are there.
const WARM_UP: f64 = 0.3;
/// What starting and ending a proxy and its clients takes, about, in seconds.
const OVERHEAD: f64 = 0.6;

/// How long that work will take, about.
pub fn estimate(options: &Options, pairs: usize) -> Duration {
    #[allow(clippy::cast_precision_loss)] // Some hundreds.
    let turns = (pairs * options.rounds) as f64;
    Duration::from_secs_f64(turns * (options.seconds * 1.5 + WARM_UP + OVERHEAD))
}

/// All rounds of one kind of work: the rows, and who could not do it.
pub fn work(
    work: &Work,
    proxies: &[Proxy],
    options: &Options,
    cpus: &Cpus,
    backend: &Addresses,
) -> (Vec<WorkRow>, Vec<LeftOut>) {
    let mut left_out = Vec::new();
    let mut samples: Vec<(Proxy, Vec<Sample>)> = Vec::new();
    for &proxy in proxies {
        match proxy.part(work) {
            Part::Takes => samples.push((proxy, Vec::new())),
            Part::LeftOut(why) => left_out.push(LeftOut::new(proxy.name(), work.name, why)),
            Part::None => {}
        }
    }
    for round in 0..options.rounds {
        // Another one begins each round.
        let first = round % samples.len().max(1);
        let mut failed = Vec::new();
        for at in (first..samples.len()).chain(0..first) {
            let (proxy, taken) = &mut samples[at];
            match twice(*proxy, work, options, cpus, backend) {
                Ok(sample) => {
                    let (name, round) = (work.name, round + 1);
                    eprintln!(
                        "{name} {round}/{} {:<13} {sample}",
                        options.rounds,
                        proxy.name()
                    );
                    taken.push(sample);
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    eprintln!("{} {} is left out: {why}", work.name, proxy.name());
                    failed.push(*proxy);
                    left_out.push(LeftOut::new(proxy.name(), work.name, &why));
                }
            }
        }
        samples.retain(|(proxy, _)| !failed.contains(proxy));
    }
    (WorkRow::all(work.name, &samples), left_out)
}

/// A turn, and where it fails, another one: a port may have been taken in between.
fn twice(
    proxy: Proxy,
    work: &Work,
    options: &Options,
    cpus: &Cpus,
    backend: &Addresses,
) -> anyhow::Result<Sample> {
    turn(proxy, work, options, cpus, backend).or_else(|error| {
        eprintln!("{} {} once more: {error:#}", work.name, proxy.name());
        turn(proxy, work, options, cpus, backend)
    })
}

fn turn(
    proxy: Proxy,
    work: &Work,
    options: &Options,
    cpus: &Cpus,
    backend: &Addresses,
) -> anyhow::Result<Sample> {
    let started = peers::start(proxy, work, &cpus.proxy, 1, backend)?;
    let mut generator = Generator::start(&cpus.load, started.address, work)?;
    let full = |seconds| Turn {
        seconds,
        rate: None,
    };
    generator.send(full(WARM_UP))?;
    let upstreams = backend::connections(backend.http)?;
    let before = started.running.cpu_time()?;
    let peak = generator.send(full(options.seconds))?;
    let used = started.running.cpu_time()? - before;
    // The question itself takes a connection.
    let opened = backend::connections(backend.http)?.saturating_sub(upstreams + 1);
    keeps_connections(work, opened)?;
    let resident = started.running.resident_bytes()?;
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    let rate = peak.exchanges as f64 / peak.seconds / 2.0;
    let half = generator
        .send(Turn {
            seconds: options.seconds / 2.0,
            rate: Some(rate),
        })
        .context("at half load")?;
    Ok(Sample::new(used, &peak, &half, resident))
}

/// Connections to the backend are kept: a proxy may open a few more, but not one a request.
fn keeps_connections(work: &Work, opened: u64) -> anyhow::Result<()> {
    let counted = matches!(work.speaks, Speaks::Http | Speaks::Https | Speaks::Http2);
    let allowed = (work.connections * work.streams) as u64;
    ensure!(
        !counted || work.ask == Ask::WebSocket || opened <= allowed,
        "it opened {opened} connections to the backend: it does not keep them"
    );
    Ok(())
}
