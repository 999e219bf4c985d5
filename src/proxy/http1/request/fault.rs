//! Why a request is refused, what the client is told, and how httparse's verdicts become that.
//!
//! After any of these the connection is closed: where one message was not understood, nobody knows where
//! the next begins.

use super::super::framing::FramingFault;
use super::super::head::{HeadLimits, is_token_byte};
use super::super::syntax::Syntax;
use super::MAX_METHOD;

/// A request that is refused. Always the client's fault; its `Display` text is fit for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RequestFault {
    /// The head's lines are malformed.
    #[error("{0}")]
    Syntax(#[from] Syntax),
    /// The body's length is ambiguous, malformed or of an unknown coding.
    #[error("{0}")]
    Framing(#[from] FramingFault),
    /// The first bytes are not HTTP at all (a TLS handshake, say): closed without an answer.
    #[error("this is not HTTP")]
    NotHttp,
    /// HTTP/2 without an upgrade, which is not spoken on this listener: closed without an answer, for the
    /// client could not read one.
    #[error("HTTP/2 is not spoken here")]
    Http2Preface,
    /// More empty lines before the request than a sloppy client leaves behind.
    #[error("too many empty lines stand before the request")]
    LeadingLines,
    /// The request line is not `method SP target SP version`. HTTP/0.9 is this too.
    #[error("the request line is malformed")]
    RequestLine,
    /// Well-formed, but neither HTTP/1.0 nor HTTP/1.1.
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    /// Longer than any method there is.
    #[error("the method is too long")]
    MethodTooLong,
    /// CONNECT: lastcall is no forward proxy.
    #[error("CONNECT is not served")]
    Connect,
    /// Over the limit of a target's bytes.
    #[error("the request target is too long")]
    TargetTooLong,
    /// Over the limit of a head's bytes.
    #[error("the request's head is too large")]
    HeadTooLarge,
    /// Over the limit of field lines.
    #[error("the request has too many fields")]
    TooManyFields,
    /// Neither a path nor an absolute http or https URI.
    #[error("the request target is neither a path nor an absolute URI")]
    TargetForm,
    /// An absolute target of another scheme.
    #[error("the request target's scheme is neither http nor https")]
    TargetScheme,
    /// User information in an absolute target (RFC 9110 section 4.2.4).
    #[error("the request target holds user information")]
    TargetUserInfo,
    /// A `#`, which no request target has.
    #[error("the request target holds a fragment")]
    TargetFragment,
    /// A byte outside visible ASCII.
    #[error("the request target holds a byte outside visible ASCII")]
    TargetByte,
    /// `*` with a method other than OPTIONS.
    #[error("the target * is for OPTIONS only")]
    AsteriskMethod,
    /// HTTP/1.1 without Host.
    #[error("Host is missing")]
    HostMissing,
    /// More than one Host, equal or not (RFC 9112 section 3.2).
    #[error("Host stands more than once")]
    HostRepeated,
    /// Host, or the target's authority, is no `host[:port]`.
    #[error("Host is malformed")]
    HostInvalid,
    /// The absolute target names another host than Host does.
    #[error("Host and the request target name different hosts")]
    HostDisagrees,
    /// `Connection` names `Host`, `Content-Length` or `Transfer-Encoding`, so that a proxy would strip
    /// what says where the request ends or goes. We would not; the sender meant that somebody does.
    #[error("Connection names a field that frames or routes the message")]
    ConnectionNamesFraming,
    /// A field that speaks of the connection, in HTTP/2, which has none of them (RFC 9113 section 8.2.2).
    #[error("HTTP/2 has no Connection, Transfer-Encoding or Upgrade")]
    ConnectionField,
    /// An expectation other than `100-continue`.
    #[error("the only expectation known is 100-continue")]
    ExpectUnknown,
    /// `Max-Forwards` that is no number, or stands twice, where it matters (OPTIONS, TRACE).
    #[error("Max-Forwards is malformed")]
    MaxForwardsInvalid,
    /// TRACE with content (RFC 9110 section 9.3.8).
    #[error("TRACE has no content")]
    TraceWithContent,
}

impl RequestFault {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::ExpectUnknown => 417,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::MethodTooLong
            | Self::Connect
            | Self::Framing(FramingFault::CodingUnsupported) => 501,
            Self::Version | Self::Http2Preface => 505,
            _ => 400,
        }
    }

    /// What the client is told beside the status: one sentence without a full stop.
    pub fn detail(self) -> String {
        self.to_string()
    }

    /// Whether to answer at all; otherwise the connection is closed without a word, because the other
    /// side does not speak HTTP/1.
    pub fn is_answered(self) -> bool {
        !matches!(self, Self::NotHttp | Self::Http2Preface)
    }
}

