//! The app that speaks everything: HTTP/1.1 and `WebSocket` on one port, HTTP/2 and gRPC on another, bytes on a third. It
//! runs in a pod, as this very test program, and has most apps' unkind habit: on SIGTERM it exits at once. What it did
//! stands in its record, where a stream and a connection count as a request does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use super::frames::{self, CLOSE, Masked};
use crate::support::record::{Recorder, What};

/// HTTP/1.1 and `WebSocket`.
pub const WEB: u16 = 8080;
/// HTTP/2 and gRPC.
pub const RPC: u16 = 8081;
/// Bytes that come back.
pub const RAW: u16 = 8082;

/// Calls that are answered with one message, and those with one message for each of theirs.
pub const UNARY: &str = "/echo.Echo/Unary";
pub const STREAM: &str = "/echo.Echo/Stream";

/// No test: what a pod runs.
#[test]
#[ignore = "it is the app, which a pod runs until SIGTERM"]
fn the_app() {
    let place = std::env::var("RECORD").unwrap().parse().unwrap();
    let name = std::env::var("NAME").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let recorder = Arc::new(Recorder::begin(&place, &name).unwrap());
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let bind = async |port| TcpListener::bind(("0.0.0.0", port)).await.unwrap();
        // The first is asked whether the pod is ready, so it is there last.
        let (raw, rpc, web) = (bind(RAW).await, bind(RPC).await, bind(WEB).await);
        tokio::select! {
            biased;
            _ = terminate.recv() => {
                recorder.note(What::Sigterm, None).unwrap();
                recorder.finish().unwrap();
                std::process::exit(0);
            }
            () = accept(raw, &recorder, raw_connection) => {}
            () = accept(rpc, &recorder, rpc_connection) => {}
            () = accept(web, &recorder, web_connection) => {}
        }
    });
}

type Record = Arc<Recorder>;

async fn accept<F>(listener: TcpListener, record: &Record, serve: fn(TcpStream, Record) -> F)
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        // How it ended is in the record.
        tokio::spawn(serve(stream, Arc::clone(record)));
    }
}

/// One piece of work: it is over when it says so, and broken where it does not.
struct Work {
    record: Record,
    over: bool,
}

impl Work {
    fn begin(record: &Record) -> Self {
        record.note(What::Begin, None).unwrap();
        Self {
            record: Arc::clone(record),
            over: false,
        }
    }

    /// Said just before the other side can know it: what follows is out of this process' hands.
    fn end(&mut self) {
        self.over = true;
        self.record.note(What::End, None).unwrap();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.over {
            let _ = self.record.note(What::Broken, None);
        }
    }
}

/// Bytes come back until the client has ended its side.
async fn raw_connection(mut stream: TcpStream, record: Record) -> std::io::Result<()> {
    let mut work = Work::begin(&record);
    let mut piece = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            work.end();
            return stream.shutdown().await;
        }
        stream.write_all(&piece[..count]).await?;
    }
}

/// `?millis=N` is how long an answer takes; it is the request's body, or its path.
async fn web_connection(stream: TcpStream, record: Record) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let mut work = Work::begin(&record);
        let target = head.split(' ').nth(1).unwrap_or_default();
        if target.starts_with("/ws") {
            return web_socket(stream, work).await;
        }
        let length = head.lines().find_map(|line| {
            let length = line.strip_prefix("content-length:")?;
            length.trim().parse().ok()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        if body.is_empty() {
            body = target.as_bytes().to_vec();
        }
        tokio::time::sleep(millis(target)).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        work.end();
        stream
            .write_all(&[answer.as_bytes(), &body].concat())
            .await?;
    }
}

fn millis(target: &str) -> Duration {
    let asked = target.split_once("millis=").map(|(_, millis)| millis);
    Duration::from_millis(asked.and_then(|millis| millis.parse().ok()).unwrap_or(0))
}

/// Messages come back until the client says that it closes.
async fn web_socket(mut stream: BufReader<TcpStream>, mut work: Work) -> std::io::Result<()> {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(switch.as_bytes()).await?;
    loop {
        let frame = frames::read(&mut stream).await?;
        let closes = frame.kind == CLOSE;
        if closes {
            work.end();
        }
        stream.write_all(&frame.bytes(Masked::No)).await?;
        if closes {
            return stream.shutdown().await;
        }
    }
}

async fn rpc_connection(stream: TcpStream, record: Record) -> std::io::Result<()> {
    let accepted = h2::server::handshake(stream).await;
    let mut connection = accepted.map_err(std::io::Error::other)?;
    while let Some(accepted) = connection.accept().await {
        let (request, reply) = accepted.map_err(std::io::Error::other)?;
        let work = Work::begin(&record);
        tokio::spawn(call(request, reply, work));
    }
    Ok(())
}

/// Messages come back, each as it comes, and at the end what became of the call.
async fn call(
    request: http::Request<RecvStream>,
    mut reply: SendResponse<Bytes>,
    mut work: Work,
) -> Result<(), h2::Error> {
    let millis = millis(request.uri().query().unwrap_or_default());
    let mut asked = request.into_body();
    let mut response = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    let mut answer = reply.send_response(response, false)?;
    while let Some(data) = asked.data().await {
        let data = data?;
        asked.flow_control().release_capacity(data.len())?;
        send(&mut answer, data).await?;
    }
    tokio::time::sleep(millis).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    work.end();
    answer.send_trailers(trailers)
}

/// Sends as the window allows.
pub async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => {
                let part = data.split_to(room?.min(data.len()));
                stream.send_data(part, false)?;
            }
            None => return Err(h2::Reason::CANCEL.into()),
        }
    }
    Ok(())
}
