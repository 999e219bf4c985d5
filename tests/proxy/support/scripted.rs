//! An endpoint that speaks HTTP/2 and does nothing by itself: each stream is handed to the test, which answers it
//! step by step.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::http2::read_body;

/// How long a request may take to come on a busy machine.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// The endpoint. Its connections end when it is dropped.
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    streams: mpsc::UnboundedReceiver<Stream>,
    accepting: JoinHandle<()>,
}

/// A request that came.
pub struct Stream {
    /// Its head.
    pub head: http::request::Parts,
    /// Its body.
    pub body: RecvStream,
    reply: SendResponse<Bytes>,
}

impl Scripted {
    /// Listens.
    pub async fn start() -> Self {
        Self::with(h2::server::Builder::new()).await
    }

    /// Takes `WebSocket`s (RFC 8441).
    pub async fn with_websockets() -> Self {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol();
        Self::with(builder).await
    }

    /// With settings of its own.
    pub async fn with(builder: h2::server::Builder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, builder) = (sender.clone(), builder.clone());
                connections.spawn(async move {
                    let Ok(mut open) = builder.handshake::<_, Bytes>(stream).await else {
                        return;
                    };
                    while let Some(Ok((request, reply))) = open.accept().await {
                        let (head, body) = request.into_parts();
                        let _ = sender.send(Stream { head, body, reply });
                    }
                });
            }
        });
        Self {
            address,
            streams,
            accepting,
        }
    }

    /// The next request.
    pub async fn next(&mut self) -> Stream {
        let next = tokio::time::timeout(LIMIT, self.streams.recv()).await;
        next.expect("no request came").unwrap()
    }

    /// The next request, where it is here.
    pub fn at_hand(&mut self) -> Option<Stream> {
        self.streams.try_recv().ok()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Stream {
    /// Its path.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// Reads its body to the end.
    pub async fn read(&mut self) -> Vec<u8> {
        read_body(&mut self.body).await.unwrap()
    }

    /// An interim response.
    pub fn interim(&mut self, status: u16, field: (&'static str, &'static str)) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let value = HeaderValue::from_static(field.1);
        response.headers_mut().insert(field.0, value);
        self.reply.send_informational(response).unwrap();
    }

    /// Begins the answer.
    pub fn begin(&mut self, status: u16) -> SendStream<Bytes> {
        self.begin_with(status, HeaderMap::new())
    }

    /// Begins the answer with these fields.
    pub fn begin_with(&mut self, status: u16, fields: HeaderMap) -> SendStream<Bytes> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = fields;
        self.reply.send_response(response, false).unwrap()
    }

    /// Answers with this body.
    pub fn answer(&mut self, body: impl Into<Bytes>) {
        self.begin(200).send_data(body.into(), true).unwrap();
    }

    /// Answers with a status and nothing else.
    pub fn answer_with(&mut self, status: u16) {
        self.begin(status).send_data(Bytes::new(), true).unwrap();
    }

    /// Refuses it: nothing was done with it.
    pub fn refuse(&mut self) {
        self.reset(Reason::REFUSED_STREAM);
    }

    /// Resets it with this code.
    pub fn reset(&mut self, code: Reason) {
        self.reply.send_reset(code);
    }
}

/// One message of gRPC.
pub fn message(content: &[u8]) -> Bytes {
    let length = u32::try_from(content.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), content].concat().into()
}

/// The trailers of a call that went well.
pub fn well() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}
