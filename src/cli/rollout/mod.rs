//! `lastcall rollout`: moves pods that nothing holds (they are older than the installation) one by one, so that
//! their replacements are held, and no request is lost on the way.

mod choice;
mod known;
mod moving;
mod patience;
mod report;
mod serving;
mod survey;
#[cfg(test)]
mod tests;
mod workload;

use std::time::Duration;

use clap::Args;
use k8s_openapi::api::core::v1::Pod;

use super::Failure;
use super::client::Client;
use super::cluster::Cluster;
use super::place::ClusterOptions;
use super::reach::{Output, block_on};
use crate::model::report::millis;
use choice::{Choice, choose};
use known::Known;
use moving::{Mark, Moved, Mover};
use patience::Progress;
use report::{Action, Rolled, Row, table};
use workload::{Named, Workload};

/// What `--help` says last.
const AFTER_HELP: &str = "\
Each pod is drained (annotation lastcall.dev/admin-state), evicted as PodDisruptionBudgets allow,
and its replacement is waited for: ready, and in service in the same Backends; then the next. A pod
that is the only endpoint of a Backend is not moved: nobody could serve its clients meanwhile. The
message says what to do first. Where a pod cannot be evicted, or on Ctrl-C, it is put back as it
was. Left alone: pods that are held already, and those whose replacement would be no better (a
preStop hook of its own, the label lastcall.dev/drain: disabled, no Backend and no label that asks).

Examples:
  lastcall rollout --dry-run --all-namespaces
  lastcall rollout --dry-run deployment/web
  lastcall rollout deployment/web --namespace shop";

/// Arguments of `lastcall rollout`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Rollout {
    /// deployment/NAME, statefulset/NAME or daemonset/NAME; with --dry-run all pods where absent
    #[arg(required_unless_present = "dry_run")]
    workload: Option<String>,
    /// Change nothing: show what would be moved, and why
    #[arg(long)]
    dry_run: bool,
    /// Move pods that are held already too: these are evicted, and their own hooks drain them
    #[arg(long, requires = "workload")]
    all_pods: bool,
    /// How long one pod may take until its replacement serves: 30s, 10m, or seconds
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = lastcall_hold::parse_duration)]
    timeout: Duration,
    /// Namespace [default: that of the kubeconfig's context]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// With --dry-run and without a workload: the unprotected pods of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["workload", "namespace"])]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: ClusterOptions,
    /// How to print the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

impl Rollout {
    /// Moves what is to be moved, and prints what became of each pod.
    pub fn run(self) -> Result<(), Failure> {
        block_on(async {
            let cluster = Cluster::open(&self.cluster, self.cluster.because()).await?;
            let lastcall = Client::new(cluster.way());
            let namespace = self
                .namespace
                .clone()
                .unwrap_or_else(|| cluster.namespace().to_owned());
            let Some(text) = &self.workload else {
                let scope = (!self.all_namespaces).then_some(namespace.as_str());
                let rolled = survey::unprotected(&cluster, &lastcall, scope).await?;
                return self.output.print(&survey::sentence(&rolled), &rolled);
            };
            match Named::parse(text)? {
                Named::Pod(name) => Err(workload::refuse_pod(&cluster, &namespace, &name).await),
                Named::Workload(kind, name) => {
                    let workload = Workload::read(&cluster, kind, &namespace, &name).await?;
                    let progress = Progress::new(|line| eprintln!("{line}"));
                    let mover = Mover {
                        cluster: &cluster,
                        lastcall: &lastcall,
                        workload: &workload,
                        limit: self.timeout,
                        progress: &progress,
                    };
                    let how = How {
                        all: self.all_pods,
                        dry_run: self.dry_run,
                    };
                    let interrupted = interrupted()?;
                    let (rolled, result) = roll(&mover, how, interrupted).await?;
                    self.output.print(&sentence(&workload, &rolled), &rolled)?;
                    result
                }
            }
        })
    }
}

/// Which pods, and whether in earnest.
#[derive(Clone, Copy, Debug)]
struct How {
    all: bool,
    dry_run: bool,
}

