//! All workers, as the rest of the process sees them: starts their threads, binds and closes their
//! listeners, hands them the configuration, and takes them down without losing a request.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::backends::Backends;
use super::connection_counts::ConnectionCounts;
use super::listener::{BindError, PortSockets};
use super::rate_limit::{Limiters, keep as keep_limiters};
use super::stats::Stats;
use super::tls::Configs;
use super::worker::{Command, Publication, Shutdown, Worker};
use crate::gate::{Gate, Generation, worker_tickets};
use crate::model::totals::{DataPlaneTotals, ListenerTotals};
use crate::model::{EndpointId, ObjectName, Snapshot};

/// Every worker of the process. Cheap to clone.
#[derive(Clone)]
pub struct Workers(Arc<Shared>);

struct Shared {
    ip: IpAddr,
    senders: Vec<mpsc::UnboundedSender<Command>>,
    stats: Stats,
    ports: tokio::sync::Mutex<Ports>,
    /// Those of `ports`, for who asks in between.
    counts: Mutex<Arc<HashMap<ObjectName, Arc<ConnectionCounts>>>>,
    /// The same.
    backends: Mutex<Arc<Backends>>,
}

#[derive(Default)]
struct Ports {
    bound: BTreeMap<u16, PortSockets>,
    failed: BTreeMap<u16, String>,
    counts: Arc<HashMap<ObjectName, Arc<ConnectionCounts>>>,
    tls: Arc<Configs>,
    limiters: Arc<Limiters>,
    backends: Arc<Backends>,
    /// The process is leaving: nothing is bound any more, whatever the configuration says.
    closed: bool,
}

/// A port that was just bound, with a handle on its socket for each worker.
struct Bound {
    port: u16,
    handles: Vec<std::net::TcpListener>,
}

/// How long clients are given to take an answer that says that their request was cut.
const CUT_TAKES: Duration = Duration::from_secs(1);

/// How the data plane went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Connections and copies of requests that were open when the time was up, and were ended by force.
    pub cut: u64,
}

impl Workers {
    /// Starts `count` workers; their listeners will be bound at `ip`.
    pub fn start(count: usize, ip: IpAddr) -> std::io::Result<Self> {
        let stats = Stats::new(count);
        let mut senders = Vec::new();
        for ticket in worker_tickets(count) {
            let (sender, commands) = mpsc::unbounded_channel();
            senders.push(sender);
            let stats = stats.clone();
            let name = format!("worker-{}", ticket.index());
            std::thread::Builder::new().name(name).spawn(move || {
                let dead = EndWithProcess;
                if let Err(error) = Worker::run(ticket, seed(), stats, commands) {
                    tracing::error!(%error, "worker cannot start");
                    return;
                }
                std::mem::forget(dead);
            })?;
        }
        Ok(Self(Arc::new(Shared {
            ip,
            senders,
            stats,
            ports: tokio::sync::Mutex::default(),
            counts: Mutex::default(),
            backends: Mutex::default(),
        })))
    }

    /// The workers' numbers.
    pub fn stats(&self) -> &Stats {
        &self.0.stats
    }

