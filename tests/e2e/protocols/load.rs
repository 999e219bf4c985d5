//! Clients of every protocol at once, each with work that ends by itself after up to some seconds, until they are told to
//! stop; and what became of each piece of work.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::app::{STREAM, UNARY, send};
use super::frames::{self, CLOSE, Frame, Masked, TEXT};
use crate::support::wait_until;

/// The host that certificates are for.
pub const HOST: &str = "shop.test";

/// How long one step of any work may take over its own time: a busy machine is no loss.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A request of HTTP/1.1 on a connection of its own.
    Http1,
    /// Requests of HTTP/2 on one connection.
    Http2,
    /// A unary call, and one that streams both ways.
    Unary,
    Streaming,
    /// A `WebSocket`.
    WebSocket,
    /// A connection of bytes.
    Tcp,
}

const KINDS: [Kind; 6] = [
    Kind::Http1,
    Kind::Http2,
    Kind::Unary,
    Kind::Streaming,
    Kind::WebSocket,
    Kind::Tcp,
];

/// Clients of each kind, in clear text and in TLS.
const CLIENTS: u64 = 3;

/// Where the listeners are.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub http: u16,
    pub https: u16,
    pub tcp: u16,
    pub tls: u16,
}

/// What became of the work, by kind.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    pub done: BTreeMap<Kind, u64>,
    pub failed: Vec<(Kind, String)>,
}

impl Ended {
    /// Fails where any piece of work did, or where none of a kind was done.
    #[track_caller]
    pub fn nothing_failed(&self) {
        assert!(self.failed.is_empty(), "{:#?}", self.failed);
        for kind in KINDS {
            assert!(self.done.get(&kind) > Some(&0), "none of {kind:?}");
        }
    }

    /// How many of a kind failed.
    pub fn failed(&self, kind: Kind) -> usize {
        self.failed.iter().filter(|(one, _)| *one == kind).count()
    }
}

/// Clients that are at work.
pub struct Clients {
    stop: Arc<AtomicBool>,
    ended: Arc<Mutex<Ended>>,
    thread: std::thread::JoinHandle<()>,
}

impl Clients {
    /// They begin. Those in TLS believe `authority`, in PEM.
    pub fn start(address: IpAddr, ports: Ports, roots: RootCertStore) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(Mutex::new(Ended::default()));
        let (told, record) = (Arc::clone(&stop), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut all = tokio::task::JoinSet::new();
                let number = Arc::new(AtomicU64::new(0));
                for kind in KINDS {
                    for secure in [false, true] {
                        for _ in 0..CLIENTS {
                            let client = Client {
                                kind,
                                address,
                                ports,
                                tls: secure.then(|| config(kind, roots.clone())),
                                number: Arc::clone(&number),
                            };
                            all.spawn(client.work(Arc::clone(&told), Arc::clone(&record)));
                        }
                    }
                }
                while let Some(over) = all.join_next().await {
                    over.unwrap();
                }
            });
        });
        Self {
            stop,
            ended,
            thread,
        }
    }

    /// Waits until so much more of each kind is done, or has failed.
    #[track_caller]
    pub fn wait_for_more(&self, each: u64) {
        let count = || {
            let ended = self.ended.lock().unwrap();
            KINDS.map(|kind| {
                let failed = u64::try_from(ended.failed(kind)).unwrap();
                ended.done.get(&kind).copied().unwrap_or(0) + failed
            })
        };
        let before = count();
        wait_until("more work", Duration::from_mins(2), || {
            let now = count();
            let mut grown = now.iter().zip(&before);
            grown
                .all(|(now, before)| now - before >= each)
                .then_some(())
                .ok_or(now)
        });
    }

    /// What is begun is done, and nothing more.
    pub fn end(self) -> Ended {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.ended.lock().unwrap().clone()
    }
}

