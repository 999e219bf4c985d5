//! The head of a request, as the backend gets it.

use super::super::encode::decimal;
use super::super::head::Field;
use super::super::known::Known;
use super::super::request::{RequestBody, RequestHead};
use super::{ClientFields, field_line, is_dropped, line, via};

/// What a backend is told beside what the client sent.
#[derive(Clone, Copy, Debug)]
pub struct ForwardContext<'a> {
    /// The client.
    pub client: &'a ClientFields,
    /// `X-Request-Id` where the client sent none that is sane. A token; empty adds none.
    pub request_id: &'a str,
    /// `Host` for an HTTP/1.0 request that has none: the backend's own address.
    pub default_host: &'a str,
    /// Pass `Expect: 100-continue` on, where the client sent it.
    pub pass_expect: bool,
}

/// The longest `X-Request-Id` that is kept.
const MAX_REQUEST_ID: usize = 128;

/// Writes the head of a request for the backend: always HTTP/1.1 and origin form, the connection to be
/// kept. `buf` and `fields` are those that `head` was parsed from and into.
pub fn forward_request(
    head: &RequestHead,
    buf: &[u8],
    fields: &[Field],
    context: &ForwardContext<'_>,
    out: &mut Vec<u8>,
) {
    let (prefix, target) = head.origin_form(buf);
    for piece in [head.method_text.of(buf), b" ", prefix, target] {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    let host = head.host.of(buf);
    if host.is_empty() {
        out.extend_from_slice(context.default_host.as_bytes());
    } else {
        out.extend_from_slice(host);
    }
    out.extend_from_slice(b"\r\n");

    let mut has_id = false;
    for field in fields {
        pass(head, buf, fields, *field, context, &mut has_id, out);
    }
    if !has_id && !context.request_id.is_empty() {
        line(b"X-Request-Id", &[context.request_id.as_bytes()], out);
    }
    context.client.write(buf, fields, host, out);
    via(head.version, out);
    hop_by_hop(head, buf, context, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes one field, where it is to be passed on.
fn pass(
    head: &RequestHead,
    buf: &[u8],
    fields: &[Field],
    field: Field,
    context: &ForwardContext<'_>,
    has_id: &mut bool,
    out: &mut Vec<u8>,
) {
    let passes = match field.known {
        Known::Other | Known::Date | Known::Via => true,
        Known::MaxForwards => match head.max_forwards {
            None => true,
            Some(hops) => {
                out.extend_from_slice(b"Max-Forwards: ");
                decimal(u64::from(hops.saturating_sub(1)), out);
                out.extend_from_slice(b"\r\n");
                false
            }
        },
        Known::XRequestId => {
            let kept = !*has_id && is_sane_id(field.value.of(buf));
            *has_id |= kept;
            kept
        }
        Known::XForwardedOther => context.client.is_trusted(),
        Known::Trailer => head.body == RequestBody::Chunked,
        _ => false,
    };
    if passes && !is_dropped(head.drops_named, buf, fields, field) {
        field_line(buf, field, out);
    }
}

/// What is for the next hop only.
fn hop_by_hop(head: &RequestHead, buf: &[u8], context: &ForwardContext<'_>, out: &mut Vec<u8>) {
    match head.body {
        RequestBody::None => {}
        RequestBody::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        RequestBody::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    if head.expects_continue && context.pass_expect {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    match (head.te_trailers, head.upgrade) {
        (false, None) => {}
        (true, None) => out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n"),
        (te, Some(protocols)) => {
            line(b"Upgrade", &[protocols.of(buf)], out);
            out.extend_from_slice(if te {
                b"TE: trailers\r\nConnection: TE, Upgrade\r\n".as_slice()
            } else {
                b"Connection: Upgrade\r\n"
            });
        }
    }
}

/// A request id that can go into logs and other people's systems as it is.
fn is_sane_id(value: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID).contains(&value.len())
        && value
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.~+/=:@".contains(b))
}