    /// The workers' numbers, summed.
    pub fn totals(&self) -> DataPlaneTotals {
        let stats = &self.0.stats;
        let counts = Arc::clone(&self.0.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let mut listeners: Vec<ListenerTotals> =
            counts.iter().flat_map(|(name, c)| c.totals(name)).collect();
        listeners
            .sort_by(|a, b| (&a.load_balancer, &a.listener).cmp(&(&b.load_balancer, &b.listener)));
        let backends = Arc::clone(&*self.lock_backends());
        DataPlaneTotals {
            workers: stats.workers() as u64,
            listeners,
            backends: backends.totals(),
            responses: std::array::from_fn(|class| stats.sum(|s| &s.responses[class + 1])),
            retries: stats.sum(|s| &s.retries),
            cuts: stats.sum(|s| &s.cut),
            received_bytes: stats.sum(|s| &s.bytes_in),
            sent_bytes: stats.sum(|s| &s.bytes_out),
            refused: vec![
                ("connection", stats.sum(|s| &s.turned_away)),
                ("proxy_header", stats.sum(|s| &s.no_proxy_header)),
                ("request", stats.sum(|s| &s.refused)),
                ("rate_limit", stats.sum(|s| &s.rate_limited)),
            ],
            mirrored: vec![
                ("answered", stats.sum(|s| &s.mirrors_answered)),
                ("failed", stats.sum(|s| &s.mirrors_failed)),
                ("skipped", stats.sum(|s| &s.mirrors_skipped)),
            ],
            client_gone: stats.sum(|s| &s.client_gone),
            upstream_broken: stats.sum(|s| &s.upstream_broken),
            upstream_connects: stats.sum(|s| &s.upstream_connects),
            upstream_reuses: stats.sum(|s| &s.upstream_reuses),
            upstream_connect_failures: stats.sum(|s| &s.upstream_connect_failures),
            tunnels: stats.sum(|s| &s.tunnels),
            tls_handshakes: vec![
                ("full", stats.sum(|s| &s.tls_full)),
                ("resumed", stats.sum(|s| &s.tls_resumed)),
                ("failed", stats.sum(|s| &s.tls_failed)),
            ],
            tcp_open: stats.sum(|s| &s.tcp_open),
            tcp_ended: vec![
                ("closed", stats.sum(|s| &s.tcp_ended.closed)),
                ("broken", stats.sum(|s| &s.tcp_ended.broken)),
                ("idle", stats.sum(|s| &s.tcp_ended.idle)),
                ("cut", stats.sum(|s| &s.tcp_ended.cut)),
                ("unserved", stats.sum(|s| &s.tcp_ended.unserved)),
                ("refused", stats.sum(|s| &s.tcp_ended.refused)),
            ],
        }
    }

    fn lock_backends(&self) -> MutexGuard<'_, Arc<Backends>> {
        self.0
            .backends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps the configuration in every worker; returns when all run it. Listeners that are new are bound
    /// before and opened after, those that are gone are closed in the background. A port that cannot be
    /// bound takes only its own listener out of service (Law 4): see [`Workers::failed_ports`]; it is
    /// tried again with the next configuration, or by [`Workers::retry_failed_ports`].
    pub async fn publish(
        &self,
        snapshot: Arc<Snapshot>,
        gates: Arc<HashMap<EndpointId, Arc<Gate>>>,
    ) {
        let mut ports = self.0.ports.lock().await;
        let new = self.bind(&mut ports, wanted(&snapshot));
        let counts = keep_counts(&ports.counts, &snapshot);
        ports.counts = Arc::clone(&counts);
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&counts);
        let tls = Arc::new(Configs::new(&snapshot, &ports.tls));
        ports.tls = Arc::clone(&tls);
        let now = std::time::Instant::now();
        ports.limiters = Arc::new(keep_limiters(&ports.limiters, &snapshot, now, seed()));
        ports.backends = Arc::new(ports.backends.keep(&snapshot, self.0.senders.len(), now));
        *self.lock_backends() = Arc::clone(&ports.backends);
        let publication = Publication {
            snapshot,
            gates,
            counts,
            tls,
            limiters: Arc::clone(&ports.limiters),
            backends: Arc::clone(&ports.backends),
        };
        self.tell_all(|done| Command::Publish(publication.clone(), done))
            .await;
        self.listen(new);
        let wanted = wanted(&publication.snapshot);
        let gone: Vec<u16> = ports
            .bound
            .keys()
            .copied()
            .filter(|p| !wanted.contains(p))
            .collect();
        for port in gone {
            if let Some(sockets) = ports.bound.remove(&port) {
                tokio::spawn(self.close(port, sockets));
            }
        }
    }

    /// Tries the ports again that could not be bound. The configuration is the same; what stood in the way
    /// may be gone.
    pub async fn retry_failed_ports(&self) {
        let mut ports = self.0.ports.lock().await;
        let failed = ports.failed.keys().copied().collect();
        let new = self.bind(&mut ports, failed);
        self.listen(new);
    }

    /// Binds what is not bound yet; returns the workers' handles on it.
    fn bind(&self, ports: &mut Ports, wanted: HashSet<u16>) -> Vec<Bound> {
        ports.failed.clear();
        if ports.closed {
            return Vec::new();
        }
        let mut new = Vec::new();
        for port in wanted {
            if ports.bound.contains_key(&port) {
                continue;
            }
            match self.bind_one(port) {
                Ok((sockets, bound)) => {
                    ports.bound.insert(port, sockets);
                    new.push(bound);
                }
                Err(error) => {
                    tracing::error!(port, %error, "listener not bound");
                    ports.failed.insert(port, error.to_string());
                }
            }
        }
        new
    }

    /// Either every worker has its socket, or the port is not bound: one that nobody accepts on would take
    /// its share of the connections and never answer them.
    fn bind_one(&self, port: u16) -> Result<(PortSockets, Bound), BindError> {
        let workers = self.0.senders.len();
        let sockets = PortSockets::bind(self.0.ip, port, workers)?;
        let handles = sockets.share()?;
        Ok((sockets, Bound { port, handles }))
    }

    fn listen(&self, new: Vec<Bound>) {
        for Bound { port, handles } in new {
            for (sender, handle) in self.0.senders.iter().zip(handles) {
                // A worker that is gone has taken the process with it.
                let _ = sender.send(Command::Listen(port, handle));
            }
        }
    }

    /// Closes a port's sockets together, after what waited in their queues was accepted. The workers are
    /// told before this returns: told later, they would take it for the end of the next listener on this
    /// port, where a configuration brings the port back at once.
    fn close(&self, port: u16, sockets: PortSockets) -> impl Future<Output = ()> + Send + use<> {
        if let Err(error) = sockets.refuse_new() {
            tracing::warn!(port, %error, "closing without turning new connections away first");
        }
        let accepted = self.send_all(|done| Command::Unlisten(port, done));
        async move {
            all(accepted).await;
            drop(sockets);
        }
    }