fn config(kind: Kind, roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match kind {
        Kind::Http2 | Kind::Unary | Kind::Streaming => vec![b"h2".to_vec()],
        Kind::Http1 | Kind::WebSocket => vec![b"http/1.1".to_vec()],
        Kind::Tcp => Vec::new(),
    };
    Arc::new(config)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Client {
    kind: Kind,
    address: IpAddr,
    ports: Ports,
    tls: Option<Arc<ClientConfig>>,
    number: Arc<AtomicU64>,
}

impl Client {
    async fn work(self, stop: Arc<AtomicBool>, ended: Arc<Mutex<Ended>>) {
        let mut http2 = None;
        while !stop.load(Ordering::Relaxed) {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            // From at once to five seconds, other than the others'.
            let lasts = Duration::from_millis(number * 739 % 5000);
            let done = tokio::time::timeout(lasts + PATIENCE, self.piece(lasts, &mut http2));
            let failed = match done.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("it took too long".to_owned()),
            };
            if failed.is_some() {
                http2 = None;
            }
            self.note(failed.map(|why| format!("{lasts:?}: {why}")), &ended);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn note(&self, failed: Option<String>, ended: &Mutex<Ended>) {
        let mut ended = ended.lock().unwrap();
        match failed {
            None => *ended.done.entry(self.kind).or_default() += 1,
            Some(why) => {
                let how = if self.tls.is_some() { "TLS" } else { "clear" };
                ended.failed.push((self.kind, format!("{how}, {why}")));
            }
        }
    }

    async fn piece(
        &self,
        lasts: Duration,
        http2: &mut Option<h2::client::SendRequest<Bytes>>,
    ) -> Result<(), Failure> {
        match self.kind {
            Kind::Http1 => http1(&mut self.connect().await?, lasts).await,
            Kind::WebSocket => web_socket(&mut self.connect().await?, lasts).await,
            Kind::Tcp => bytes(&mut self.connect().await?, lasts).await,
            Kind::Http2 | Kind::Unary | Kind::Streaming => {
                let send = match http2.take() {
                    Some(send) => send,
                    None => self.http2().await?,
                };
                // One that is going away is left for another, as clients do.
                let send = match send.ready().await {
                    Ok(send) => send,
                    Err(_) => self.http2().await?.ready().await?,
                };
                *http2 = Some(send.clone());
                match self.kind {
                    Kind::Http2 => request(send, lasts, self.scheme()).await,
                    Kind::Unary => unary(send, lasts, self.scheme()).await,
                    _ => streaming(send, lasts, self.scheme()).await,
                }
            }
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    async fn connect(&self) -> Result<Pin<Box<dyn Stream>>, Failure> {
        let port = match (self.kind, &self.tls) {
            (Kind::Tcp, None) => self.ports.tcp,
            (Kind::Tcp, Some(_)) => self.ports.tls,
            (_, None) => self.ports.http,
            (_, Some(_)) => self.ports.https,
        };
        let stream = TcpStream::connect(SocketAddr::new(self.address, port)).await?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else {
            return Ok(Box::pin(stream));
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector
            .connect(ServerName::try_from(HOST)?, stream)
            .await?;
        Ok(Box::pin(stream))
    }

    async fn http2(&self) -> Result<h2::client::SendRequest<Bytes>, Failure> {
        let (send, connection) = h2::client::handshake(self.connect().await?).await?;
        tokio::spawn(connection);
        Ok(send)
    }
}

fn is(found: &[u8], wanted: &[u8]) -> Result<(), Failure> {
    if found == wanted {
        return Ok(());
    }
    Err(format!(
        "{} in place of {}",
        found.escape_ascii(),
        wanted.escape_ascii()
    )
    .into())
}

/// A POST, and its answer, which ends the connection.
async fn http1(stream: &mut Pin<Box<dyn Stream>>, lasts: Duration) -> Result<(), Failure> {
    let millis = lasts.as_millis();
    let request = format!(
        "POST /?millis={millis} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    is(&answer[..answer.len().min(12)], b"HTTP/1.1 200")?;
    is(&answer[answer.len() - 5..], b"hello")
}

/// Messages there and back, and a closing that both sides agree to.
async fn web_socket(stream: &mut Pin<Box<dyn Stream>>, lasts: Duration) -> Result<(), Failure> {
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    is(&head[..12], b"HTTP/1.1 101")?;
    let texts = (0..10).map(|at: u32| (TEXT, format!("message {at}").into_bytes()));
    for (kind, payload) in texts.chain([(CLOSE, vec![0x03, 0xe8])]) {
        let frame = Frame { kind, payload };
        stream.write_all(&frame.bytes(Masked::Yes)).await?;
        stream.flush().await?;
        let back = frames::read(stream).await?;
        if back != frame {
            return Err(format!("{back:?} in place of {frame:?}").into());
        }
        if kind == TEXT {
            tokio::time::sleep(lasts / 10).await;
        }
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    is(&rest, b"")
}

/// Bytes there and back, and both ends, ours first.
async fn bytes(stream: &mut Pin<Box<dyn Stream>>, lasts: Duration) -> Result<(), Failure> {
    for at in 0..10 {
        let sent = format!("piece {at}");
        stream.write_all(sent.as_bytes()).await?;
        stream.flush().await?;
        let mut got = vec![0; sent.len()];
        stream.read_exact(&mut got).await?;
        is(&got, sent.as_bytes())?;
        tokio::time::sleep(lasts / 10).await;
    }
    stream.shutdown().await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    is(&rest, b"")
}

type Asker = h2::client::SendRequest<Bytes>;

fn asking(scheme: &str, target: &str) -> Request<()> {
    let request = Request::post(format!("{scheme}://{HOST}{target}"));
    let grpc = target.starts_with("/echo.Echo/");
    let request = if grpc {
        request
            .header("content-type", "application/grpc")
            .header("te", "trailers")
    } else {
        request.header("content-length", "5")
    };
    request.body(()).unwrap()
}

async fn request(mut to: Asker, lasts: Duration, scheme: &str) -> Result<(), Failure> {
    let target = format!("/?millis={}", lasts.as_millis());
    let (response, mut body) = to.send_request(asking(scheme, &target), false)?;
    body.send_data(Bytes::from_static(b"hello"), true)?;
    let response = response.await?;
    is(response.status().as_str().as_bytes(), b"200")?;
    let mut body = response.into_body();
    is(&rest(&mut body).await?, b"hello")
}

/// A message of gRPC.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[0], &length[..], text.as_bytes()].concat().into()
}

async fn unary(mut to: Asker, lasts: Duration, scheme: &str) -> Result<(), Failure> {
    let target = format!("{UNARY}?millis={}", lasts.as_millis());
    let (response, mut body) = to.send_request(asking(scheme, &target), false)?;
    body.send_data(message("hello"), true)?;
    let mut body = response.await?.into_body();
    is(&rest(&mut body).await?, &message("hello"))?;
    succeeded(&mut body).await
}

async fn streaming(mut to: Asker, lasts: Duration, scheme: &str) -> Result<(), Failure> {
    let (response, mut asked) = to.send_request(asking(scheme, STREAM), false)?;
    send(&mut asked, message("message 0")).await?;
    let mut answer = response.await?.into_body();
    for at in 1..=10 {
        let wanted = message(&format!("message {}", at - 1));
        let mut got = Vec::new();
        while got.len() < wanted.len() {
            let data = answer.data().await.ok_or("it ended early")??;
            answer.flow_control().release_capacity(data.len())?;
            got.extend_from_slice(&data);
        }
        is(&got, &wanted)?;
        tokio::time::sleep(lasts / 10).await;
        if at < 10 {
            send(&mut asked, message(&format!("message {at}"))).await?;
        }
    }
    asked.send_data(Bytes::new(), true)?;
    is(&rest(&mut answer).await?, b"")?;
    succeeded(&mut answer).await
}

async fn rest(body: &mut h2::RecvStream) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all)
}

async fn succeeded(body: &mut h2::RecvStream) -> Result<(), Failure> {
    let trailers = body.trailers().await?.ok_or("no trailers")?;
    let status = trailers.get("grpc-status").ok_or("no grpc-status")?;
    is(status.as_bytes(), b"0")
}
