//! The head of a response, as the client gets it.

use super::super::encode::decimal;
use super::super::head::{Field, Version};
use super::super::known::Known;
use super::super::response::{ResponseBody, ResponseHead};
use super::{field_line, is_dropped, line, via, written};
use crate::model::FieldEdits;

/// How a response's body is framed towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body.
    None,
    /// So many bytes, written as they are.
    Length(u64),
    /// Each piece between [`super::super::chunk_head`] and [`super::super::CHUNK_END`], then
    /// [`super::super::last_chunk`].
    Chunked,
    /// Written as it is; the end of the connection ends it. A body cut short must end in a reset.
    UntilClose,
}

impl ResponseFraming {
    /// How `head`'s body reaches a client of version `client`: by length where it is known; otherwise
    /// chunked, so that its end can be told from a cut; to HTTP/1.0, which has no chunks, until close.
    pub fn choose(head: &ResponseHead, client: Version) -> Self {
        match (head.body, client) {
            (ResponseBody::None, _) => Self::None,
            (ResponseBody::Length(length), _) => Self::Length(length),
            // HTTP/2 ends bodies by itself; so does chunked, which it takes the place of.
            (
                ResponseBody::Chunked | ResponseBody::UntilClose,
                Version::Http11 | Version::Http2,
            ) => Self::Chunked,
            (ResponseBody::Chunked | ResponseBody::UntilClose, Version::Http10) => Self::UntilClose,
        }
    }

    /// Whether the connection cannot outlive the response.
    pub fn closes(self) -> bool {
        self == Self::UntilClose
    }
}

/// What the client's side of a response depends on.
#[derive(Clone, Copy, Debug)]
pub struct ResponseContext<'a> {
    /// The client's version.
    pub client: Version,
    /// The connection is closed after this response.
    pub close: bool,
    /// The body's framing, as [`ResponseFraming::choose`] says.
    pub framing: ResponseFraming,
    /// `Date` for a response without one (RFC 9110 section 6.6.1), such as `Sat, 21 Nov 2026 11:32:17 GMT`;
    /// empty adds none.
    pub date: &'a str,
    /// What the request's route changes of a final response's fields.
    pub edits: Option<&'a FieldEdits>,
}

/// Writes the head of a response, interim ones and 101 too, for the client. `buf` and `fields` are those
/// that `head` was parsed from and into. Interim responses are not for HTTP/1.0 clients.
pub fn forward_response(
    head: &ResponseHead,
    buf: &[u8],
    fields: &[Field],
    context: &ResponseContext<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(u64::from(head.status), out);
    out.push(b' ');
    out.extend_from_slice(head.reason.of(buf));
    out.extend_from_slice(b"\r\n");
    let edits = context.edits.filter(|_| head.status >= 200);
    let mut has_date = false;
    for field in fields {
        if edits.is_some_and(|edits| edits.drops(field.name.of(buf))) {
            continue;
        }
        if passes(head, context, field.known) && !is_dropped(head.drops_named, buf, fields, *field)
        {
            has_date |= field.known == Known::Date;
            field_line(buf, *field, out);
        }
    }
    if let Some(edits) = edits {
        written(edits, out);
    }
    if head.status >= 200 {
        if !has_date && !context.date.is_empty() {
            line(b"Date", &[context.date.as_bytes()], out);
        }
        via(head.version, out);
        framing(head, context, out);
    }
    connection(head, context, out);
    out.extend_from_slice(b"\r\n");
}

fn passes(head: &ResponseHead, context: &ResponseContext<'_>, known: Known) -> bool {
    match known {
        Known::Upgrade => keeps_upgrade(head),
        Known::Trailer => context.framing == ResponseFraming::Chunked,
        Known::ProxyAuthenticate | Known::ProxyAuthorization => false,
        known => known.is_end_to_end(),
    }
}

/// 426 says with `Upgrade` what it wants, 101 what it does (RFC 9110 section 7.8).
fn keeps_upgrade(head: &ResponseHead) -> bool {
    matches!(head.status, 101 | 426)
}

fn framing(head: &ResponseHead, context: &ResponseContext<'_>, out: &mut Vec<u8>) {
    let length = match context.framing {
        ResponseFraming::Length(length) => Some(length),
        ResponseFraming::None if head.status != 204 => head.content_length,
        ResponseFraming::Chunked if context.client == Version::Http2 => None,
        ResponseFraming::Chunked => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            None
        }
        ResponseFraming::None | ResponseFraming::UntilClose => None,
    };
    if let Some(length) = length {
        out.extend_from_slice(b"Content-Length: ");
        decimal(length, out);
        out.extend_from_slice(b"\r\n");
    }
}

fn connection(head: &ResponseHead, context: &ResponseContext<'_>, out: &mut Vec<u8>) {
    let options: &[u8] = match (head.status, context.close, context.client) {
        (.., Version::Http2) => b"",
        (101, ..) => b"Connection: Upgrade\r\n",
        (status, ..) if status < 200 => b"",
        (426, true, _) => b"Connection: Upgrade, close\r\n",
        (426, false, _) => b"Connection: Upgrade\r\n",
        (_, true, _) => b"Connection: close\r\n",
        (_, false, Version::Http10) => b"Connection: keep-alive\r\n",
        (_, false, Version::Http11) => b"",
    };
    out.extend_from_slice(options);
}