    /// Ports of the configuration that could not be bound, and why.
    pub async fn failed_ports(&self) -> BTreeMap<u16, String> {
        self.0.ports.lock().await.failed.clone()
    }

    /// Drops the idle connections to an endpoint whose gate was closed.
    pub fn closed(&self, id: &EndpointId) {
        self.tell(|| Command::Closed(id.clone()));
    }

    /// Ends by force what is in flight on an endpoint while its gate is in `generation`. Where it was opened
    /// before a worker gets to it, what is in flight may have entered since, and nothing is to end.
    pub fn cut(&self, id: &EndpointId, generation: Generation) {
        self.tell(|| Command::Cut(id.clone(), generation));
    }

    /// Says good-bye to clients, in the order that loses nothing: for `delay` everything goes on, but
    /// responses say that the connection closes; then new handshakes are turned away, what waits is
    /// accepted, the listeners close together; what clients have sent is answered, idle connections are
    /// closed. What is not over after `timeout` more is ended by force.
    pub async fn shut_down(&self, delay: Duration, timeout: Duration) -> Farewell {
        self.tell_all(|done| Command::Shutdown(Shutdown::Announced, done))
            .await;
        tokio::time::sleep(delay).await;
        let bound = self.leave_ports().await;
        let closing = bound
            .into_iter()
            .map(|(port, sockets)| self.close(port, sockets));
        futures_util::future::join_all(closing).await;
        self.tell_all(|done| Command::Shutdown(Shutdown::Idle, done))
            .await;
        self.wait_for_all(timeout).await;
        self.cut_all().await
    }

    /// Takes every port out for good: a configuration that comes now, as deploys like to send one just
    /// before the SIGTERM, would bind them again, and take connections that nobody will serve.
    async fn leave_ports(&self) -> BTreeMap<u16, PortSockets> {
        let mut ports = self.0.ports.lock().await;
        ports.closed = true;
        std::mem::take(&mut ports.bound)
    }

    /// Ends what is open by force, now, so that clients can tell: the end of the process alone would look
    /// like the end of a response that has no other.
    pub async fn cut_all(&self) -> Farewell {
        let open = self.0.stats.under_way();
        if open > 0 {
            self.tell_all(|done| Command::Shutdown(Shutdown::Cut, done))
                .await;
            self.wait_for_all(CUT_TAKES).await;
        }
        Farewell { cut: open }
    }

    /// Waits until no connection is open and no copy of a request is under way, for `limit` at most.
    async fn wait_for_all(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.0.stats.under_way() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for sender in &self.0.senders {
            // A worker that is gone has taken the process with it.
            let _ = sender.send(command());
        }
    }

    /// Tells every worker, and waits until each has done it.
    async fn tell_all(&self, command: impl Fn(oneshot::Sender<()>) -> Command) {
        all(self.send_all(command)).await;
    }

    /// Tells every worker; what is returned hears when each has done it.
    fn send_all(
        &self,
        command: impl Fn(oneshot::Sender<()>) -> Command,
    ) -> Vec<oneshot::Receiver<()>> {
        let send = |sender: &mpsc::UnboundedSender<Command>| {
            let (done, answer) = oneshot::channel();
            // A worker that is gone has taken the process with it.
            let _ = sender.send(command(done));
            answer
        };
        self.0.senders.iter().map(send).collect()
    }
}

/// Waits for every answer.
async fn all(answers: Vec<oneshot::Receiver<()>>) {
    for answer in answers {
        let _ = answer.await;
    }
}

/// The counts of what is configured: those that were there go on.
fn keep_counts(
    known: &HashMap<ObjectName, Arc<ConnectionCounts>>,
    snapshot: &Snapshot,
) -> Arc<HashMap<ObjectName, Arc<ConnectionCounts>>> {
    let kept = snapshot.load_balancers.iter().map(|lb| {
        let before = known.get(&lb.name);
        let counts = match before {
            Some(counts) if counts.is_for(lb) => Arc::clone(counts),
            _ => Arc::new(ConnectionCounts::new(lb, before.map(Arc::as_ref))),
        };
        (lb.name.clone(), counts)
    });
    Arc::new(kept.collect())
}

fn wanted(snapshot: &Snapshot) -> HashSet<u16> {
    let listeners = snapshot.load_balancers.iter().flat_map(|lb| &lb.listeners);
    listeners.map(|listener| listener.port).collect()
}

/// A number that differs from worker to worker and from run to run.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Ends the process when it is dropped: a replica must never confirm for a worker that is not there.
struct EndWithProcess;

impl Drop for EndWithProcess {
    fn drop(&mut self) {
        // Not to the log: nothing of it is written after this.
        eprintln!("lastcall: a worker has died: ending the process");
        std::process::abort();
    }
}
