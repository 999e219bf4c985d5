//! The open-loop load: sends a plan of requests, each at its own moment whether or not the earlier ones
//! were answered, and measures from that moment (so a stall is not hidden by requests that were never
//! sent). Used by [`super::scene`] and by the tests under traffic.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::exchange::Connection;
pub use super::exchange::{Failure, request_target};
use super::plan::Planned;

/// A kept-alive connection that has been idle for longer is not used again: a server may be about to end
/// it (PITFALLS 44), and that race is the client's own.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// Where the load goes.
#[derive(Clone, Debug)]
pub struct Load {
    /// The listener under load.
    pub target: SocketAddr,
    /// The Host field of each request.
    pub host: String,
    /// How long a request may take over what it asked for.
    pub patience: Duration,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its number in the plan.
    pub id: u64,
    /// When it was to start, from the load's beginning.
    pub at: Duration,
    /// From when it was to start to its end.
    pub latency: Duration,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// The numbers while the load runs.
#[derive(Debug, Default)]
pub struct Live {
    sent: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
}

impl Live {
    /// Requests begun.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Requests that have ended, well or not.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Requests that have failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Connections kept for the next request, the one used last on top.
type Idle = Mutex<Vec<(Connection, Instant)>>;

impl Load {
    /// Sends the whole plan (sorted by start) and returns an outcome for every request of it.
    pub async fn run(&self, plan: &[Planned], live: &Arc<Live>) -> Vec<Outcome> {
        let begin = Instant::now();
        let idle = Arc::new(Idle::default());
        let mut running = JoinSet::new();
        let mut outcomes = Vec::with_capacity(plan.len());
        for planned in plan {
            sleep_until(begin + planned.at).await;
            live.sent.fetch_add(1, Ordering::Relaxed);
            running.spawn(one(
                self.clone(),
                planned.clone(),
                begin,
                Arc::clone(&idle),
                Arc::clone(live),
            ));
            while let Some(Ok(outcome)) = running.try_join_next() {
                outcomes.push(outcome);
            }
        }
        while let Some(ended) = running.join_next().await {
            // A task that panicked has no outcome; whoever counts sees that one is missing.
            outcomes.extend(ended);
        }
        outcomes.sort_by_key(|outcome| outcome.id);
        outcomes
    }
}

async fn one(
    load: Load,
    planned: Planned,
    begin: Instant,
    idle: Arc<Idle>,
    live: Arc<Live>,
) -> Outcome {
    let limit = planned.work.duration() + load.patience;
    let failure = timeout(limit, attempt(&load, &planned, &idle))
        .await
        .unwrap_or(Err(Failure::Timeout))
        .err();
    live.finished.fetch_add(1, Ordering::Relaxed);
    if failure.is_some() {
        live.failed.fetch_add(1, Ordering::Relaxed);
    }
    Outcome {
        id: planned.id,
        at: planned.at,
        latency: begin.elapsed().saturating_sub(planned.at),
        failure,
    }
}

async fn attempt(load: &Load, planned: &Planned, idle: &Idle) -> Result<(), Failure> {
    let kept = if planned.fresh { None } else { reuse(idle) };
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(load.target).await?,
    };
    if connection.exchange(&load.host, planned).await? {
        idle.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((connection, Instant::now()));
    }
    Ok(())
}

fn reuse(idle: &Idle) -> Option<Connection> {
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some((connection, since)) = idle.pop() {
        if since.elapsed() < IDLE_LIMIT && connection.is_idle() {
            return Some(connection);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::backend::Server;
    use super::super::plan::{Burst, Outline, Shares, Work, content};
    use super::super::record::{Follower, Recorder};
    use super::*;

    fn load(target: SocketAddr) -> Load {
        Load {
            target,
            host: "test".to_owned(),
            patience: Duration::from_secs(5),
        }
    }

    fn answer(bytes: u64, post: bool) -> Planned {
        Planned {
            id: 7,
            at: Duration::ZERO,
            post,
            fresh: false,
            work: Work::Answer {
                delay: Duration::ZERO,
                bytes,
            },
        }
    }

    #[tokio::test]
    async fn a_good_server_fails_nothing_and_its_record_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let server = Arc::new(Server::new(
            Recorder::create(&path).unwrap(),
            "web-0".to_owned(),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let serving = tokio::spawn(server.accept(listener));
        let plan = Outline {
            seed: 5,
            rate: 400.0,
            lasts: Duration::from_millis(800),
            longest: Duration::from_millis(200),
            shares: Shares::default(),
            burst: Some(Burst {
                from: Duration::from_millis(100),
                until: Duration::from_millis(200),
                requests: 50,
            }),
        }
        .draw();
        let live = Arc::default();
        let outcomes = load(target).run(&plan, &live).await;
        let failed: Vec<_> = outcomes
            .iter()
            .filter(|one| one.failure.is_some())
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(
            outcomes
                .iter()
                .zip(&plan)
                .all(|(one, planned)| one.id == planned.id)
        );
        let sent = plan.len() as u64;
        assert_eq!(
            (live.sent(), live.finished(), live.failed()),
            (sent, sent, 0)
        );
        let seen = Follower::open(&path).unwrap().read().unwrap();
        assert_eq!((seen.begun, seen.ended, seen.in_flight), (sent, sent, 0));
        serving.abort();
    }

    /// Reads a request's first bytes, writes `said`, and ends the connection: with a reset where not all
    /// that came was read.
    async fn bad_server(said: Vec<u8>, reads: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; reads];
            let _ = stream.read(&mut request).await;
            stream.write_all(&said).await.unwrap();
        });
        target
    }

    #[tokio::test]
    async fn every_bad_end_is_a_failure_of_its_kind() {
        let whole = |body: &[u8], length: usize| {
            let mut said =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            said.extend_from_slice(body);
            said
        };
        let right = content(7, 0, 100);
        let cases = [
            (whole(&right, 100), 4096, None),
            (whole(&right[..99], 100), 4096, Some(Failure::Short)),
            (whole(&right[..99], 99), 4096, Some(Failure::Wrong)),
            (whole(&content(8, 0, 100), 100), 4096, Some(Failure::Wrong)),
            (
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(),
                4096,
                Some(Failure::Status(503)),
            ),
            (Vec::new(), 4096, Some(Failure::Short)),
            (Vec::new(), 1, Some(Failure::Reset)),
            (
                b"SSH-2.0-x\r\n\r\n".to_vec(),
                4096,
                Some(Failure::Malformed),
            ),
        ];
        for (said, reads, expected) in cases {
            let shown = said.escape_ascii().to_string();
            let target = bad_server(said, reads).await;
            let outcomes = load(target)
                .run(&[answer(100, true)], &Arc::default())
                .await;
            assert_eq!(outcomes[0].failure, expected, "{shown}");
        }
    }

    #[tokio::test]
    async fn nobody_there_and_nobody_answering_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let mut hasty = load(target);
        hasty.patience = Duration::from_millis(50);
        let outcomes = hasty.run(&[answer(1, false)], &Arc::default()).await;
        assert_eq!(outcomes[0].failure, Some(Failure::Timeout));
        drop(listener);
        let outcomes = hasty.run(&[answer(1, false)], &Arc::default()).await;
        assert_eq!(outcomes[0].failure, Some(Failure::Connect));
    }
}
