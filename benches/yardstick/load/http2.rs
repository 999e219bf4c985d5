//! Clients of HTTP/2 by prior knowledge, each with one stream at a time: requests, and unary calls of gRPC.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use super::Client;
use crate::wire;

/// How long a proxy may take to say how many streams it allows.
const SETTINGS: Duration = Duration::from_millis(20);

/// Connections that are opened as clients need them.
pub struct Connections {
    target: SocketAddr,
    streams: usize,
    last: RefCell<(usize, Option<SendRequest<Bytes>>)>,
}

impl Connections {
    /// To the proxy at `target`, each for so many clients.
    pub fn new(target: SocketAddr, streams: usize) -> Self {
        Self {
            target,
            streams,
            last: RefCell::default(),
        }
    }

    /// For one client.
    async fn one(&self) -> anyhow::Result<SendRequest<Bytes>> {
        let (used, last) = self.last.take();
        let send = match last {
            Some(send) if used % self.streams != 0 => send,
            _ => open(self.target).await?,
        };
        self.last.replace((used + 1, Some(send.clone())));
        Ok(send)
    }
}

async fn open(target: SocketAddr) -> anyhow::Result<SendRequest<Bytes>> {
    let stream = super::connect(target).await?;
    let (send, connection) = h2::client::handshake(stream).await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await
            && error.reason() != Some(Reason::NO_ERROR)
        {
            eprintln!("a connection of HTTP/2 ended: {error}");
        }
    });
    tokio::time::sleep(SETTINGS).await;
    Ok(send)
}

/// Asks for the small answer.
pub struct Get {
    send: SendRequest<Bytes>,
    uri: Uri,
    fields: HeaderMap,
}

impl Get {
    /// On one of the connections.
    pub async fn new(connections: &Connections) -> anyhow::Result<Self> {
        let mut fields = HeaderMap::new();
        fields.insert("user-agent", HeaderValue::from_static("yardstick"));
        fields.insert("accept", HeaderValue::from_static("*/*"));
        fields.insert("accept-encoding", HeaderValue::from_static("gzip, br"));
        Ok(Self {
            send: connections.one().await?,
            uri: uri(connections.target, wire::SMALL_TARGET)?,
            fields,
        })
    }
}

impl Client for Get {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        let mut request = Request::new(());
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.fields.clone();
        let (response, _) = self
            .send
            .clone()
            .ready()
            .await?
            .send_request(request, true)?;
        let (head, mut body) = response.await?.into_parts();
        ensure!(head.status == 200, "the proxy answered {}", head.status);
        let length = read(&mut body).await?;
        ensure!(length == wire::SMALL, "the proxy answered {length} bytes");
        Ok(())
    }
}

/// Makes the unary call.
pub struct Call {
    send: SendRequest<Bytes>,
    uri: Uri,
    fields: HeaderMap,
    message: Bytes,
}

impl Call {
    /// On one of the connections.
    pub async fn new(connections: &Connections) -> anyhow::Result<Self> {
        let mut fields = HeaderMap::new();
        fields.insert("content-type", HeaderValue::from_static("application/grpc"));
        fields.insert("te", HeaderValue::from_static("trailers"));
        fields.insert("user-agent", HeaderValue::from_static("yardstick"));
        Ok(Self {
            send: connections.one().await?,
            uri: uri(connections.target, "/yardstick.Echo/Unary")?,
            fields,
            message: wire::grpc_message().into(),
        })
    }
}

impl Client for Call {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.fields.clone();
        let mut send = self.send.clone().ready().await?;
        let (response, mut body) = send.send_request(request, false)?;
        body.send_data(self.message.clone(), true)?;
        let (head, mut body) = response.await?.into_parts();
        ensure!(head.status == 200, "the proxy answered {}", head.status);
        let length = read(&mut body).await?;
        let trailers = body.trailers().await?;
        let trailers = trailers.with_context(|| format!("no trailers; {:?}", head.headers))?;
        let status = trailers.get("grpc-status").map(HeaderValue::as_bytes);
        ensure!(status == Some(b"0"), "the call ended with {trailers:?}");
        ensure!(
            length == self.message.len(),
            "the proxy answered {length} bytes"
        );
        Ok(())
    }
}

fn uri(target: SocketAddr, path: &str) -> anyhow::Result<Uri> {
    Ok(format!("http://{target}{path}").parse()?)
}

async fn read(body: &mut RecvStream) -> anyhow::Result<usize> {
    let mut length = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?.len();
        body.flow_control().release_capacity(piece)?;
        length += piece;
    }
    Ok(length)
}
