//! What requests and responses share: spans into the caller's buffer, fields, limits, and the strict
//! check of line ends that httparse leaves out.
//!
//! Called by `request`, `response` and `trailers`; nothing here knows sockets.

use std::mem::MaybeUninit;

use httparse::Header;

use super::known::Known;
use super::syntax::Syntax;
use crate::model::Limits;

/// A piece of the buffer that a head was parsed from. Heads keep spans in place of slices, so that the
/// caller's buffer stays the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte, from the start of the buffer.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The bytes meant. `buf` is the buffer the head was parsed from, or a copy of it; a span that does
    /// not fit `buf` reads as empty.
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        let start = self.start as usize;
        buf.get(start..start + self.len as usize)
            .unwrap_or_default()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// First byte after it.
    pub fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    /// The span of `start..end`. Heads are at most [`HeadLimits::MAX_HEAD_BYTES`] long, so both fit.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self {
            start: start as u32,
            len: (end - start) as u32,
        }
    }

    /// The span of `piece`, which is a sub-slice of `buf`.
    pub(super) fn within(buf: &[u8], piece: &[u8]) -> Self {
        let start = piece.as_ptr().addr() - buf.as_ptr().addr();
        Self::new(start, start + piece.len())
    }

    /// The part of this span from `from` to `to`, both counted from its start.
    pub(super) fn part(self, from: usize, to: usize) -> Self {
        let start = self.start as usize;
        Self::new(start + from, start + to)
    }
}

/// One field line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, in the case it was sent.
    pub name: Span,
    /// Its value, without the white space around it.
    pub value: Span,
    /// Which of the fields it is that the proxy treats specially.
    pub known: Known,
}

/// What a message was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no 1xx, closed after each exchange unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2. Its heads are kept in the form of HTTP/1.1's.
    Http2,
}

/// Bounds on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the start line to the empty line.
    pub head_bytes: usize,
    /// Field lines.
    pub header_count: usize,
    /// Bytes of a request target.
    pub uri_bytes: usize,
}

impl HeadLimits {
    /// No configuration allows more, so that spans fit their 32 bits.
    pub const MAX_HEAD_BYTES: usize = 1 << 24;

    /// What a backend's response head may take: wider than what clients may send by default, because
    /// cookies and policies of applications grow.
    pub const RESPONSE: Self = Self {
        head_bytes: 64 * 1024,
        header_count: 256,
        uri_bytes: 0,
    };
}

impl From<&Limits> for HeadLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            head_bytes: limits.head_bytes.min(Self::MAX_HEAD_BYTES),
            header_count: limits.header_count,
            uri_bytes: limits.uri_bytes,
        }
    }
}

/// Whether the bytes from `seen` on can have completed a head of which `buf[..seen]` was incomplete: a
/// head ends with a line feed. Spares a driver to parse again for each byte of a slow head.
pub fn may_complete(buf: &[u8], seen: usize) -> bool {
    buf.get(seen..)
        .is_some_and(|new| memchr::memchr(b'\n', new).is_some())
}

/// Slots for field lines that live on the stack; heads with more take one allocation.
const INLINE_SLOTS: usize = 128;

/// Runs `parse` with room for `count` field lines.
pub(super) fn with_slots<'b, T>(
    count: usize,
    mut parse: impl FnMut(&mut [MaybeUninit<Header<'b>>]) -> Result<T, httparse::Error>,
) -> Result<T, httparse::Error> {
    let mut inline = [const { MaybeUninit::uninit() }; INLINE_SLOTS];
    match parse(&mut inline[..count.min(INLINE_SLOTS)]) {
        Err(httparse::Error::TooManyHeaders) if count > INLINE_SLOTS => {
            let mut heap = Vec::new();
            heap.resize_with(count, MaybeUninit::uninit);
            parse(&mut heap)
        }
        result => result,
    }
}

/// Replaces what is in `fields` by `headers`, which lie in `buf`.
pub(super) fn record(buf: &[u8], headers: &[Header<'_>], fields: &mut Vec<Field>) {
    fields.clear();
    fields.extend(headers.iter().map(|header| Field {
        name: Span::within(buf, header.name.as_bytes()),
        value: Span::within(buf, header.value),
        known: Known::of(header.name.as_bytes()),
    }));
}

/// Checks that every line of the head in `buf[start..end]` ends in CR LF. httparse also takes a bare LF
/// (RFC 9112 section 2.2 lets it), which is where two parsers begin to see two different messages; a
/// bare CR it refuses by itself, so one look before each field name is enough.
pub(super) fn check_line_ends(
    buf: &[u8],
    start: usize,
    end: usize,
    fields: &[Field],
) -> Result<(), Syntax> {
    let after_crlf = |at: usize| at >= start + 2 && buf[at - 2] == b'\r';
    // The last line, then the empty one: the last four bytes of a head are CR LF CR LF.
    if end < start + 4 || !after_crlf(end) || !after_crlf(end - 2) {
        return Err(Syntax::BareLf);
    }
    if fields
        .iter()
        .all(|field| after_crlf(field.name.start as usize))
    {
        Ok(())
    } else {
        Err(Syntax::BareLf)
    }
}

/// `value` without spaces and tabs around it.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |b: &u8| *b == b' ' || *b == b'\t';
    let Some(first) = value.iter().position(|b| !is_space(b)) else {
        return &[];
    };
    let last = value.iter().rposition(|b| !is_space(b)).unwrap_or(first);
    &value[first..=last]
}

/// The members of a comma-separated list (RFC 9110 section 5.6.1), empty ones left out.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|b| *b == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// Whether `bytes` is a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is_token_byte(*b))
}

/// Whether `b` may be in a token.
pub(super) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_and_trimmed() {
        let all: Vec<_> = members(b" a ,, b\t,c").collect();
        assert_eq!(all, [&b"a"[..], b"b", b"c"]);
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(members(b" , ").count(), 0);
    }

    #[test]
    fn a_span_that_does_not_fit_is_empty() {
        assert_eq!(Span::new(2, 4).of(b"abcdef"), b"cd");
        assert_eq!(Span::new(4, 9).of(b"abcdef"), b"");
    }
}
