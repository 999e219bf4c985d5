//! The head of a request, parsed and checked: what the client asks for, of whom, and where its body ends.
//!
//! Called by the downstream side of a connection. what may be wrong is a [`RequestFault`].

pub(in crate::proxy) mod authority;
mod fault;
mod seen;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::head::{Field, HeadLimits, Span, Version, check_line_ends, record, with_slots};
use authority::Authority;
use seen::Seen;
use target::Target;

pub use fault::RequestFault;
pub use target::TargetForm;

/// A method. Names are case-sensitive: `get` is some other method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each variant is the method of that name.
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Trace,
    /// Any other token; passed on as it is.
    Other,
}

impl Method {
    fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }

    /// Only reads (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Twice is as good as once (RFC 9110 section 9.2.2): may be sent again where no answer came (Law 7).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// No framing field: there is none.
    None,
    /// So many bytes; 0 where the client said so.
    Length(u64),
    /// Chunked.
    Chunked,
}

impl RequestBody {
    /// Whether any byte of content can follow.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// The longest method name taken: the longest registered one has 17 characters.
const MAX_METHOD: usize = 24;
/// Empty lines taken before a request line (RFC 9112 section 2.2: at least one).
const MAX_LEADING_LINES: usize = 2;

/// A request's head. Spans point into the buffer it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Facts that are independent of each other.
pub struct RequestHead {
    /// What is asked.
    pub method: Method,
    /// The method as it was written.
    pub method_text: Span,
    /// How the target was written.
    pub form: TargetForm,
    /// Path and query as they were written; may lack its leading slash in absolute form, so use
    /// [`RequestHead::origin_form`].
    path_and_query: Span,
    path: Span,
    /// The effective authority, `host[:port]`, without user information. Empty only in an HTTP/1.0
    /// request that names no host.
    pub host: Span,
    host_name: Span,
    host_is_lower: bool,
    /// The port in the authority.
    pub port: Option<u16>,
    /// The client's version.
    pub version: Version,
    /// Where the body ends.
    pub body: RequestBody,
    /// The client wants to keep the connection.
    pub keep_alive: bool,
    /// The client waits for a 100 before it sends its body.
    pub expects_continue: bool,
    /// The value of `Upgrade`, where it is to be passed on: HTTP/1.1, named by `Connection`, one field,
    /// without a body, not `h2c` (whose 101 would put HTTP/2 frames into a tunnel that nobody counts).
    pub upgrade: Option<Span>,
    /// The client takes trailers.
    pub te_trailers: bool,
    /// `Max-Forwards` of an OPTIONS or TRACE: at 0 the proxy must answer itself (RFC 9110 section 7.6.2).
    pub max_forwards: Option<u32>,
    /// `Connection` names fields that are not to be passed on.
    pub(super) drops_named: bool,
}

impl RequestHead {
    /// The path, without query, at least `/`; `*` for the asterisk form. `buf` is the buffer the head was
    /// parsed from. Escapes and dot segments are as they were sent.
    pub fn path<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        match self.path.of(buf) {
            [] => self.empty_path(),
            path => path,
        }
    }

    /// What follows the path's `?`, as it was sent; empty where there is none.
    pub fn query<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        let behind = self
            .path_and_query
            .of(buf)
            .get(self.path.len as usize + 1..);
        behind.unwrap_or_default()
    }

    /// The target in origin form, in two pieces to be written one after the other: for
    /// `http://host?x` the slash is not in the buffer.
    pub fn origin_form<'a>(&self, buf: &'a [u8]) -> (&'static [u8], &'a [u8]) {
        let written = self.path_and_query.of(buf);
        if self.path.is_empty() {
            // RFC 9112 section 3.2.4: OPTIONS with neither path nor query means the whole server.
            let prefix = if written.is_empty() {
                self.empty_path()
            } else {
                b"/"
            };
            (prefix, written)
        } else {
            (b"", written)
        }
    }

    fn empty_path(&self) -> &'static [u8] {
        if self.method == Method::Options && self.path_and_query.is_empty() {
            b"*"
        } else {
            b"/"
        }
    }

    /// The host without its port, in lower case, without the dot that ends a rooted name; an IPv6 address
    /// in its brackets. Allocates only where the client wrote upper case.
    pub fn host_name<'a>(&self, buf: &'a [u8]) -> Cow<'a, str> {
        // The authority's check has let through ASCII only; empty is what any other buffer reads as.
        let name = std::str::from_utf8(self.host_name.of(buf)).unwrap_or_default();
        let name = name.strip_suffix('.').unwrap_or(name);
        if self.host_is_lower {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(name.to_ascii_lowercase())
        }
    }
}

