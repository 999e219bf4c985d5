//! A client and a server of HTTP/2, by prior knowledge, on the runtime of the test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// One client's connection.
pub struct Client {
    pub send: SendRequest<Bytes>,
    /// Ends with the connection.
    pub driver: JoinHandle<Result<(), h2::Error>>,
}

/// A response, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::with(h2::client::Builder::new(), address).await
    }

    /// With settings of its own.
    pub async fn with(mut builder: h2::client::Builder, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let shaken = builder.enable_push(false).handshake(stream);
        let (send, connection) = shaken.await.unwrap();
        let driver = tokio::spawn(connection);
        Self { send, driver }
    }

    /// Sends a request with this body, and reads its answer to the end.
    pub async fn ask(
        &self,
        request: Request<()>,
        body: impl Into<Bytes>,
    ) -> Result<Answer, h2::Error> {
        let body = body.into();
        let mut send = self.send.clone().ready().await?;
        let (response, mut stream) = send.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            upload(&mut stream, body).await;
        }
        read(response.await?).await
    }

    pub async fn get(&self, path: &str) -> Result<Answer, h2::Error> {
        self.ask(request(Method::GET, path), Bytes::new()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Result<Answer, h2::Error> {
        self.ask(request(Method::POST, path), body).await
    }

    /// Sends a request without a body, and returns before its answer.
    pub async fn send(&self, path: &str) -> h2::client::ResponseFuture {
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request(Method::GET, path), true)
            .unwrap()
            .0
    }

    /// Begins a request whose body the caller sends.
    pub async fn begin(
        &self,
        request: Request<()>,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request, false).unwrap()
    }
}

/// A request for a path of the host `test`.
pub fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("http://test{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

/// Sends a whole body as the window allows; gives up where the stream is reset.
pub async fn upload(stream: &mut SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return;
        };
        let part = body.split_to(room.min(body.len()));
        if stream.send_data(part, body.is_empty()).is_err() {
            return;
        }
    }
}

/// Reads a response to its end.
pub async fn read(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let body = read_body(&mut stream).await?;
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        trailers: stream.trailers().await?,
    })
}

/// Reads a body to its end.
pub async fn read_body(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body)
}

/// A request that a [`Server`] got.
#[derive(Debug)]
pub struct Seen {
    pub head: http::request::Parts,
    pub connection: usize,
}

/// An endpoint that speaks HTTP/2. By path: `/echo` gives body and trailers back; `/refuse` refuses the stream;
/// `/cut` sends half of a body and, once it is told to, resets, with the reason's number as its query; `/never` does not answer;
/// all else is answered with the path.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Lets one `/cut` reset its stream.
    pub cut: Arc<Notify>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(h2::server::Builder::new()).await
    }

    /// With settings of its own.
    pub async fn with(builder: h2::server::Builder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let cut = Arc::new(Notify::new());
        let told = Arc::clone(&cut);
        let accepting = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                tokio::spawn(serve(
                    stream,
                    builder.clone(),
                    connection,
                    Arc::clone(&all),
                    Arc::clone(&told),
                ));
            }
        });
        Self {
            address,
            seen,
            cut,
            accepting,
        }
    }

    /// What came so far.
    pub fn seen(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves one connection as [`Server`] does.
pub async fn serve<S>(
    stream: S,
    builder: h2::server::Builder,
    connection: usize,
    seen: Arc<Mutex<Vec<Seen>>>,
    cut: Arc<Notify>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(mut open) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    while let Some(Ok((request, reply))) = open.accept().await {
        let (head, body) = request.into_parts();
        let (path, query) = (
            head.uri.path().to_owned(),
            head.uri.query().map(str::to_owned),
        );
        seen.lock().unwrap().push(Seen { head, connection });
        if path == "/goaway" {
            // This one is served, and no other.
            open.graceful_shutdown();
        }
        tokio::spawn(answer(path, query, body, reply, Arc::clone(&cut)));
    }
}

async fn answer(
    path: String,
    query: Option<String>,
    mut body: RecvStream,
    mut reply: SendResponse<Bytes>,
    cut: Arc<Notify>,
) {
    match path.as_str() {
        "/echo" => {
            let Ok(content) = read_body(&mut body).await else {
                return;
            };
            let trailers = body.trailers().await.unwrap();
            let mut stream = reply.send_response(Response::new(()), false).unwrap();
            let data = Bytes::from(content);
            if let Some(trailers) = trailers {
                stream.send_data(data, false).unwrap();
                stream.send_trailers(trailers).unwrap();
            } else {
                upload(&mut stream, data).await;
            }
        }
        "/refuse" => reply.send_reset(Reason::REFUSED_STREAM),
        "/cut" => {
            let mut stream = reply.send_response(Response::new(()), false).unwrap();
            stream
                .send_data(Bytes::from_static(b"half"), false)
                .unwrap();
            cut.notified().await;
            let number: u32 = query.unwrap_or_default().parse().unwrap();
            stream.send_reset(Reason::from(number));
        }
        "/never" => {
            let _ = std::future::poll_fn(|cx| reply.poll_reset(cx)).await;
        }
        _ => {
            let mut stream = reply.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from(path), true).unwrap();
        }
    }
}
