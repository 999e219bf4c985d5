//! A request of HTTP/2 in HTTP/1's normal form, and back.
//!
//! Heads have one form inside, whatever they came in: the bytes of an HTTP/1.1 head. What HTTP/2 carries is
//! written in it and read by the same strict reader, so that nothing can come in by HTTP/2 that HTTP/1 would
//! refuse, and routes, filters and fields know one kind of head (RFC 9113 section 8.2 and 10.3: what is
//! translated must be checked). Towards an endpoint that speaks HTTP/2 it is taken apart again.

use bytes::{BufMut, Bytes};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority as UriAuthority, PathAndQuery, Scheme};
use http::{HeaderMap, Method as HttpMethod, Uri, request};

use super::names::{is_new_each_time, name_of};
use super::target;
use crate::proxy::http1::{
    Authority, HeadLimits, RequestFault, RequestHead, Version, is_websocket, parse_request,
};
use crate::proxy::sheets::Sheet;

/// A request's head in normal form: what the reader of HTTP/1 made of it.
#[derive(Debug)]
pub struct NormalRequest {
    /// With the bytes that spans point into.
    pub sheet: Sheet,
    /// What they say.
    pub head: RequestHead,
}

/// What a request asks for that is no method: RFC 8441's extended CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap<'a> {
    /// An ordinary request.
    None,
    /// A WebSocket, with the key that HTTP/1 wants and HTTP/2 has not: base64 of 16 bytes.
    WebSocket(&'a str),
}

/// Reads the head of a request, by way of `sheet`, an empty one; `ends` where no body follows it.
///
/// # Errors
///
/// It has a field of the connection, `:authority` and `Host` differ, or HTTP/1 would refuse it too.
pub fn read_request(
    parts: &request::Parts,
    ends: bool,
    bootstrap: Bootstrap<'_>,
    limits: &HeadLimits,
    mut sheet: Sheet,
) -> Result<NormalRequest, RequestFault> {
    write_request(parts, ends, bootstrap, &mut sheet.bytes)?;
    let parsed = parse_request(&sheet.bytes, limits, &mut sheet.fields)?;
    // It ends with an empty line, so it is whole unless it is too large.
    let (mut head, _) = parsed.ok_or(RequestFault::HeadTooLarge)?;
    head.version = Version::Http2;
    Ok(NormalRequest { sheet, head })
}

fn write_request(
    parts: &request::Parts,
    ends: bool,
    bootstrap: Bootstrap<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RequestFault> {
    let upgrades = bootstrap != Bootstrap::None;
    let method = if upgrades {
        "GET"
    } else {
        parts.method.as_str()
    };
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    for piece in [method, " ", target, " HTTP/1.1\r\n"] {
        out.put_slice(piece.as_bytes());
    }
    let named = Named::of(&parts.uri);
    if let Some(named) = &named {
        line("host", named.authority.as_bytes(), out);
    }
    let mut trailers = false;
    for (name, value) in &parts.headers {
        trailers |= write_field(name, value, named.as_ref(), out)?;
    }
    cookies(&parts.headers, out);
    if let Bootstrap::WebSocket(key) = bootstrap {
        out.put_slice(b"upgrade: websocket\r\nsec-websocket-key: ");
        out.put_slice(key.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(match (trailers, upgrades) {
        (false, false) => b"",
        (true, false) => b"te: trailers\r\nconnection: te\r\n".as_slice(),
        (false, true) => b"connection: upgrade\r\n",
        (true, true) => b"te: trailers\r\nconnection: te, upgrade\r\n",
    });
    let framed = parts.headers.contains_key(header::CONTENT_LENGTH);
    if !ends && !upgrades && !framed {
        out.put_slice(b"transfer-encoding: chunked\r\n");
    } else if ends && !framed && expects_content(&parts.method) {
        // RFC 9110 section 8.6; some servers answer 411 without.
        out.put_slice(b"content-length: 0\r\n");
    }
    out.put_slice(b"\r\n");
    Ok(())
}

/// Whom `:authority` names.
struct Named<'a> {
    authority: &'a str,
    default_port: u16,
}

impl<'a> Named<'a> {
    fn of(uri: &'a Uri) -> Option<Self> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        Some(Self {
            authority: uri.authority()?.as_str(),
            default_port: if https { 443 } else { 80 },
        })
    }

    fn agrees(&self, host: &[u8]) -> bool {
        Authority::agree(self.authority.as_bytes(), host, self.default_port)
    }
}

fn expects_content(method: &HttpMethod) -> bool {
    matches!(
        *method,
        HttpMethod::POST | HttpMethod::PUT | HttpMethod::PATCH
    )
}

