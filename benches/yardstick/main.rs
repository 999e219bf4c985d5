//! `make bench`: what an exchange costs in lastcall, HAProxy, nginx, Envoy and Pingora, measured in turns within
//! one run; what an idle connection costs; how connections fall to workers. Writes `benches/report.md`,
//! `benches/report.json`, and a summary into README.
//!
//! The proxy under test has one CPU to itself, the load generator and the backend share another. The figure
//! is the proxy's CPU time an exchange, which is stable where requests a second are not. The program is its
//! own load generator and its own backend: it starts itself again in those parts.

mod backend;
mod costs;
mod idle;
mod load;
mod measure;
mod options;
mod peers;
mod process;
mod report;
mod skew;
mod summary;
mod text;
mod wire;
mod work;

use anyhow::{Context, ensure};

use backend::Addresses;
use options::Options;
use peers::{Part, Proxy};
use process::Cpus;
use report::{EVERYTHING, LeftOut, Report, Row};
use work::{COSTS, HTTP1_IDLE, SKEW, TLS_IDLE};

// lastcall's own: the generator should cost little.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [backend::PART, http, grpc, tcp] => backend::run(http, grpc, tcp),
        [load::PART, work, address] => {
            let work = work::find(work).context("no such work")?;
            load::run(work, address.parse()?)
        }
        [idle::PART, figure, address, count] => idle::run(figure, address.parse()?, count.parse()?),
        _ if args.contains(&"--help") || args.contains(&"-h") => {
            print!("{}", options::HELP);
            Ok(())
        }
        // Cargo says `--bench`, and hands on the filter it was given.
        _ => run(&Options::from_environment()?),
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::new()?;
    let proxies = installed(options, &mut report);
    ensure!(
        proxies.contains(&Proxy::Lastcall),
        "lastcall itself is not among the proxies"
    );
    announce(options, &proxies, &report);
    let cpus = Cpus::two()?;
    let (addresses, _backend) = backend::start(&cpus.load)?;
    for work in &options.works {
        let (rows, left_out) = measure::work(work, &proxies, options, &cpus, &addresses);
        report.rows.extend(rows.into_iter().map(Row::Work));
        report.left_out.extend(left_out);
    }
    for figure in [HTTP1_IDLE, TLS_IDLE] {
        if options.wants(figure) {
            idle_rows(figure, &proxies, &cpus, &addresses, &mut report);
        }
    }
    if options.wants(SKEW) {
        eprintln!("{SKEW}");
        report.skew = Some(skew::measure(&cpus, &addresses).context(SKEW)?);
    }
    if options.wants(COSTS) {
        eprintln!("{COSTS}");
        report.costs = Some(costs::measure());
    }
    finish(options, report)
}

/// The proxies that can be started; of the others the report says why not.
fn installed(options: &Options, report: &mut Report) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for &proxy in &options.proxies {
        match proxy.version() {
            Ok(version) => {
                let program = proxy.name().trim_end_matches("-bare");
                report.versions.insert(program.to_owned(), version);
                proxies.push(proxy);
            }
            Err(error) => {
                let why = format!("{error:#}");
                let left_out = LeftOut::new(proxy.name(), EVERYTHING, &why);
                report.left_out.push(left_out);
            }
        }
    }
    proxies
}

/// Says what is about to happen.
fn announce(options: &Options, proxies: &[Proxy], report: &Report) {
    let pairs = options.works.iter().map(|work| {
        let takes = |proxy: &&Proxy| matches!(proxy.part(work), Part::Takes);
        proxies.iter().filter(takes).count()
    });
    let takes = measure::estimate(options, pairs.sum());
    let (rounds, seconds) = (options.rounds, options.seconds);
    println!(
        "{}: {rounds} rounds, {seconds} s at full load and {} s at half.",
        report.machine,
        seconds / 2.0
    );
    for (name, version) in &report.versions {
        println!("  {name}: {version}");
    }
    for work in &options.works {
        for proxy in proxies {
            if let Part::LeftOut(why) = proxy.part(work) {
                println!("  left out: {}, {}: {why}", work.name, proxy.name());
            }
        }
    }
    for one in &report.left_out {
        println!("  left out: {}, {}: {}", one.work, one.proxy, one.why);
    }
    let more = if options.figures.is_empty() {
        ""
    } else {
        ", and a few for idle connections and workers"
    };
    println!(
        "About {:.0} min{more}. Nothing else should run meanwhile.",
        takes.as_secs_f64() / 60.0
    );
}

fn idle_rows(
    figure: &'static str,
    proxies: &[Proxy],
    cpus: &Cpus,
    backend: &Addresses,
    report: &mut Report,
) {
    for proxy in proxies.iter().filter(|proxy| proxy.is_whole()) {
        match idle::measure(figure, *proxy, cpus, backend) {
            Ok(rows) => {
                for row in rows {
                    eprintln!("{row}");
                    report.rows.push(Row::Idle(row));
                }
            }
            Err(error) => {
                let why = format!("{error:#}");
                eprintln!("{figure} {} is left out: {why}", proxy.name());
                report
                    .left_out
                    .push(LeftOut::new(proxy.name(), figure, &why));
            }
        }
    }
}

/// Prints and writes what was measured. That lastcall could not do something is a failure, not a remark.
fn finish(options: &Options, mut report: Report) -> anyhow::Result<()> {
    println!("\n{}", text::measured(&report)?);
    let ours = report.left_out.iter().filter(|one| one.proxy == "lastcall");
    let failed: Vec<String> = ours
        .map(|one| format!("{}: {}", one.work, one.why))
        .collect();
    if options.writes {
        report.add_last();
        report.write()?;
        println!("Written: benches/report.md, benches/report.json, and the summary in README.md.");
    } else {
        println!("The report in benches/ stays as it was.");
    }
    ensure!(
        failed.is_empty(),
        "lastcall failed at {}",
        failed.join("; ")
    );
    Ok(())
}
