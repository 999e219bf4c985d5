//! Calls of gRPC: HTTP/2 on both sides, the calls of all clients on one connection to the backend.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use crate::STREAMS;

/// The fields that the other proxies work out, but for what is new in each.
const FIELDS: [(&str, &str); 6] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "bench"),
    ("x-real-ip", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1;proto=http;host=\"bench\""),
    ("via", "2.0 floor"),
];

/// The one connection to the backend.
struct Upstream {
    send: RefCell<SendRequest<Bytes>>,
    /// Calls so far: the request's id.
    calls: Cell<u128>,
}

/// Serves for ever.
pub async fn run(listen: SocketAddr, backend: SocketAddr) -> anyhow::Result<()> {
    let stream = TcpStream::connect(backend).await?;
    stream.set_nodelay(true)?;
    let (send, connection) = h2::client::handshake(stream).await?;
    spawn_local(connection);
    let upstream = Rc::new(Upstream {
        send: RefCell::new(send),
        calls: Cell::default(),
    });
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        drop(spawn_local(serve(stream, Rc::clone(&upstream))));
    }
}

/// All calls of a connection are futures of its one task.
async fn serve(stream: TcpStream, upstream: Rc<Upstream>) -> anyhow::Result<()> {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(STREAMS);
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    let mut calls = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = calls.next(), if !calls.is_empty() => {}
            accepted = connection.accept() => match accepted {
                Some(accepted) => {
                    let (request, respond) = accepted?;
                    calls.push(one(request, respond, Rc::clone(&upstream)));
                }
                None => return Ok(()),
            },
        }
    }
}

/// The request's messages first, then the answer's: calls that stream both ways at once are not for this.
async fn one(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    upstream: Rc<Upstream>,
) -> anyhow::Result<()> {
    let (mut parts, mut asked) = request.into_parts();
    upstream.put(&mut parts.headers)?;
    let send = upstream.send.borrow().clone();
    let mut send = send.ready().await?;
    let (answer, mut up) = send.send_request(Request::from_parts(parts, ()), false)?;
    let mut ends = false;
    while let Some(piece) = asked.data().await {
        let piece = piece?;
        asked.flow_control().release_capacity(piece.len())?;
        ends = asked.is_end_stream();
        up.send_data(piece, ends)?;
    }
    if !ends {
        up.send_data(Bytes::new(), true)?;
    }
    let (head, mut answered) = answer.await?.into_parts();
    let mut down = respond.send_response(Response::from_parts(head, ()), false)?;
    while let Some(piece) = answered.data().await {
        let piece = piece?;
        answered.flow_control().release_capacity(piece.len())?;
        down.send_data(piece, false)?;
    }
    down.send_trailers(answered.trailers().await?.unwrap_or_default())?;
    Ok(())
}

impl Upstream {
    fn put(&self, fields: &mut HeaderMap) -> anyhow::Result<()> {
        fields.reserve(FIELDS.len() + 1);
        for (name, value) in FIELDS {
            fields.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        self.calls.set(self.calls.get() + 1);
        let mut id = HeaderValue::from_str(&format!("{:032x}", self.calls.get()))?;
        // Not for the table of what may come again.
        id.set_sensitive(true);
        fields.insert(HeaderName::from_static("x-request-id"), id);
        Ok(())
    }
}
