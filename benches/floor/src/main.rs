//! What HTTP/2 costs at least with a library: clients speak HTTP/2 by prior knowledge, the backend HTTP/1.1, and for
//! gRPC HTTP/2, too. No routes, no gates, no counters, no care for errors; one thread, a pool of connections, and the
//! fields that all proxies of the benchmark send. `floor h2|hyper|grpc LISTEN BACKEND`.

mod grpc;
mod upstream;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use upstream::Pool;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Streams that a client may have at once.
const STREAMS: u32 = 256;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["version"] => {
            println!("{}, {}", locked("h2"), locked("hyper"));
            Ok(())
        }
        [way, listen, backend] => run(way, listen.parse()?, backend.parse()?),
        _ => bail!("usage: floor h2|hyper|grpc LISTEN BACKEND"),
    }
}

/// A library and its version.
fn locked(library: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{library}\"\nversion = \"");
    let version = lock
        .split_once(&entry)
        .and_then(|(_, rest)| rest.split_once('"'));
    format!("{library} {}", version.map_or("", |(version, _)| version))
}

fn run(way: &str, listen: SocketAddr, backend: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        if way == "grpc" {
            return grpc::run(listen, backend).await;
        }
        let listener = TcpListener::bind(listen).await?;
        let pool = Rc::new(Pool::new(backend));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let pool = Rc::clone(&pool);
            match way {
                "h2" => drop(spawn_local(by_h2(stream, pool))),
                "hyper" => drop(spawn_local(by_hyper(stream, pool))),
                other => bail!("{other} is none of h2, hyper and grpc"),
            }
        }
    })
}

/// All streams of a connection are futures of its one task.
async fn by_h2(stream: TcpStream, pool: Rc<Pool>) -> anyhow::Result<()> {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(STREAMS);
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    let mut streams = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = streams.next(), if !streams.is_empty() => {}
            accepted = connection.accept() => match accepted {
                Some(accepted) => {
                    let (request, respond) = accepted?;
                    streams.push(one(request, respond, Rc::clone(&pool)));
                }
                None => return Ok(()),
            },
        }
    }
}

async fn one(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    pool: Rc<Pool>,
) -> anyhow::Result<()> {
    let (parts, _) = request.into_parts();
    let (head, content) = pool.ask(&parts).await?.into_parts();
    let mut body = respond.send_response(Response::from_parts(head, ()), false)?;
    body.send_data(content, true)?;
    Ok(())
}

/// hyper has a task for each stream.
async fn by_hyper(stream: TcpStream, pool: Rc<Pool>) -> anyhow::Result<()> {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let pool = Rc::clone(&pool);
        async move {
            let (parts, _) = request.into_parts();
            let answer = pool.ask(&parts).await.unwrap_or_else(|_| {
                let mut failed = Response::new(Bytes::new());
                *failed.status_mut() = http::StatusCode::BAD_GATEWAY;
                failed
            });
            Ok::<_, Infallible>(answer.map(Full::new))
        }
    });
    let stream = hyper_util::rt::TokioIo::new(stream);
    let mut builder = hyper::server::conn::http2::Builder::new(Local);
    builder.max_concurrent_streams(STREAMS);
    let served = builder.serve_connection(stream, service).await;
    served.context("a client's connection")
}

/// Tasks stay on this thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}
