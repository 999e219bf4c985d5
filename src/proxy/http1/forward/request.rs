//! The head of a request, as the backend gets it.

use super::super::encode::decimal;
use super::super::head::Field;
use super::super::known::Known;
use super::super::request::{RequestBody, RequestHead};
use super::{ClientFields, field_line, is_dropped, line, via, written};
use crate::model::Rewrite;
use crate::proxy::filters::Filtered;

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
    /// What the request's route changes.
    pub filtered: Option<Filtered<'a>>,
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
    out.extend_from_slice(head.method_text.of(buf));
    out.push(b' ');
    let rewrite = context.filtered.and_then(Filtered::rewrite);
    target(head, buf, rewrite, out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = head.host.of(buf);
    let named = match rewrite.and_then(|(rewrite, _)| rewrite.hostname.as_deref()) {
        Some(hostname) => hostname.as_bytes(),
        None if host.is_empty() => context.default_host.as_bytes(),
        None => host,
    };
    line(b"Host", &[named], out);

    let edits = context.filtered.and_then(|f| f.filters.request.as_ref());
    let mut has_id = false;
    for field in fields {
        if !edits.is_some_and(|edits| edits.drops(field.name.of(buf))) {
            pass(head, buf, fields, *field, context, &mut has_id, out);
        }
    }
    if let Some(edits) = edits {
        written(edits, out);
    }
    if !has_id && !context.request_id.is_empty() {
        line(b"X-Request-Id", &[context.request_id.as_bytes()], out);
    }
    context.client.write(buf, fields, host, out);
    via(head.version, out);
    hop_by_hop(head, buf, context, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes the target in origin form, changed where the route says so.
fn target(head: &RequestHead, buf: &[u8], rewrite: Option<(&Rewrite, usize)>, out: &mut Vec<u8>) {
    let change = rewrite.and_then(|(rewrite, prefix)| Some((rewrite.path.as_ref()?, prefix)));
    let Some((change, prefix)) = change else {
        let (slash, written) = head.origin_form(buf);
        out.extend_from_slice(slash);
        out.extend_from_slice(written);
        return;
    };
    for piece in change.of(head.path(buf), prefix) {
        out.extend_from_slice(piece);
    }
    let query = head.query(buf);
    if !query.is_empty() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
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
