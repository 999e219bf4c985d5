//! The load generator: so many connections, each with one request at a time, until a fixed number of
//! requests is answered. A process of its own; it is told each turn on its input and answers with one line.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Running;
use crate::wire;

/// Its name on the command line.
pub const PART: &str = "load";

/// What is asked of it. The connections of the first turn are kept for the next.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Connections at once.
    pub connections: usize,
    /// Requests over all of them.
    pub requests: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Of the time from a request to its answer, with all connections busy.
    pub p50_millis: f64,
    /// As above.
    pub p99_millis: f64,
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
    pub fn start(cpu: &str, target: SocketAddr) -> anyhow::Result<Self> {
        let mut running = Running::talking_part(cpu, &[PART, &target.to_string()])?;
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

/// Makes the turns it is told on its input.
pub fn run(target: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let mut clients = Vec::new();
    for line in std::io::stdin().lines() {
        let turn: Turn = serde_json::from_str(&line?)?;
        let outcome = local.block_on(&runtime, make(target, turn, &mut clients))?;
        println!("{}", serde_json::to_string(&outcome)?);
    }
    Ok(())
}

async fn make(
    target: SocketAddr,
    turn: Turn,
    clients: &mut Vec<TcpStream>,
) -> anyhow::Result<Outcome> {
    while clients.len() < turn.connections {
        let stream = TcpStream::connect(target).await.context("connecting")?;
        stream.set_nodelay(true)?;
        clients.push(stream);
    }
    let left = Rc::new(Cell::new(turn.requests));
    let capacity = usize::try_from(turn.requests)?;
    let micros = Rc::new(RefCell::new(Vec::with_capacity(capacity)));
    let began = Instant::now();
    let tasks: Vec<_> = clients
        .drain(..)
        .map(|stream| {
            let (left, micros) = (Rc::clone(&left), Rc::clone(&micros));
            tokio::task::spawn_local(ask(stream, target, left, micros))
        })
        .collect();
    for task in tasks {
        clients.push(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut micros = micros.borrow_mut();
    micros.sort_unstable();
    let millis = |percent: usize| f64::from(micros[micros.len() * percent / 100]) / 1000.0;
    Ok(Outcome {
        seconds,
        p50_millis: millis(50),
        p99_millis: millis(99),
    })
}

async fn ask(
    mut stream: TcpStream,
    target: SocketAddr,
    left: Rc<Cell<u64>>,
    micros: Rc<RefCell<Vec<u32>>>,
) -> anyhow::Result<TcpStream> {
    let request = wire::request(&target.to_string());
    let mut buf = [0; 2048];
    while left.get() > 0 {
        left.set(left.get() - 1);
        let sent = Instant::now();
        exchange(&mut stream, &request, &mut buf).await?;
        micros
            .borrow_mut()
            .push(u32::try_from(sent.elapsed().as_micros())?);
    }
    Ok(stream)
}

/// One request and its answer, which must be the backend's.
pub async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buf: &mut [u8],
) -> anyhow::Result<()> {
    stream.write_all(request).await?;
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buf[filled..]).await?;
        ensure!(count > 0, "the proxy closed the connection");
        filled += count;
        if let Some(length) = wire::whole(&buf[..filled], wire::BODY) {
            let good = buf.starts_with(b"HTTP/1.1 200 ") && length == filled;
            let text = || String::from_utf8_lossy(&buf[..filled]).into_owned();
            ensure!(good, "the proxy answered {:?}", text());
            return Ok(());
        }
    }
}
