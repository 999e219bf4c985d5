//! gRPC: every call is answered by one message and `grpc-status: 0`.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;

use super::Serve;
use crate::wire;

/// Streams at once on one connection: what most servers allow, or more.
const STREAMS: u32 = 256;

/// Needs nothing.
pub struct Service;

impl Serve for Service {
    fn serve(&self, stream: TcpStream) -> impl Future<Output = anyhow::Result<()>> + 'static {
        answer(stream)
    }
}

async fn answer(stream: TcpStream) -> anyhow::Result<()> {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(STREAMS);
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    let message = Bytes::from(wire::grpc_message());
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        tokio::task::spawn_local(one(request, respond, message.clone()));
    }
    Ok(())
}

async fn one(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    message: Bytes,
) -> anyhow::Result<()> {
    let mut asked = request.into_body();
    while let Some(piece) = asked.data().await {
        let length = piece?.len();
        asked.flow_control().release_capacity(length)?;
    }
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .body(())?;
    let mut body = respond.send_response(head, false)?;
    body.send_data(message, false)?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers)?;
    Ok(())
}
