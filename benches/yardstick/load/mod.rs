//! The load generator, the same for all proxies: so many exchanges at once, either as fast as they are answered
//! (the peak) or at a fixed rate, whatever the answers do (latencies). A process of its own; it is told each
//! turn on its input and answers with one line. Started by `measure`.

mod http1;
mod http2;
mod pace;
mod tcp;
pub mod tls;

use std::cell::RefCell;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::process::Running;
use crate::wire;
use crate::work::{Ask, Work};

pub use http1::Http1;
use pace::Pace;

/// Its name on the command line.
pub const PART: &str = "load";

/// What is asked of it. The connections of the first turn are kept for the next.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// How long.
    pub seconds: f64,
    /// Exchanges a second, begun at even distances; where it is `None`, as many as are answered.
    pub rate: Option<f64>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Exchanges that were answered, which is all of them.
    pub exchanges: u64,
    /// From the first to the end of the last.
    pub seconds: f64,
    /// Of the time to an exchange's answer: from when it was due, where there is a rate; otherwise from when it
    /// was sent. Milliseconds.
    pub p50_millis: f64,
    /// As above.
    pub p99_millis: f64,
    /// As above.
    pub p999_millis: f64,
}

/// The generator, seen from the program that measures.
pub struct Generator {
    /// Dropped first: the generator ends with its input.
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    _running: Running,
}

impl Generator {
    /// Starts one for the proxy at `target`.
    pub fn start(cpu: &str, target: SocketAddr, work: &Work) -> anyhow::Result<Self> {
        let mut running = Running::talking_part(cpu, &[PART, work.name, &target.to_string()])?;
        let (to, from) = running.pipes()?;
        Ok(Self {
            to,
            from: BufReader::new(from),
            _running: running,
        })
    }

    /// Has it make one turn.
    pub fn send(&mut self, turn: Turn) -> anyhow::Result<Outcome> {
        writeln!(self.to, "{}", serde_json::to_string(&turn)?)?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        ensure!(
            !line.is_empty(),
            "the load generator broke off; its reason is above"
        );
        serde_json::from_str(&line).context("the load generator's answer")
    }
}

/// One of the clients that are at it at once.
pub trait Client: 'static {
    /// Asks, and reads the answer to its end; anything but the backend's answer is an error.
    fn exchange(&mut self) -> impl Future<Output = anyhow::Result<()>>;
}

/// Makes the turns it is told on its input.
pub fn run(work: &Work, target: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    // Whatever they have in common is made before the first turn.
    let both = (&runtime, &local);
    let (small, large) = (wire::SMALL, wire::LARGE);
    let host = target.to_string();
    let request = |target| wire::request(&host, target, "");
    match (work.ask, work.speaks) {
        (Ask::Small, crate::work::Speaks::Https) => {
            let tls = tls::Tls::new(false)?;
            serve(both, work, async || {
                let stream = tls.connect(target).await?;
                Ok(Http1::new(stream, request(wire::SMALL_TARGET), small))
            })
        }
        (Ask::Small, _) => serve(both, work, async || {
            let stream = connect(target).await?;
            Ok(Http1::new(stream, request(wire::SMALL_TARGET), small))
        }),
        (Ask::Large, _) => serve(both, work, async || {
            let stream = connect(target).await?;
            Ok(Http1::new(stream, request(wire::LARGE_TARGET), large))
        }),
        (Ask::Close, _) => serve(both, work, async || Ok(http1::Closing::new(target))),
        (Ask::FullHandshake, _) => serve(both, work, async || {
            tls::Handshaking::new(target, false).await
        }),
        (Ask::ResumedHandshake, _) => serve(both, work, async || {
            tls::Handshaking::new(target, true).await
        }),
        (Ask::Stream, _) => {
            let connections = http2::Connections::new(target, work.streams);
            serve(both, work, async || http2::Get::new(&connections).await)
        }
        (Ask::Call, _) => {
            let connections = http2::Connections::new(target, work.streams);
            serve(both, work, async || http2::Call::new(&connections).await)
        }
        (Ask::Echo, _) => serve(both, work, async || tcp::Echo::new(target).await),
        (Ask::Bulk, _) => serve(both, work, async || tcp::Bulk::new(target).await),
        (Ask::WebSocket, _) => serve(both, work, async || tcp::WebSocket::new(target).await),
    }
}

/// A connection to the proxy.
pub async fn connect(target: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(target).await.context("connecting")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens the clients, and has them make turn after turn.
fn serve<C: Client>(
    (runtime, local): (&tokio::runtime::Runtime, &LocalSet),
    work: &Work,
    open: impl AsyncFn() -> anyhow::Result<C>,
) -> anyhow::Result<()> {
    let mut clients = local.block_on(runtime, async {
        let mut clients = Vec::new();
        for _ in 0..work.connections * work.streams {
            clients.push(open().await?);
        }
        anyhow::Ok(clients)
    })?;
    for line in std::io::stdin().lines() {
        let turn: Turn = serde_json::from_str(&line?)?;
        let outcome = local.block_on(runtime, make(turn, &mut clients))?;
        println!("{}", serde_json::to_string(&outcome)?);
    }
    Ok(())
}

async fn make<C: Client>(turn: Turn, clients: &mut Vec<C>) -> anyhow::Result<Outcome> {
    let micros = Rc::new(RefCell::new(Vec::with_capacity(1 << 20)));
    let pace = turn.rate.map(|rate| Rc::new(Pace::new(rate, turn.seconds)));
    let began = Instant::now();
    let pacing = match &pace {
        Some(pace) => Some(pace.start(clients.len())?),
        None => None,
    };
    let until = began + Duration::from_secs_f64(turn.seconds);
    let tasks: Vec<_> = clients
        .drain(..)
        .map(|client| {
            let (pace, micros) = (pace.clone(), Rc::clone(&micros));
            tokio::task::spawn_local(async move {
                match pace {
                    Some(pace) => paced(client, &pace, &micros).await,
                    None => hurried(client, until, &micros).await,
                }
            })
        })
        .collect();
    for task in tasks {
        clients.push(task.await??);
    }
    if let Some(pacing) = pacing {
        pacing.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    outcome(seconds, &mut micros.borrow_mut())
}

fn outcome(seconds: f64, micros: &mut [u32]) -> anyhow::Result<Outcome> {
    ensure!(!micros.is_empty(), "nothing was asked in {seconds} s");
    micros.sort_unstable();
    let millis = |of_1000: usize| f64::from(micros[micros.len() * of_1000 / 1000]) / 1000.0;
    Ok(Outcome {
        exchanges: micros.len() as u64,
        seconds,
        p50_millis: millis(500),
        p99_millis: millis(990),
        p999_millis: millis(999),
    })
}

/// One exchange after the other.
async fn hurried<C: Client>(
    mut client: C,
    until: Instant,
    micros: &RefCell<Vec<u32>>,
) -> anyhow::Result<C> {
    let mut sent = Instant::now();
    while sent < until {
        client.exchange().await?;
        let answered = Instant::now();
        note(micros, answered - sent);
        sent = answered;
    }
    Ok(client)
}

/// An exchange whenever one is due.
async fn paced<C: Client>(
    mut client: C,
    pace: &Pace,
    micros: &RefCell<Vec<u32>>,
) -> anyhow::Result<C> {
    while let Some(due) = pace.next().await? {
        client.exchange().await?;
        note(micros, due.elapsed());
    }
    Ok(client)
}

fn note(micros: &RefCell<Vec<u32>>, took: Duration) {
    let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    micros.borrow_mut().push(took);
}