/// How HTTP/2 begins (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Faults that show before the head is complete and that would otherwise wait for a timeout.
pub(super) fn check_partial(head: &[u8], limits: &HeadLimits) -> Result<(), RequestFault> {
    let end = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let line = &head[..end];
    let method = memchr::memchr(b' ', line).unwrap_or(end);
    if method > MAX_METHOD {
        return Err(RequestFault::MethodTooLong);
    }
    if end - method > limits.uri_bytes + b"  HTTP/1.1\r".len() {
        return Err(RequestFault::TargetTooLong);
    }
    Ok(())
}

/// What httparse's `error` about `head` (which starts at the request line) means; `None` where only more
/// bytes can tell.
pub(super) fn classify(
    head: &[u8],
    error: httparse::Error,
    limits: &HeadLimits,
) -> Option<RequestFault> {
    use httparse::Error;
    Some(match error {
        Error::TooManyHeaders => RequestFault::TooManyFields,
        Error::HeaderName | Error::HeaderValue => {
            let line = memchr::memchr(b'\n', head).map_or(0, |at| at + 1);
            Syntax::classify(&head[line..]).into()
        }
        Error::Version if is_cut_version(head) => return None,
        Error::Version | Error::Token | Error::Status | Error::NewLine => {
            classify_line(head, error, limits)
        }
    })
}

fn classify_line(head: &[u8], error: httparse::Error, limits: &HeadLimits) -> RequestFault {
    let shared = head.len().min(HTTP2_PREFACE.len());
    if head.starts_with(b"PRI ") && head[..shared] == HTTP2_PREFACE[..shared] {
        return RequestFault::Http2Preface;
    }
    if !is_token_byte(head[0]) && head[0] != b' ' && head[0] != b'\t' {
        return RequestFault::NotHttp;
    }
    let end = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let line = &head[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.contains(&b'\r') {
        return Syntax::BareCr.into();
    }
    if line.iter().any(|b| *b < b' ' || *b == 0x7f) {
        return Syntax::ControlByte.into();
    }
    let mut parts = line.split(|b| *b == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    if error == httparse::Error::Version && parts.next().is_none() && is_version(version) {
        return RequestFault::Version;
    }
    if target.is_some_and(|target| !target.is_ascii()) {
        return RequestFault::TargetByte;
    }
    if method.is_some_and(|m| m.len() + 1 < head.len())
        && target.is_some_and(|target| target.len() > limits.uri_bytes)
    {
        return RequestFault::TargetTooLong;
    }
    RequestFault::RequestLine
}

/// Whether `head` ends inside what may become `HTTP/2.0`: httparse refuses it at the `2`, before it can
/// be told from garbage.
fn is_cut_version(head: &[u8]) -> bool {
    let mut words = head.split(|b| *b == b' ').skip(2);
    let (Some(written), None) = (words.next(), words.next()) else {
        return false;
    };
    let example = b"HTTP/2.0\r";
    written.len() <= example.len()
        && written.iter().zip(example).all(|(b, like)| {
            if like.is_ascii_digit() {
                b.is_ascii_digit()
            } else {
                b == like
            }
        })
}

/// `HTTP/` digit `.` digit.
fn is_version(text: Option<&[u8]>) -> bool {
    match text {
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    }
}
