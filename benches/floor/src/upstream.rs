//! Connections to the backend, which speaks HTTP/1.1, and one request on one of them.

use std::cell::RefCell;
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};
use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The fields that the other proxies work out.
const FIELDS: &[u8] =
    b"x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: bench\r\n\
    x-real-ip: 127.0.0.1\r\nforwarded: for=127.0.0.1;proto=http;host=\"bench\"\r\n\
    x-request-id: 0123456789abcdef0123456789abcdef\r\nvia: 2.0 floor\r\n\r\n";
/// Room for a head in a new buffer.
const HEAD: usize = 4096;
/// Fields of an answer.
const MOST_FIELDS: usize = 32;

/// Connections that wait for their next request.
pub struct Pool {
    backend: SocketAddr,
    idle: RefCell<Vec<Connection>>,
}

struct Connection {
    stream: TcpStream,
    out: BytesMut,
    input: BytesMut,
}

impl Pool {
    /// Without connections.
    pub fn new(backend: SocketAddr) -> Self {
        Self {
            backend,
            idle: RefCell::default(),
        }
    }

    /// Sends a request without content, and reads its answer.
    pub async fn ask(&self, parts: &Parts) -> anyhow::Result<Response<Bytes>> {
        let kept = self.idle.borrow_mut().pop();
        let mut connection = match kept {
            Some(kept) => kept,
            None => open(self.backend).await?,
        };
        put(&mut connection.out, parts);
        let Connection { stream, out, input } = &mut connection;
        stream.write_all(out).await?;
        input.clear();
        input.reserve(HEAD);
        let (mut answer, head, content) = loop {
            ensure!(stream.read_buf(input).await? > 0, "the backend closed");
            if let Some(read) = head_of(input)? {
                break read;
            }
        };
        while input.len() < head + content {
            ensure!(stream.read_buf(input).await? > 0, "the backend broke off");
        }
        *answer.body_mut() = Bytes::copy_from_slice(&input[head..head + content]);
        self.idle.borrow_mut().push(connection);
        Ok(answer)
    }
}

async fn open(backend: SocketAddr) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(backend).await?;
    stream.set_nodelay(true)?;
    Ok(Connection {
        stream,
        out: BytesMut::with_capacity(HEAD),
        input: BytesMut::with_capacity(HEAD),
    })
}

fn put(out: &mut BytesMut, parts: &Parts) {
    out.clear();
    out.put_slice(parts.method.as_str().as_bytes());
    out.put_u8(b' ');
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\nhost: ");
    let host = parts.uri.authority().map_or("", |host| host.as_str());
    out.put_slice(host.as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in &parts.headers {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(FIELDS);
}

/// An answer without its content, the length of its head, and that of its content.
fn head_of(input: &[u8]) -> anyhow::Result<Option<(Response<Bytes>, usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let Status::Complete(head) = parsed.parse(input)? else {
        return Ok(None);
    };
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = parsed.code.context("no status")?.try_into()?;
    let mut content = 0;
    for field in parsed.headers.iter() {
        if field.name.eq_ignore_ascii_case("connection") {
            continue;
        }
        if field.name.eq_ignore_ascii_case("content-length") {
            content = std::str::from_utf8(field.value)?.parse()?;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes())?;
        answer
            .headers_mut()
            .append(name, HeaderValue::from_bytes(field.value)?);
    }
    Ok(Some((answer, head, content)))
}
