//! The backend: one process that answers whatever is asked with the same bytes, over HTTP/1.1 (`http`), gRPC
//! (`grpc`) and TCP (`tcp`). Started by `measure`, told apart by its port.

mod grpc;
mod http;
mod tcp;

use std::future::Future;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use crate::process::{self, Running};
use crate::work::Speaks;

pub use http::connections;

/// Its name on the command line.
pub const PART: &str = "backend";

/// Where it listens, by what is spoken there.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// HTTP/1.1.
    pub http: SocketAddr,
    /// HTTP/2 by prior knowledge.
    pub grpc: SocketAddr,
    /// Messages of TCP.
    pub tcp: SocketAddr,
}

impl Addresses {
    /// What the proxy has behind it.
    pub fn behind(&self, speaks: Speaks) -> SocketAddr {
        match speaks {
            Speaks::Http | Speaks::Https | Speaks::Http2 => self.http,
            Speaks::Grpc => self.grpc,
            Speaks::Tcp => self.tcp,
        }
    }
}

/// Starts it on the CPU.
pub fn start(cpu: &str) -> anyhow::Result<(Addresses, Running)> {
    let addresses = Addresses {
        http: process::free_address()?,
        grpc: process::free_address()?,
        tcp: process::free_address()?,
    };
    let all = [addresses.http, addresses.grpc, addresses.tcp].map(|one| one.to_string());
    let running = Running::part(cpu, &[PART, &all[0], &all[1], &all[2]], addresses.tcp)?;
    Ok((addresses, running))
}

/// Serves until it is killed.
pub fn run(http: &str, grpc: &str, tcp: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let http = accept(TcpListener::bind(http).await?, http::Service::default());
        let grpc = accept(TcpListener::bind(grpc).await?, grpc::Service);
        let tcp = accept(TcpListener::bind(tcp).await?, tcp::Service);
        tokio::try_join!(http, grpc, tcp)?;
        Ok(())
    })
}

/// What is done with each connection.
trait Serve {
    /// Serves it to its end.
    fn serve(&self, stream: TcpStream) -> impl Future<Output = anyhow::Result<()>> + 'static;
}

async fn accept(listener: TcpListener, service: impl Serve) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks concerns nobody but its proxy.
        tokio::task::spawn_local(service.serve(stream));
    }
}
