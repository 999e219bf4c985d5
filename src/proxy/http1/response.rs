//! The head of a backend's response, parsed and checked: its status, where its body ends, and whether the
//! connection to the backend outlives it.
//!
//! Called by the upstream side of a connection. Any [`ResponseFault`] is the backend's: the client gets
//! 502, the connection to the backend is closed and never pooled.

use std::time::Duration;

use super::framing::{Framing, FramingFault, Options};
use super::head::{Field, HeadLimits, Span, Version, check_line_ends, members, record, with_slots};
use super::known::Known;
use super::request::Method;
use super::syntax::Syntax;

/// What was asked of the backend: a response cannot be read without it (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedBy {
    /// The request's method.
    pub method: Method,
    /// An `Upgrade` was passed on to the backend.
    pub upgrade: bool,
}

/// Where the body of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none: to HEAD, or 1xx, 204 and 304.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// At the end of the connection.
    UntilClose,
}

/// A response's head. Spans point into the buffer it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// May be empty.
    pub reason: Span,
    /// The backend's version.
    pub version: Version,
    /// Where the body ends.
    pub body: ResponseBody,
    /// `Content-Length` as it was sent: in answers to HEAD and in 304 it says what GET would have got.
    pub content_length: Option<u64>,
    /// The connection may be used again once the body has been read to its end.
    pub keep_alive: bool,
    /// How long the backend keeps the idle connection, by its `Keep-Alive: timeout` (whole seconds).
    pub keep_alive_timeout: Option<Duration>,
    /// `Connection` names fields that are not to be passed on.
    pub(super) drops_named: bool,
}

impl ResponseHead {
    /// 1xx but 101: another head follows.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// 101: what follows is no longer HTTP. Only taken where an upgrade was asked for.
    pub fn is_switch(&self) -> bool {
        self.status == 101
    }
}

