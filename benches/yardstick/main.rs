//! `make bench`: what a request costs in lastcall, HAProxy and nginx, measured in turns within one run,
//! and what an idle connection costs. Writes `benches/report.md` and `benches/report.json`.
//!
//! The proxy under test has one CPU to itself, the load generator and the backend share another. The figure
//! is the proxy's CPU time a request, which is stable where requests a second are not. The program is its
//! own load generator and its own backend: it starts itself again in those parts.

mod backend;
mod idle;
mod load;
mod peers;
mod process;
mod report;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};

use load::{Generator, Turn};
use peers::Peer;
use process::{Cpus, Running};
use report::{IdleCost, Report, Sample};

/// Turns of each proxy.
const ROUNDS: usize = 7;
/// Requests of one turn, after `WARM_UP` that are not counted.
const REQUESTS: u64 = 100_000;
const WARM_UP: u64 = 5_000;
/// Client connections, each with one request at a time.
const CONNECTIONS: usize = 32;
/// Idle connections, where the limit of open files allows them.
const IDLE: usize = 10_000;
/// Connections to the backend that a proxy may open within a turn; a proxy that keeps them opens none.
const NEW_UPSTREAMS: u64 = CONNECTIONS as u64;
/// After the last request, before the memory is read.
const SETTLE: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [backend::PART, address] => backend::run(address.parse()?),
        [load::PART, address] => load::run(address.parse()?),
        [idle::PART, address, count] => idle::run(address.parse()?, count.parse()?),
        // Cargo says `--bench`, and hands on the filter it was given.
        _ => measure(),
    }
}

fn measure() -> anyhow::Result<()> {
    let cpus = Cpus::two()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let backend = process::free_address()?;
    let _backend = Running::part(&cpus.load, &[backend::PART, &backend.to_string()], backend)?;
    let peers = peers::all(folder.path(), backend)?;
    let mut report = Report::new(&peers);
    for round in 0..ROUNDS {
        for at in 0..peers.len() {
            // Another one begins each round.
            let peer = &peers[(at + round) % peers.len()];
            let sample =
                turn(peer, &cpus, backend).with_context(|| format!("measuring {}", peer.name))?;
            eprintln!("round {}/{ROUNDS} {:<14} {sample}", round + 1, peer.name);
            report.add(peer, sample);
        }
    }
    for peer in peers.iter().filter(|peer| !peer.bare) {
        let cost =
            idle_cost(peer, &cpus).with_context(|| format!("idle memory of {}", peer.name))?;
        eprintln!("idle {:<14} {cost}", peer.name);
        report.add_idle(peer, cost);
    }
    let written = report.write()?;
    println!("{written}");
    Ok(())
}

/// One proxy's turn: started afresh, warmed up, measured, ended.
fn turn(peer: &Peer, cpus: &Cpus, backend: SocketAddr) -> anyhow::Result<Sample> {
    let running = peer.start(&cpus.proxy)?;
    let mut generator = Generator::start(&cpus.load, peer.address)?;
    generator.send(Turn {
        connections: CONNECTIONS,
        requests: WARM_UP,
    })?;
    let upstreams = backend::connections(backend)?;
    let before = running.cpu_time()?;
    let outcome = generator.send(Turn {
        connections: CONNECTIONS,
        requests: REQUESTS,
    })?;
    let used = running.cpu_time()? - before;
    // The question itself takes a connection.
    let opened = backend::connections(backend)?.saturating_sub(upstreams + 1);
    ensure!(
        opened <= NEW_UPSTREAMS,
        "it opened {opened} connections to the backend: it does not keep them"
    );
    Ok(Sample::new(
        used,
        &outcome,
        running.resident_bytes()?,
        REQUESTS,
    ))
}

/// What idle connections add to the memory of one proxy.
fn idle_cost(peer: &Peer, cpus: &Cpus) -> anyhow::Result<IdleCost> {
    let count = IDLE.min(process::open_files()?.saturating_sub(1_000));
    let running = peer.start(&cpus.proxy)?;
    let warm = idle::Holder::start(&cpus.load, peer.address, 100)?;
    drop(warm);
    std::thread::sleep(SETTLE);
    let before = running.resident_bytes()?;
    let _holder = idle::Holder::start(&cpus.load, peer.address, count)?;
    std::thread::sleep(SETTLE);
    Ok(IdleCost {
        connections: count,
        before,
        after: running.resident_bytes()?,
    })
}
