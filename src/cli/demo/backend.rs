//! `lastcall demo-backend` (hidden): a server with the unkind habit of most apps: on SIGTERM it exits at
//! once, whatever is in flight. What it did stands in its record. The demo runs it as a child process, in
//! place of a container; the tests on Kubernetes run it in one.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::cli::Failure;

use super::exchange::send_spread;
use super::plan::{Checksum, content};
use super::record::{RecordPlace, Recorder, What};
use super::wire::{Head, Reader, WireError};

/// `lastcall demo-backend`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoBackend {
    /// Where it listens; port 0 takes a free one. The address is printed as the first line.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where its record goes, one JSON line an event: a file, or `tcp://ADDRESS`. Without a file it is nobody's
    /// child, and does not end with its standard input.
    #[arg(long)]
    record: RecordPlace,
    /// Its name, sent as `X-Server` with every answer.
    #[arg(long)]
    name: String,
}

impl DemoBackend {
    /// Serves until SIGTERM; as a child also until standard input ends, which is how a parent that was killed
    /// looks.
    pub fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        Ok(runtime.block_on(serve(self))?)
    }
}

async fn serve(args: DemoBackend) -> anyhow::Result<()> {
    let recorder = Recorder::begin(&args.record, &args.name)
        .with_context(|| format!("--record {}: cannot be written", args.record))?;
    let server = Arc::new(Server::new(recorder, args.name));
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("--listen {}: cannot be bound", args.listen))?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    if let RecordPlace::File(_) = args.record {
        end_with_parent();
    }
    print_address(listener.local_addr()?)?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {
            server.recorder.note(What::Sigterm, None)?;
            server.recorder.finish()?;
            Ok(())
        }
        never = Arc::clone(&server).accept(listener) => match never? {},
    }
}

/// A thread of its own, because a read of standard input cannot be given up.
fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    });
}

fn print_address(address: SocketAddr) -> io::Result<()> {
    use std::io::Write;
    let mut out = io::stdout().lock();
    writeln!(out, "{address}")?;
    out.flush()
}

pub(super) struct Server {
    recorder: Recorder,
    name: String,
    /// What [`PROBE`] is told.
    healthy: AtomicBool,
}

/// What a kubelet's probe asks. It is no work, so the record does not have it.
const PROBE: &str = "/probe";
/// From now on the probe fails.
const FALL_ILL: &str = "/probe/fail";
/// From now on nothing is done any more, not even the end on SIGTERM.
const HANG: &str = "/probe/hang";

impl Server {
    pub(super) fn new(recorder: Recorder, name: String) -> Self {
        Self {
            recorder,
            name,
            healthy: AtomicBool::new(true),
        }
    }

    pub(super) async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
    ) -> anyhow::Result<Infallible> {
        loop {
            let (stream, _) = listener.accept().await.context("accept a connection")?;
            tokio::spawn(Arc::clone(&self).connection(stream));
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let (mut reader, mut writer) = Reader::split(stream);
        while let Ok(Some(head)) = reader.head().await {
            let asked = Asked::of(&head);
            let closes = head.closes();
            let served = if asked.path.starts_with(PROBE) {
                self.probe(&asked.path, &mut writer).await.is_ok()
            } else {
                self.work(&head, &asked, &mut reader, &mut writer).await
            };
            if !served || closes {
                return;
            }
        }
    }

    /// Answers, and writes down when it began and when it was over. False where the connection is of no more use.
    async fn work(
        &self,
        head: &Head,
        asked: &Asked,
        reader: &mut Reader,
        writer: &mut OwnedWriteHalf,
    ) -> bool {
        let id = asked.id;
        if self.recorder.note(What::Begin, id).is_err() {
            return false;
        }
        let answered = self.answer(head, asked, reader, writer).await.is_ok();
        let what = if answered { What::End } else { What::Broken };
        self.recorder.note(what, id).is_ok() && answered
    }

    async fn probe(&self, path: &str, writer: &mut OwnedWriteHalf) -> io::Result<()> {
        match path {
            FALL_ILL => self.healthy.store(false, Ordering::Relaxed),
            HANG => loop {
                std::thread::park();
            },
            _ => {}
        }
        if path != PROBE || self.healthy.load(Ordering::Relaxed) {
            self.plain(writer, "200 OK", b"well\n").await
        } else {
            self.plain(writer, "503 Service Unavailable", b"ill\n")
                .await
        }
    }

    async fn answer(
        &self,
        head: &Head,
        asked: &Asked,
        reader: &mut Reader,
        writer: &mut OwnedWriteHalf,
    ) -> Result<(), WireError> {
        if head.has_token("expect", "100-continue") {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut sum = Checksum::default();
        reader
            .body(head.request_framing()?, |piece| sum.feed(piece))
            .await?;
        let id = asked.id.unwrap_or_default();
        match asked.path.as_str() {
            "/answer" => {
                sleep(asked.time).await;
                let length = usize::try_from(asked.bytes).map_err(io::Error::other)?;
                self.plain(writer, "200 OK", &content(id, 0, length))
                    .await?;
            }
            "/stream" => {
                let name = &self.name;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Server: {name}\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                writer.write_all(head.as_bytes()).await?;
                send_spread(writer, id, asked.bytes, asked.time, true).await?;
            }
            "/upload" => {
                self.plain(writer, "200 OK", sum.to_string().as_bytes())
                    .await?;
            }
            _ => {
                self.plain(writer, "404 Not Found", b"no such path\n")
                    .await?;
            }
        }
        Ok(())
    }

    async fn plain(
        &self,
        writer: &mut OwnedWriteHalf,
        status: &str,
        body: &[u8],
    ) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 {status}\r\nX-Server: {}\r\nContent-Length: {}\r\n\r\n",
            self.name,
            body.len()
        );
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        writer.write_all(&message).await
    }
}

/// What a request's target asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    path: String,
    id: Option<u64>,
    bytes: u64,
    time: Duration,
}

impl Asked {
    fn of(head: &Head) -> Self {
        let target = head.method_and_target().map_or("", |(_, target)| target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let number = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value.parse().ok())
        };
        Self {
            path: path.to_owned(),
            id: number("id"),
            bytes: number("bytes").unwrap_or_default(),
            time: Duration::from_millis(number("millis").unwrap_or_default()),
        }
    }
}