/// Moves the workload's pods, until one fails or `interrupted` resolves. What became of each, and how it ended.
async fn roll(
    mover: &Mover<'_>,
    how: How,
    interrupted: impl Future<Output = ()>,
) -> Result<(Rolled, Result<(), Failure>), Failure> {
    let workload = mover.workload;
    let pods = workload.pods(mover.cluster).await?;
    let known = Known::look(mover.cluster, mover.lastcall, Some(&workload.namespace)).await;
    let chosen: Vec<(Pod, Choice)> = pods
        .into_iter()
        .map(|pod| {
            let choice = choose(&pod, how.all, known.asks_for_the_hook(&pod));
            (pod, choice)
        })
        .collect();
    let rows = chosen.iter().map(|(pod, choice)| {
        let mut row = Row::new(pod, Some(workload.to_string()), choice, how.dry_run);
        row.backends = known.backends(pod);
        row
    });
    let mut rolled = Rolled {
        dry_run: how.dry_run,
        moved: 0,
        pods: rows.collect(),
    };
    if how.dry_run {
        return Ok((rolled, Ok(())));
    }
    let mut interrupted = std::pin::pin!(interrupted);
    for ((pod, choice), row) in chosen.iter().zip(&mut rolled.pods) {
        if matches!(choice, Choice::Leave(_)) {
            continue;
        }
        let mut mark = Mark::default();
        let result = tokio::select! {
            result = mover.move_pod(pod, choice, &mut mark) => result,
            () = &mut interrupted => Err(Failure::Interrupted),
        };
        let failed = match result {
            Ok(None) => {
                row.action = Action::Gone;
                continue;
            }
            Ok(Some(moved)) => {
                rolled.moved += 1;
                note(row, &moved);
                match moved.not_better {
                    None => continue,
                    Some(why) => not_better(&why),
                }
            }
            Err(failure) => give_up(mover, pod, &mark, row, failure).await,
        };
        return Ok((rolled, Err(failed)));
    }
    let cut: u64 = rolled.pods.iter().map(|row| row.cut).sum();
    let result = match cut {
        0 => Ok(()),
        cut => Err(Failure::NotReached(format!(
            "all pods were moved, but {cut} request(s) were cut at the drain timeout of their Backend (connectionDraining.timeoutSeconds)"
        ))),
    };
    Ok((rolled, result))
}

fn note(row: &mut Row, moved: &Moved) {
    row.action = Action::Moved;
    row.cut = moved.cut;
    row.replaced_by.clone_from(&moved.replaced_by);
    row.drain_millis = moved.drain.map(millis);
}

fn not_better(why: &str) -> Failure {
    Failure::Other(anyhow::anyhow!(
        "stopped, because the replacement is not held either: {why}. Is lastcall's webhook answering, and does a Backend select these pods, or have they or their namespace the label lastcall.dev/drain: enabled?"
    ))
}

/// Puts the pod back where it can be, and says what became of it.
async fn give_up(
    mover: &Mover<'_>,
    pod: &Pod,
    mark: &Mark,
    row: &mut Row,
    failure: Failure,
) -> Failure {
    let put_back = mover.put_back(pod, mark).await;
    row.action = match (&put_back, mark.evicted, mark.annotated()) {
        (_, true, _) => Action::Evicted,
        (Ok(()), false, true) => Action::PutBack,
        _ => Action::Failed,
    };
    row.note = Some(failure.to_string());
    match put_back {
        Ok(()) => failure,
        Err(worse) => Failure::Other(anyhow::anyhow!("{failure}; and {worse}")),
    }
}

/// For people.
fn sentence(workload: &Workload, rolled: &Rolled) -> String {
    let table = table(rolled);
    let namespace = &workload.namespace;
    if rolled.pods.is_empty() {
        return format!("{workload} has no pods in namespace {namespace}\n");
    }
    if rolled.pods.iter().all(|row| row.protected) && rolled.moved == 0 {
        return format!(
            "all pods of {workload} are held when they are stopped: nothing to move\n{table}"
        );
    }
    table
}

/// Resolves at the first SIGINT or SIGTERM.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Failure::Other(error.into()));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
