//! A client of the admin API, wherever its streams come from. One connection a call: calls are few and
//! lastcall may have restarted in between.

use std::fmt::Write;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Failure;
use super::dial::{Dial, Dialled};
use crate::admin::schema::{Problem, ReloadProblem};

/// A call that is no stream answers within this, or lastcall hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// lastcall sends a heartbeat every 3 s into its streams.
const SILENCE: Duration = Duration::from_secs(10);

/// What went wrong on the way is told within this after the stream has ended.
const TROUBLE: Duration = Duration::from_millis(200);

/// Speaks to one lastcall.
#[derive(Clone, Debug)]
pub(super) struct Client {
    way: Arc<dyn Dial>,
}

impl Client {
    pub(super) fn new(way: Arc<dyn Dial>) -> Self {
        Self { way }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.call(Method::GET, path, None).await?;
        self.read(response).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Other(error.into()))?;
        let response = self.call(Method::POST, path, Some(body)).await?;
        self.read(response).await
    }

    /// A stream of lines.
    pub(super) async fn lines<L: DeserializeOwned>(&self, path: &str) -> Result<Lines<L>, Failure> {
        Ok(Lines {
            way: Arc::clone(&self.way),
            body: self.call(Method::GET, path, None).await?.into_body(),
            buffer: BytesMut::new(),
            line: PhantomData,
        })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, Failure> {
        let response = timeout(PATIENCE, self.send(method, path, body))
            .await
            .map_err(|_| self.way.unreachable("it accepts, but does not answer"))??;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = self.whole(response).await?;
        let refused = serde_json::from_slice::<ReloadProblem>(&body).or_else(|_| {
            serde_json::from_slice::<Problem>(&body).map(|problem| ReloadProblem {
                problem,
                faults: Vec::new(),
            })
        });
        Err(refused.map_or_else(
            |_| {
                Failure::Other(anyhow::anyhow!(
                    "{} answered {status}: is that lastcall?",
                    self.way.place()
                ))
            },
            |refused| Failure::Refused(Box::new(refused)),
        ))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, Failure> {
        let Dialled { stream, trouble } = self.way.dial().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.way.lost(&error.to_string()))?;
        // Ends with the response's body; what fails there fails in the response too.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Failure::Other(error.into()))?;
        match sender.send_request(request).await {
            Ok(response) => Ok(response),
            Err(error) => Err(match timeout(TROUBLE, trouble).await {
                Ok(Some(trouble)) => self.way.unreachable(&trouble),
                _ => self.way.lost(&error.to_string()),
            }),
        }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Failure> {
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::Other(anyhow::anyhow!(
                "{} gave an answer of another version: {error}",
                self.way.place()
            ))
        })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        match timeout(PATIENCE, response.into_body().collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.way.lost(&error.to_string())),
            Err(_) => Err(self.way.unreachable("the answer does not end")),
        }
    }
}

/// The lines of a stream.
pub(super) struct Lines<L> {
    way: Arc<dyn Dial>,
    body: Incoming,
    buffer: BytesMut,
    line: PhantomData<L>,
}

impl<L: DeserializeOwned> Lines<L> {
    /// The next line; a stream that ends or falls silent before its last line is lost.
    pub(super) async fn next(&mut self) -> Result<L, Failure> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = self.buffer.split_to(end + 1);
                return serde_json::from_slice(&line[..end]).map_err(|error| {
                    self.way
                        .lost(&format!("a line of another version: {error}"))
                });
            }
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Ok(Some(Err(error))) => return Err(self.way.lost(&error.to_string())),
                Ok(None) => return Err(self.way.lost("it ended early")),
                Err(_) => return Err(self.way.lost("it fell silent")),
            }
        }
    }
}

/// A value as it stands in a query (RFC 3986 section 3.4).
pub(super) fn in_query(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                encoded.push(char::from(byte));
            }
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_takes_any_target() {
        assert_eq!(in_query("be/web/[::1]:80"), "be/web/%5B::1%5D:80");
        assert_eq!(in_query("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }
}
