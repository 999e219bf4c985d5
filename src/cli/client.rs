//! A client of the admin API over its Unix socket. One connection a call: calls are few and lastcall may
//! have restarted in between.

use std::fmt::Write;
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Failure;
use crate::admin::schema::{Problem, ReloadProblem};

/// A call that is no stream answers within this, or lastcall hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// lastcall sends a heartbeat every 3 s into its streams.
const SILENCE: Duration = Duration::from_secs(10);

/// Speaks to one admin socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
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
            socket: self.socket.clone(),
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
            .map_err(|_| self.unreachable("it accepts, but does not answer"))??;
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
                    self.socket.display()
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
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.not_connected(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.lost(&error))?;
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
        sender
            .send_request(request)
            .await
            .map_err(|error| self.lost(&error))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Failure> {
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::Other(anyhow::anyhow!(
                "{} gave an answer of another version: {error}",
                self.socket.display()
            ))
        })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        match timeout(PATIENCE, response.into_body().collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.lost(&error)),
            Err(_) => Err(self.unreachable("the answer does not end")),
        }
    }

    fn not_connected(&self, error: &io::Error) -> Failure {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::Permission { socket },
            io::ErrorKind::NotFound => self.unreachable("there is no such socket"),
            io::ErrorKind::ConnectionRefused => {
                self.unreachable("the process that made it has ended")
            }
            _ => self.unreachable(&error.to_string()),
        }
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::Unreachable {
            socket: self.socket.clone(),
            why: why.to_owned(),
        }
    }

    fn lost(&self, error: &hyper::Error) -> Failure {
        Failure::Lost {
            socket: self.socket.clone(),
            why: error.to_string(),
        }
    }
}

/// The lines of a stream.
pub(super) struct Lines<L> {
    socket: PathBuf,
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
                return serde_json::from_slice(&line[..end])
                    .map_err(|error| self.lost(&format!("a line of another version: {error}")));
            }
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Ok(Some(Err(error))) => return Err(self.lost(&error.to_string())),
                Ok(None) => return Err(self.lost("it ended early")),
                Err(_) => return Err(self.lost("it fell silent")),
            }
        }
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::Lost {
            socket: self.socket.clone(),
            why: why.to_owned(),
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