/// Reads a request's head from the start of `buf`, where it is there as a whole: the head, and how many
/// bytes it took. `Ok(None)` asks for more bytes. `fields` is overwritten.
pub fn parse_request(
    buf: &[u8],
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Result<Option<(RequestHead, usize)>, RequestFault> {
    let Some(start) = skip_empty_lines(buf)? else {
        return Ok(None);
    };
    let end = buf.len().min(start + limits.head_bytes);
    let window = &buf[..end];
    match split(window, start, limits, fields) {
        Ok(Some(line)) => {
            check_line_ends(window, start, line.end, fields)?;
            let head = read_head(window, &line, limits, fields)?;
            Ok(Some((head, line.end)))
        }
        Ok(None) => incomplete(&window[start..], limits),
        Err(error) => match fault::classify(&window[start..], error, limits) {
            Some(fault) => Err(fault),
            None => incomplete(&window[start..], limits),
        },
    }
}

/// `head` is no whole head: asks for more bytes, unless the limits are reached.
fn incomplete<T>(head: &[u8], limits: &HeadLimits) -> Result<Option<T>, RequestFault> {
    fault::check_partial(head, limits)?;
    if head.len() == limits.head_bytes {
        return Err(RequestFault::HeadTooLarge);
    }
    Ok(None)
}

/// Where the request line starts; `None` where that cannot be told yet.
fn skip_empty_lines(buf: &[u8]) -> Result<Option<usize>, RequestFault> {
    let mut start = 0;
    for _ in 0..MAX_LEADING_LINES {
        match buf.get(start..) {
            Some([b'\r', b'\n', ..]) => start += 2,
            _ => break,
        }
    }
    match &buf[start..] {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Err(RequestFault::LeadingLines),
        [b'\r', ..] => Err(super::Syntax::BareCr.into()),
        [b'\n', ..] => Err(super::Syntax::BareLf.into()),
        _ => Ok(Some(start)),
    }
}

/// The request line, as httparse split it.
struct Line {
    method: Span,
    target: Span,
    version: Version,
    end: usize,
}

fn split(
    window: &[u8],
    start: usize,
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Result<Option<Line>, httparse::Error> {
    with_slots(limits.header_count, |slots| {
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(&window[start..], slots)?;
        let httparse::Status::Complete(len) = status else {
            return Ok(None);
        };
        record(window, request.headers, fields);
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Ok(None); // Cannot be: a complete head has both.
        };
        Ok(Some(Line {
            method: Span::within(window, method.as_bytes()),
            target: Span::within(window, target.as_bytes()),
            version: match request.version {
                Some(0) => Version::Http10,
                _ => Version::Http11,
            },
            end: start + len,
        }))
    })
}

fn read_head(
    buf: &[u8],
    line: &Line,
    limits: &HeadLimits,
    fields: &[Field],
) -> Result<RequestHead, RequestFault> {
    let name = line.method.of(buf);
    if name.len() > MAX_METHOD {
        return Err(RequestFault::MethodTooLong);
    }
    if name.eq_ignore_ascii_case(b"CONNECT") {
        return Err(RequestFault::Connect);
    }
    if line.target.len as usize > limits.uri_bytes {
        return Err(RequestFault::TargetTooLong);
    }
    // httparse has checked that it is a token, which is ASCII.
    let method = Method::of(std::str::from_utf8(name).unwrap_or_default());
    let target = target::parse(buf, line.target, method)?;
    let seen = Seen::of(buf, fields, line.version, method)?;
    let host = effective_host(buf, &target, seen.host, line.version)?;
    let http11 = line.version == Version::Http11;
    let body = seen.body();
    if method == Method::Trace && !body.is_empty() {
        return Err(RequestFault::TraceWithContent);
    }
    Ok(RequestHead {
        method,
        method_text: line.method,
        form: target.form,
        path_and_query: target.path_and_query,
        path: target.path,
        host: host.whole,
        host_name: host.name,
        host_is_lower: host.lower,
        port: host.port,
        version: line.version,
        body,
        keep_alive: seen.options.persists(!http11),
        expects_continue: seen.expects && http11 && !body.is_empty(),
        upgrade: seen
            .upgrade
            .filter(|_| http11 && seen.options.upgrade && body.is_empty()),
        te_trailers: seen.te_trailers && http11,
        max_forwards: seen.max_forwards,
        drops_named: seen.options.names_fields,
    })
}

/// The authority that the request is for.
struct Host {
    whole: Span,
    name: Span,
    lower: bool,
    port: Option<u16>,
}

/// RFC 9112 section 3.2 and 3.2.2: one Host in HTTP/1.1; a target with an authority of its own must say
/// the same (the RFC lets the proxy overrule Host; a client that says two things gets neither).
fn effective_host(
    buf: &[u8],
    target: &Target,
    field: Option<Span>,
    version: Version,
) -> Result<Host, RequestFault> {
    if field.is_none() && version == Version::Http11 {
        return Err(RequestFault::HostMissing);
    }
    let parsed = field
        .map(|span| Authority::parse(span.of(buf)).ok_or(RequestFault::HostInvalid))
        .transpose()?;
    let (whole, authority) = match (target.authority, field, parsed) {
        (Some((whole, authority, default_port)), host, _) => {
            let agrees = |host: Span| Authority::agree(whole.of(buf), host.of(buf), default_port);
            if !host.is_none_or(agrees) {
                return Err(RequestFault::HostDisagrees);
            }
            (whole, authority)
        }
        (None, Some(whole), Some(authority)) => (whole, authority),
        _ => {
            return Ok(Host {
                whole: Span::default(),
                name: Span::default(),
                lower: true,
                port: None,
            });
        }
    };
    Ok(Host {
        whole,
        name: whole.part(0, authority.host_len),
        lower: authority.lower,
        port: authority.port,
    })
}
