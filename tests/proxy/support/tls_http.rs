//! An endpoint that speaks HTTP in TLS, in the version that it chooses of those it is offered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::http2::{Seen, serve};
use super::tls::Issued;

/// What came so far.
#[derive(Default)]
pub struct Record {
    /// Handshakes that ended with each name; none is an empty one.
    pub chosen: Vec<String>,
    /// Heads of requests in HTTP/1.1.
    pub heads: Vec<String>,
}

/// In HTTP/2 it answers as [`super::http2::Server`] does; in HTTP/1.1 (without bodies) with the path, and to an
/// upgrade with 101 and then the bytes it gets.
pub struct TlsHttpServer {
    pub address: SocketAddr,
    record: Arc<Mutex<Record>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    issued: Issued,
    /// Ends all connections that are there.
    end: Arc<Notify>,
    accepting: JoinHandle<()>,
}

impl TlsHttpServer {
    /// With this certificate, choosing from these names, by preference.
    pub async fn start(issued: &Issued, alpn: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Mutex::new(Record::default()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let config = Arc::new(Mutex::new(config(issued, alpn)));
        let end = Arc::new(Notify::new());
        let accepting = tokio::spawn(accept(
            listener,
            Arc::clone(&config),
            Arc::clone(&record),
            Arc::clone(&seen),
            Arc::clone(&end),
        ));
        Self {
            address,
            record,
            seen,
            config,
            issued: issued.clone(),
            end,
            accepting,
        }
    }

    /// Chooses from other names from now on; the connections that are there end.
    pub fn choose_from(&self, alpn: &[&str]) {
        *self.config.lock().unwrap() = config(&self.issued, alpn);
        self.end.notify_one();
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// Requests in HTTP/2.
    pub fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap()
    }
}

impl Drop for TlsHttpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn config(issued: &Issued, alpn: &[&str]) -> Arc<ServerConfig> {
    let (chain, key) = issued.parts();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn accept(
    listener: TcpListener,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    record: Arc<Mutex<Record>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    end: Arc<Notify>,
) {
    let mut open = JoinSet::new();
    let mut number = 0;
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            () = end.notified() => {
                open.abort_all();
                continue;
            }
        };
        number += 1;
        let acceptor = TlsAcceptor::from(Arc::clone(&config.lock().unwrap()));
        let (record, seen) = (Arc::clone(&record), Arc::clone(&seen));
        open.spawn(async move {
            // A handshake that fails is what some tests are about.
            let Ok(stream) = acceptor.accept(socket).await else {
                return;
            };
            let chosen = stream.get_ref().1.alpn_protocol().unwrap_or_default();
            let chosen = String::from_utf8_lossy(chosen).into_owned();
            let http2 = chosen == "h2";
            record.lock().unwrap().chosen.push(chosen);
            if http2 {
                let builder = h2::server::Builder::new();
                serve(stream, builder, number, seen, Arc::new(Notify::new())).await;
            } else {
                let _ = serve_http1(stream, &record).await;
            }
        });
    }
}

async fn serve_http1(
    mut stream: TlsStream<TcpStream>,
    record: &Mutex<Record>,
) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let upgrades = head.to_ascii_lowercase().contains("\r\nupgrade:");
        record.lock().unwrap().heads.push(head);
        if upgrades {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            stream.write_all(switch.as_bytes()).await?;
            let mut piece = [0; 4096];
            loop {
                let count = stream.read(&mut piece).await?;
                stream.write_all(&piece[..count]).await?;
                if count == 0 {
                    return stream.shutdown().await;
                }
            }
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}
