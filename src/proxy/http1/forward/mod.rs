//! Rewriting a head for the next hop (RFC 9110 section 7.6): what is end-to-end passes as it came, in its
//! order and case; what is for one hop is dropped and written anew in one normal form.
//!
//! Called by the drivers once a head is parsed and a route is chosen; writes into their buffers.

mod client;
#[cfg(test)]
mod filter_tests;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use client::ClientFields;
pub use request::{ForwardContext, forward_request};
pub use response::{ResponseContext, ResponseFraming, forward_response};

use super::framing::is_named;
use super::head::{Field, Version};
use crate::model::FieldEdits;

/// Writes `field` as it came.
fn field_line(buf: &[u8], field: Field, out: &mut Vec<u8>) {
    line(field.name.of(buf), &[field.value.of(buf)], out);
}

/// Whether `Connection` names `field`, so that it goes no further; `any_named` is false where it names
/// nothing at all, as nearly always. What we write anew (`Upgrade` in a 101, say) is ours to keep.
fn is_dropped(any_named: bool, buf: &[u8], fields: &[Field], field: Field) -> bool {
    any_named && field.known.is_end_to_end() && is_named(buf, fields, field.name.of(buf))
}

/// Writes one field line whose value is `pieces`, one after the other.
fn line(name: &[u8], pieces: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the fields that a route adds.
fn written(edits: &FieldEdits, out: &mut Vec<u8>) {
    for (name, value) in &edits.written {
        line(name.as_bytes(), &[value.as_bytes()], out);
    }
}

/// Our entry in `Via`; `version` is that of the message we received. A field of its own after those that
/// are there already: the same as one more member of the list (RFC 9110 section 5.3).
fn via(version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(match version {
        Version::Http10 => b"Via: 1.0 lastcall\r\n",
        Version::Http11 => b"Via: 1.1 lastcall\r\n",
        Version::Http2 => b"Via: 2.0 lastcall\r\n",
    });
}
