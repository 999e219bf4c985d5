//! What is played, once for each run and by the same code: a scale-in and a rolling update under load, with
//! the steps that a cluster takes. Called by [`super::run`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::{try_join, try_join_all};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

use super::board::Board;
use super::drawing::Phase;
use super::kubelet::{Ending, Pod, read, stop};
use super::load::{Load, Outcome};
use super::plan::Planned;
use super::proxy::{Draining, Proxy};
use super::timeline::{Timeline, VICTIM_IN_FLIGHT};

/// `connectionDraining.timeoutSeconds` of both runs: well over the longest request.
const DRAIN_TIMEOUT_SECONDS: u64 = 30;
/// What the hook may take: a little more than the drain's own timeout, which is to be the one that ends it.
const HOOK_GRACE: Duration = Duration::from_secs(DRAIN_TIMEOUT_SECONDS + 5);
/// `terminationGracePeriodSeconds`: the hook and what the app needs after it.
const GRACE: Duration = Duration::from_secs(DRAIN_TIMEOUT_SECONDS + 10);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long the load may take to reach a server.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request may take over what it asked for.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// One run: a lastcall with its servers, ready to be put under load.
pub struct Run {
    proxy: Proxy,
    pods: Vec<Pod>,
    started: usize,
    folder: PathBuf,
    board: Arc<Board>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Played {
    /// One for each request of the plan.
    pub outcomes: Vec<Outcome>,
    /// The server that the scale-in took away.
    pub scale_in: Vec<Ending>,
    /// The servers that the rolling update replaced.
    pub rollout: Vec<Ending>,
}

impl Run {
    /// Starts the servers and lastcall, with all files in `folder`.
    pub async fn start(
        folder: PathBuf,
        draining: bool,
        servers: usize,
        board: Arc<Board>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let names: Vec<String> = (0..servers).map(|index| format!("web-{index}")).collect();
        let pods = try_join_all(names.iter().map(|name| Pod::start(&folder, name))).await?;
        let draining = Draining {
            enabled: draining,
            timeout_seconds: DRAIN_TIMEOUT_SECONDS,
        };
        let proxy = Proxy::start(&folder, draining, &addresses(&pods)).await?;
        for pod in &pods {
            board.started(pod);
            board.phase(&pod.name, Phase::InService, String::new());
        }
        Ok(Self {
            proxy,
            pods,
            started: servers,
            folder,
            board,
        })
    }

    /// Plays both scenes while the plan is sent, from the runtime `senders`.
    pub async fn play(
        mut self,
        timeline: &Timeline,
        plan: &Arc<[Planned]>,
        begin: Instant,
        senders: &Handle,
    ) -> anyhow::Result<Played> {
        let load = Load {
            target: self.proxy.listen,
            host: "shop.example.com".to_owned(),
            patience: REQUEST_PATIENCE,
        };
        let (sent, live) = (Arc::clone(plan), Arc::clone(&self.board.live));
        let sending = senders.spawn(async move { load.run(&sent, &live).await });
        let loading = async { sending.await.context("the load generator has a fault") };
        let (outcomes, (scale_in, rollout)) =
            try_join(loading, self.scenes(timeline, begin)).await?;
        if outcomes.len() != plan.len() {
            bail!(
                "{} of {} requests have no outcome: the load generator has a fault",
                plan.len() - outcomes.len(),
                plan.len()
            );
        }
        Ok(Played {
            outcomes,
            scale_in,
            rollout,
        })
    }