/// Writes one field; true where it is `TE`, which is written at the end.
fn write_field(
    name: &HeaderName,
    value: &HeaderValue,
    named: Option<&Named<'_>>,
    out: &mut Vec<u8>,
) -> Result<bool, RequestFault> {
    match (name, named) {
        (&header::TE, _) => return Ok(true),
        // RFC 9113 section 8.2.2: a request that has them is malformed. The library refuses it before.
        (&header::CONNECTION | &header::TRANSFER_ENCODING | &header::UPGRADE, _) => {
            return Err(RequestFault::ConnectionField);
        }
        // RFC 9113 section 8.3.1: the two must not differ.
        (&header::HOST, Some(named)) if !named.agrees(value.as_bytes()) => {
            return Err(RequestFault::HostDisagrees);
        }
        (&header::COOKIE, _) | (&header::HOST, Some(_)) => {}
        _ => line(name.as_str(), value.as_bytes(), out),
    }
    Ok(false)
}

/// HTTP/2 splits Cookie to compress it better; HTTP/1 has one (RFC 9113 section 8.2.3, PITFALLS 43).
fn cookies(headers: &HeaderMap, out: &mut Vec<u8>) {
    let mut all = headers.get_all(header::COOKIE).iter();
    let Some(first) = all.next() else { return };
    out.put_slice(b"cookie: ");
    out.put_slice(first.as_bytes());
    for crumb in all {
        out.put_slice(b"; ");
        out.put_slice(crumb.as_bytes());
    }
    out.put_slice(b"\r\n");
}

fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// A head that cannot be said in HTTP/2: longer than it may be, or a target that is none. Whose endpoints speak HTTP/1
/// may say it.
#[derive(Debug, thiserror::Error)]
#[error("a head that HTTP/2 cannot carry: {0}")]
pub struct Untranslatable(pub(super) &'static str);

/// The request for an endpoint that speaks HTTP/2, of the head that `forward_request` wrote for it.
/// `scheme` is what the connection to the endpoint is: `http` or `https`.
///
/// # Errors
///
/// What HTTP/2 cannot carry, such as a target longer than the http crate takes (65,534 bytes).
pub fn request_for_endpoint(
    head: &[u8],
    scheme: &Scheme,
) -> Result<http::Request<()>, Untranslatable> {
    let bytes = Bytes::copy_from_slice(head);
    let mut lines = Lines::new(&bytes);
    let start = lines.start().ok_or(Untranslatable("no request line"))?;
    let mut words = start.split(|byte| *byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(Untranslatable("its request line"));
    };
    let mut method = HttpMethod::from_bytes(method).map_err(|_| Untranslatable("its method"))?;
    let target = target::escaped(bytes.slice_ref(target));
    let mut headers = HeaderMap::with_capacity(lines.fields());
    let (mut authority, mut protocol) = (None, None);
    for (name, value) in lines {
        let name = name_of(name).map_err(|_| Untranslatable("a name"))?;
        match name {
            header::HOST => authority = Some(value),
            header::UPGRADE => protocol = Some(value),
            // Said by the connection itself, or by the frames.
            header::CONNECTION | header::TRANSFER_ENCODING => {}
            name => append(name, value, &mut headers)?,
        }
    }
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(scheme.clone());
    uri.path_and_query =
        Some(PathAndQuery::from_maybe_shared(target).map_err(|_| Untranslatable("its target"))?);
    let authority = authority.ok_or(Untranslatable("no host"))?;
    uri.authority =
        Some(UriAuthority::from_maybe_shared(authority).map_err(|_| Untranslatable("its host"))?);
    let mut request = http::Request::new(());
    if let Some(protocol) = protocol {
        if !is_websocket(&protocol) {
            return Err(Untranslatable("its protocol"));
        }
        let protocol = h2::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        headers.remove(header::SEC_WEBSOCKET_KEY);
        method = HttpMethod::CONNECT;
    }
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Untranslatable("its target"))?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Adds a field to those that a message goes out with.
pub(super) fn append(
    name: HeaderName,
    value: Bytes,
    headers: &mut HeaderMap,
) -> Result<(), Untranslatable> {
    let value = HeaderValue::from_maybe_shared(value);
    let mut value = value.map_err(|_| Untranslatable("a value"))?;
    // Written out each time, never kept (RFC 7541 section 6.2.3).
    value.set_sensitive(is_new_each_time(&name));
    headers.append(name, value);
    Ok(())
}

/// The lines of a head that we wrote ourselves: its first, then its fields.
pub(super) struct Lines<'a> {
    bytes: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(in crate::proxy) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, rest: bytes }
    }

    /// The first line, once.
    pub(in crate::proxy) fn start(&mut self) -> Option<&'a [u8]> {
        self.line()
    }

    /// How many fields there are, or a few more.
    pub(in crate::proxy) fn fields(&self) -> usize {
        // The last line is empty.
        memchr::memchr_iter(b'\n', self.rest)
            .count()
            .saturating_sub(1)
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        line.strip_suffix(b"\r\n")
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], Bytes);

    /// The next field; its value shares the head's storage.
    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line()?;
        let colon = memchr::memchr(b':', line)?;
        let value = line.get(colon + 2..)?;
        Some((&line[..colon], self.bytes.slice_ref(value)))
    }
}
