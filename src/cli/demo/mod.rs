//! `lastcall demo`: shows on this machine what draining is for. Two lastcalls, two sets of servers, the same
//! load at the same moments; one with `connectionDraining.enabled: false`, one with true, nothing else
//! differs. Both play a scale-in with 50 requests in flight on the victim and a rolling update, as a
//! cluster would (hook, SIGTERM, SIGKILL), and the losses are counted.
//!
//! They run side by side, at the same time, so that whatever else the machine does hits both alike.

pub mod backend;
mod board;
mod drawing;
mod exchange;
pub mod hook;
mod kubelet;
pub mod load;
pub mod plan;
mod proxy;
pub mod record;
mod report;
mod scene;
mod screen;
mod timeline;
pub mod wire;

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join;
use rustix::io::Errno;
use rustix::process::{Resource, WaitOptions, getrlimit, setrlimit, wait};
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::cli::Failure;

use board::Board;
use plan::Planned;
use report::{Report, RunReport};
use scene::Run;
use timeline::Timeline;

/// What `--help` says after the options.
const AFTER_HELP: &str = "\
Exit codes:
  0    with draining nothing was lost, without it something was
  1    with draining a request failed; or nothing failed without it, and the run shows nothing; or
       the demo could not run
  2    the command line is wrong
  130  interrupted; nothing is left behind";

/// `lastcall demo`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Demo {
    /// How long it lasts, seconds (10 to 600)
    #[arg(long, default_value_t = 30, value_parser = within(10_u64, 600))]
    seconds: u64,
    /// Servers behind each of the two lastcalls (2 to 20)
    #[arg(long, default_value_t = 4, value_parser = within(2_u8, 20))]
    backends: u8,
    /// Requests a second to each of the two, on average (20 to 1000)
    #[arg(long, default_value_t = 150, value_parser = within(20_u32, 1000))]
    rate: u32,
    /// The plan of requests is drawn from this number; the same number, the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is printed on standard output
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Keep the folder with configurations, logs and the servers' records, and say where it is
    #[arg(long)]
    keep: bool,
}

/// A whole number between two others; the error says between which.
fn within<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| {
        text.parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("it takes a whole number from {least} to {most}"))
    }
}

/// What the result looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

impl Demo {
    /// Runs the demo to its end or to a signal, and leaves no process and no file behind.
    pub fn run(self) -> Result<(), Failure> {
        raise_file_limit();
        let folder = tempfile::Builder::new()
            .prefix("lastcall-demo-")
            .tempdir()
            .context("make a temporary folder")?;
        // Two runtimes: the clients may not slow the kubelet, which is elsewhere in a cluster.
        let senders = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start the load's runtime")?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        let comparison = compare(&self, folder.path(), senders.handle());
        let result = runtime.block_on(until_interrupted(comparison));
        // Its children were killed with the future; once they have ended the folder can go.
        drop(runtime);
        drop(senders);
        wait_for_children();
        put_away(folder, self.keep);
        let report = result?.ok_or(Failure::Interrupted)?;
        let text = match self.output {
            Output::Table => report.table(),
            Output::Json => serde_json::to_string_pretty(&report).context("write JSON")? + "\n",
        };
        std::io::stdout()
            .write_all(text.as_bytes())
            .context("print the result")?;
        Ok(report.check()?)
    }
}

/// The future's result, or `None` where a signal came first. Dropping the future ends the children.
async fn until_interrupted<T>(
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        result = work => result.map(Some),
        _ = interrupt.recv() => Ok(None),
        _ = terminate.recv() => Ok(None),
        _ = hangup.recv() => Ok(None),
    }
}

async fn compare(args: &Demo, folder: &Path, senders: &Handle) -> anyhow::Result<Report> {
    let servers = usize::from(args.backends);
    let timeline = Timeline::new(Duration::from_secs(args.seconds), servers);
    let plan = timeline.outline(args.seed, f64::from(args.rate)).draw();
    let plan: Arc<[Planned]> = plan.into();
    let shown = screen::rows(servers);
    let boards = [
        Arc::new(Board::new("without draining", shown)),
        Arc::new(Board::new("with draining", shown)),
    ];
    let run = |index: usize, name: &str| {
        let board = Arc::clone(&boards[index]);
        Run::start(folder.join(name), index == 1, servers, board)
    };
    let (without, with) = try_join(run(0, "without"), run(1, "with")).await?;

    // Both at the same moments. The board shows them until both are done.
    let begin = Instant::now();
    let both = try_join(
        without.play(&timeline, &plan, begin, senders),
        with.play(&timeline, &plan, begin, senders),
    );
    let (without, with) = tokio::select! {
        played = both => played?,
        never = screen::show(&boards, &timeline) => match never {},
    };
    Ok(Report {
        without_draining: RunReport::of(&without),
        with_draining: RunReport::of(&with),
        seconds: args.seconds,
        backends: servers,
        rate: args.rate,
        seed: args.seed,
    })
}

/// Hundreds of connections at both ends need more than the 1,024 files that many shells allow. What cannot
/// be raised shows as failed connections.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Waits until every child has ended; all of them have got SIGKILL.
fn wait_for_children() {
    // ECHILD says that there are none left.
    while !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
}

fn put_away(folder: TempDir, keep: bool) {
    if keep {
        eprintln!("kept: {}", folder.keep().display());
    } else if let Err(error) = folder.close() {
        eprintln!("the temporary folder could not be removed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_told_the_range() {
        let seconds = within(10_u64, 600);
        assert_eq!(seconds("10"), Ok(10));
        assert_eq!(seconds("600"), Ok(600));
        for wrong in ["9", "601", "-1", "1.5", "x", ""] {
            let error = "it takes a whole number from 10 to 600";
            assert_eq!(seconds(wrong), Err(error.to_owned()), "{wrong}");
        }
    }
}
