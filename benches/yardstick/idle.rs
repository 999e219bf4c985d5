//! Holds connections open that made one request each and then fall silent.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::ChildStdin;
use std::rc::Rc;

use anyhow::{Context, ensure};
use tokio::net::TcpStream;

use crate::process::Running;
use crate::{load, wire};

/// Its name on the command line.
pub const PART: &str = "idle";

/// Requests at once while the connections are made.
const AT_ONCE: usize = 32;

/// The process that holds them; they close when this is dropped.
pub struct Holder {
    _to: ChildStdin,
    _running: Running,
}

impl Holder {
    /// Returns once every connection has had its answer.
    pub fn start(cpu: &str, target: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let args = [PART, &target.to_string(), &count.to_string()];
        let mut running = Running::talking_part(cpu, &args)?;
        let (to, from) = running.pipes()?;
        let mut line = String::new();
        BufReader::new(from).read_line(&mut line)?;
        ensure!(
            line.trim() == "idle",
            "the clients broke off; their reason is above"
        );
        Ok(Self {
            _to: to,
            _running: running,
        })
    }
}

/// Opens the connections, says so, and holds them until its input ends.
pub fn run(target: SocketAddr, count: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let held = tokio::task::LocalSet::new().block_on(&runtime, open(target, count))?;
    println!("idle");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

async fn open(target: SocketAddr, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let slots = Rc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let slots = Rc::clone(&slots);
            tokio::task::spawn_local(async move {
                let _slot = slots.acquire().await?;
                let mut stream = TcpStream::connect(target).await.context("connecting")?;
                let request = wire::request(&target.to_string());
                load::exchange(&mut stream, &request, &mut [0; 2048]).await?;
                anyhow::Ok(stream)
            })
        })
        .collect();
    let mut held = Vec::with_capacity(count);
    for task in tasks {
        held.push(task.await??);
    }
    Ok(held)
}
