//! A proxy made of Pingora that does what lastcall is measured at: one endpoint, and the fields that tell it of
//! the client. `pingora-peer http|https|http2|grpc LISTEN BACKEND WORKERS CERTIFICATE KEY`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, bail};
use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{HttpPeer, ProxyHttp, Server, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Kept connections to the backend.
const POOL: usize = 256;
/// Streams at once on one of them, where it speaks HTTP/2.
const STREAMS: usize = 256;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["version"] => {
            println!("Pingora {} (rustls)", locked("pingora"));
            Ok(())
        }
        [speaks, listen, backend, workers, chain, key] => run(
            speaks,
            listen,
            backend.parse()?,
            workers.parse()?,
            (chain, key),
        ),
        _ => bail!(
            "usage: pingora-peer http|https|http2|grpc LISTEN BACKEND WORKERS CERTIFICATE KEY"
        ),
    }
}

/// The version of a library.
fn locked(library: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{library}\"\nversion = \"");
    let version = lock
        .split_once(&entry)
        .and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("", |(version, _)| version)
}

fn run(
    speaks: &str,
    listen: &str,
    backend: SocketAddr,
    workers: usize,
    (chain, key): (&str, &str),
) -> anyhow::Result<()> {
    let conf = ServerConf {
        threads: workers,
        upstream_keepalive_pool_size: POOL,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Proxy {
        backend,
        scheme: if speaks == "https" { "https" } else { "http" },
        http2_behind: speaks == "grpc",
        requests: AtomicU64::new(0),
    };
    let mut service = http_proxy_service(&server.configuration, proxy);
    if matches!(speaks, "http2" | "grpc") {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        service
            .app_logic_mut()
            .context("no application")?
            .server_options = Some(options);
    }
    if speaks == "https" {
        service
            .add_tls(listen, chain, key)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
    } else {
        service.add_tcp(listen);
    }
    server.add_service(service);
    server.run_forever()
}

struct Proxy {
    backend: SocketAddr,
    scheme: &'static str,
    http2_behind: bool,
    requests: AtomicU64,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(
        &self,
        _: &mut Session,
        (): &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.backend, false, String::new());
        if self.http2_behind {
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = STREAMS;
        }
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut Self::CTX,
    ) -> pingora::Result<()> {
        let client = session.client_addr().and_then(|address| address.as_inet());
        let client = client
            .map(|address| address.ip().to_string())
            .unwrap_or_default();
        let head = session.req_header();
        let host = head.headers.get("host").and_then(|host| host.to_str().ok());
        let host = host.or_else(|| head.uri.authority().map(|host| host.as_str()));
        let host = host.unwrap_or_default().to_owned();
        let scheme = self.scheme;
        let number = self.requests.fetch_add(1, Relaxed);
        request.insert_header("X-Forwarded-For", client.as_str())?;
        request.insert_header("X-Forwarded-Proto", scheme)?;
        request.insert_header("X-Real-IP", client.as_str())?;
        let forwarded = format!("for={client};proto={scheme};host=\"{host}\"");
        request.insert_header("Forwarded", forwarded)?;
        request.insert_header("X-Forwarded-Host", host)?;
        request.insert_header(
            "X-Request-Id",
            format!("{:016x}{number:016x}", u64::MAX / 3),
        )?;
        request.insert_header("Via", "1.1 pingora")
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        (): &mut Self::CTX,
    ) -> pingora::Result<()>
    where
        Self::CTX: Send + Sync,
    {
        response.insert_header("Via", "1.1 pingora")
    }
}