    async fn scenes(
        &mut self,
        timeline: &Timeline,
        begin: Instant,
    ) -> anyhow::Result<(Vec<Ending>, Vec<Ending>)> {
        self.board.scene("load");
        sleep_until(begin + timeline.scale_in).await;
        self.board.scene("scale-in");
        let scale_in = self.scale_in().await?;

        let mut rollout = Vec::new();
        let steps = (timeline.servers - 1).div_ceil(timeline.batch);
        for step in (0..).take(steps) {
            let at = begin + timeline.rollout + timeline.step * step;
            sleep_until(at).await;
            if step == 0 {
                self.board.scene("rolling update");
            }
            let old = timeline.batch.min(timeline.servers - 1 - rollout.len());
            rollout.extend(self.replace(old).await?);
            if begin.elapsed() > timeline.load {
                bail!(
                    "the load was over before the rolling update: the machine is too slow for this, \
                     try a larger --seconds or a smaller --rate"
                );
            }
        }
        Ok((vec![scale_in], rollout))
    }

    /// One server less, while it has its 50 requests in flight.
    async fn scale_in(&mut self) -> anyhow::Result<Ending> {
        let victim = self.pods.pop().context("a run without servers")?;
        let begin = Instant::now();
        loop {
            let in_flight = read(&victim.record)?.in_flight;
            if in_flight >= VICTIM_IN_FLIGHT {
                break;
            }
            if begin.elapsed() > PATIENCE {
                bail!(
                    "{VICTIM_IN_FLIGHT} requests in flight on {} were awaited, it has {in_flight}",
                    victim.name
                );
            }
            sleep(LOOK).await;
        }
        let ending = self.stop(victim).await?;
        self.proxy.publish(&addresses(&self.pods))?;
        Ok(ending)
    }

    /// As many new servers as old ones go: starts the new, waits until they serve, stops the old.
    async fn replace(&mut self, count: usize) -> anyhow::Result<Vec<Ending>> {
        let names: Vec<String> = (self.started..self.started + count)
            .map(|index| format!("web-{index}"))
            .collect();
        self.started += count;
        let new = try_join_all(names.iter().map(|name| Pod::start(&self.folder, name))).await?;
        for pod in &new {
            self.board.started(pod);
        }
        let old: Vec<Pod> = self.pods.drain(..count).collect();
        self.pods.extend(new);
        let mut all = addresses(&old);
        all.extend(addresses(&self.pods));
        self.proxy.publish(&all)?;
        try_join_all(
            self.pods[self.pods.len() - count..]
                .iter()
                .map(|pod| self.serves(pod)),
        )
        .await?;
        let endings = try_join_all(old.into_iter().map(|pod| self.stop(pod))).await?;
        self.proxy.publish(&addresses(&self.pods))?;
        Ok(endings)
    }

    /// Waits until the load has reached the server: the proof that it is in service.
    async fn serves(&self, pod: &Pod) -> anyhow::Result<()> {
        let begin = Instant::now();
        while read(&pod.record)?.begun == 0 {
            if begin.elapsed() > PATIENCE {
                bail!(
                    "{} is in the folder and got no request in {PATIENCE:?}",
                    pod.name
                );
            }
            sleep(LOOK).await;
        }
        self.board.phase(&pod.name, Phase::InService, String::new());
        Ok(())
    }

    async fn stop(&self, pod: Pod) -> anyhow::Result<Ending> {
        let name = pod.name.clone();
        let in_flight = read(&pod.record)?.in_flight;
        self.board
            .phase(&name, Phase::Leaving, format!("with {in_flight} in flight"));
        let hook = self.proxy.hook(pod.address, HOOK_GRACE)?;
        let ending = stop(pod, hook, GRACE, |_| ()).await?;
        self.board.phase(&name, Phase::Stopped, remark(&ending));
        Ok(ending)
    }
}

fn remark(ending: &Ending) -> String {
    let lost = ending.hook.cut.max(ending.in_flight_at_sigterm);
    match (lost, ending.release_millis) {
        (0, Some(millis)) => format!("{millis:.1} ms after the last byte"),
        (0, None) => "with nothing in flight".to_owned(),
        _ => format!("with {lost} in flight: cut"),
    }
}

fn addresses(pods: &[Pod]) -> Vec<SocketAddr> {
    pods.iter().map(|pod| pod.address).collect()
}