/// A response that is not taken. Always the backend's fault: 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResponseFault {
    /// The head's lines are malformed.
    #[error("{0}")]
    Syntax(#[from] Syntax),
    /// The body's length is ambiguous, malformed or of an unknown coding.
    #[error("{0}")]
    Framing(#[from] FramingFault),
    /// It does not start like an HTTP/1 response.
    #[error("this is no HTTP/1 response")]
    NotHttp,
    /// The status line is not `version SP status [SP reason]`.
    #[error("the status line is malformed")]
    StatusLine,
    /// A status outside 100 to 599 (RFC 9110 section 15).
    #[error("the status is not between 100 and 599")]
    Status,
    /// Well-formed, but neither HTTP/1.0 nor HTTP/1.1.
    #[error("the response's version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// Over the limit of a head's bytes.
    #[error("the response's head is too large")]
    HeadTooLarge,
    /// Over the limit of field lines.
    #[error("the response has too many fields")]
    TooManyFields,
    /// 101 though no upgrade was asked for: the backend would go on in a language nobody reads.
    #[error("the response switches protocols, which was not asked for")]
    SwitchNotAsked,
    /// 101 without a single `Upgrade` that `Connection` names (RFC 9110 section 7.8).
    #[error("the response switches protocols and does not say to which")]
    SwitchWithoutUpgrade,
    /// 1xx that frames a body: nobody can tell whether its bytes follow (RFC 9110 section 8.6 forbids it).
    #[error("an interim response frames a body")]
    InterimWithContent,
    /// 1xx in HTTP/1.0, which has none (RFC 9110 section 15.2).
    #[error("an HTTP/1.0 response has an interim status")]
    InterimOnHttp10,
}

impl ResponseFault {
    /// The status that the client gets.
    pub fn status(self) -> u16 {
        502
    }

    /// What is logged and counted; what clients are told says no more than that the backend is broken.
    pub fn detail(self) -> String {
        self.to_string()
    }
}

/// Reads a response's head from the start of `buf`, where it is there as a whole: the head, and how many
/// bytes it took. `Ok(None)` asks for more bytes. `fields` is overwritten.
pub fn parse_response(
    buf: &[u8],
    request: AskedBy,
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Result<Option<(ResponseHead, usize)>, ResponseFault> {
    check_start(buf)?;
    let window = &buf[..buf.len().min(limits.head_bytes)];
    match split(window, limits, fields) {
        Ok(Some(line)) => {
            check_line_ends(window, 0, line.end, fields)?;
            let head = read_head(window, &line, request, fields)?;
            Ok(Some((head, line.end)))
        }
        Ok(None) if window.len() == limits.head_bytes => Err(ResponseFault::HeadTooLarge),
        Ok(None) => Ok(None),
        Err(error) => Err(classify(window, error)),
    }
}

/// No empty lines are skipped: bytes before a status line are left over from something else.
fn check_start(buf: &[u8]) -> Result<(), ResponseFault> {
    let start = b"HTTP/";
    let shared = buf.len().min(start.len());
    if buf[..shared] == start[..shared] {
        Ok(())
    } else {
        Err(ResponseFault::NotHttp)
    }
}

/// The status line, as httparse split it.
struct Line {
    version: Version,
    status: u16,
    reason: Span,
    end: usize,
}

fn split(
    window: &[u8],
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Result<Option<Line>, httparse::Error> {
    let config = httparse::ParserConfig::default();
    with_slots(limits.header_count, |slots| {
        let mut response = httparse::Response::new(&mut []);
        let status = config.parse_response_with_uninit_headers(&mut response, window, slots)?;
        let httparse::Status::Complete(end) = status else {
            return Ok(None);
        };
        record(window, response.headers, fields);
        // A reason with bytes outside ASCII comes back as an empty text that lies nowhere.
        let reason = match response.reason {
            Some(text) if !text.is_empty() => Span::within(window, text.as_bytes()),
            _ => Span::default(),
        };
        Ok(Some(Line {
            version: match response.version {
                Some(0) => Version::Http10,
                _ => Version::Http11,
            },
            status: response.code.unwrap_or_default(),
            reason,
            end,
        }))
    })
}

fn classify(window: &[u8], error: httparse::Error) -> ResponseFault {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => ResponseFault::TooManyFields,
        Error::HeaderName | Error::HeaderValue => {
            let line = memchr::memchr(b'\n', window).map_or(0, |at| at + 1);
            Syntax::classify(&window[line..]).into()
        }
        Error::Version => ResponseFault::Version,
        Error::NewLine => Syntax::BareCr.into(),
        Error::Token | Error::Status => ResponseFault::StatusLine,
    }
}

/// What the fields say.
#[derive(Default)]
struct Seen {
    framing: Framing,
    options: Options,
    upgrades: u32,
    keep_alive_timeout: Option<Duration>,
}

fn read_head(
    buf: &[u8],
    line: &Line,
    request: AskedBy,
    fields: &[Field],
) -> Result<ResponseHead, ResponseFault> {
    if !(100..=599).contains(&line.status) {
        return Err(ResponseFault::Status);
    }
    let http10 = line.version == Version::Http10;
    let mut seen = Seen::default();
    for field in fields {
        let value = field.value.of(buf);
        match field.known {
            Known::Other => {}
            Known::Connection => seen.options.see(value),
            Known::Upgrade => seen.upgrades += 1,
            Known::KeepAlive => seen.keep_alive_timeout = parse_keep_alive(value),
            known => seen.framing.see(known, value)?,
        }
    }
    let framing = seen.framing.finish(http10)?;
    if line.status < 200 && http10 {
        return Err(ResponseFault::InterimOnHttp10);
    }
    if line.status == 101 {
        check_switch(request, &seen)?;
    } else if line.status < 200 && claims_content(line.status, framing) {
        return Err(ResponseFault::InterimWithContent);
    }
    let body = body(line.status, request.method, framing);
    Ok(ResponseHead {
        status: line.status,
        reason: line.reason,
        version: line.version,
        body,
        content_length: framing.length,
        keep_alive: seen.options.persists(http10)
            && body != ResponseBody::UntilClose
            && !claims_content(line.status, framing),
        keep_alive_timeout: seen.keep_alive_timeout,
        drops_named: seen.options.names_fields,
    })
}

fn check_switch(request: AskedBy, seen: &Seen) -> Result<(), ResponseFault> {
    if !request.upgrade {
        return Err(ResponseFault::SwitchNotAsked);
    }
    if seen.upgrades != 1 || !seen.options.upgrade {
        return Err(ResponseFault::SwitchWithoutUpgrade);
    }
    Ok(())
}

/// RFC 9112 section 6.3, in its order.
fn body(status: u16, method: Method, framing: Framing) -> ResponseBody {
    if method == Method::Head || status < 200 || status == 204 || status == 304 {
        ResponseBody::None
    } else if framing.chunked {
        ResponseBody::Chunked
    } else {
        framing
            .length
            .map_or(ResponseBody::UntilClose, ResponseBody::Length)
    }
}

/// A 1xx or 204 that frames a body: there is none by the rules, but a backend that says so may well send
/// one, and its bytes would be taken for the next response. After a 204 the connection is not used again.
fn claims_content(status: u16, framing: Framing) -> bool {
    (status < 200 || status == 204) && (framing.chunked || framing.length.is_some_and(|n| n != 0))
}

/// The `timeout` of a `Keep-Alive` field, in seconds.
fn parse_keep_alive(value: &[u8]) -> Option<Duration> {
    members(value).find_map(|parameter| {
        let (name, seconds) = parameter.split_at_checked(b"timeout=".len())?;
        if !name.eq_ignore_ascii_case(b"timeout=") {
            return None;
        }
        let seconds = std::str::from_utf8(seconds).ok()?.parse::<u32>().ok()?;
        Some(Duration::from_secs(seconds.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> ResponseHead {
        let asked = AskedBy {
            method: Method::Get,
            upgrade: false,
        };
        let input = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
        parse_response(
            input.as_bytes(),
            asked,
            &HeadLimits::RESPONSE,
            &mut Vec::new(),
        )
        .unwrap()
        .unwrap()
        .0
    }

    #[test]
    fn how_long_a_backend_keeps_an_idle_connection_is_told() {
        for (fields, seconds) in [
            ("Keep-Alive: timeout=5\r\n", Some(5)),
            ("keep-alive: max=100, Timeout=75\r\n", Some(75)),
            ("Keep-Alive: timeout=0\r\n", Some(0)),
            ("Keep-Alive: timeout=soon\r\n", None),
            ("Keep-Alive: timeout=-1\r\n", None),
            ("Keep-Alive: 300\r\n", None),
            ("", None),
        ] {
            let told = parse(fields).keep_alive_timeout;
            assert_eq!(told, seconds.map(Duration::from_secs), "{fields}");
        }
    }
}
