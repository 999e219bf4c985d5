//! The trailer section of a chunked body: collected, limited, parsed as strictly as a head, and freed of
//! the fields that must not stand there.
//!
//! Used by `body`; read by the drivers once a body is finished.

use super::body::BodyFault;
use super::head::{Field, is_token, record};
use super::known::Known;
use super::syntax::Syntax;

/// Bytes of a trailer section.
const MAX_BYTES: usize = 8 * 1024;
/// Field lines of a trailer section.
const MAX_FIELDS: usize = 64;

/// A trailer section. Allocates only where there is one.
#[derive(Clone, Debug, Default)]
pub struct Trailers {
    section: Vec<u8>,
    fields: Vec<Field>,
}

impl Trailers {
    /// The fields to pass on: name (in its own case) and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|field| (field.name.of(&self.section), field.value.of(&self.section)))
    }

    /// Whether there is nothing to pass on.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Takes bytes of the section, whose first byte is not that of the empty line; returns how many it
    /// took and whether the section is over.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, bool), BodyFault> {
        let mut taken = 0;
        while let Some(feed) = memchr::memchr(b'\n', &input[taken..]) {
            self.push(&input[taken..=taken + feed])?;
            taken += feed + 1;
            if !self.section.ends_with(b"\r\n") {
                return Err(Syntax::BareLf.into());
            }
            if self.section.ends_with(b"\r\n\r\n") {
                self.parse()?;
                return Ok((taken, true));
            }
        }
        self.push(&input[taken..])?;
        Ok((input.len(), false))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), BodyFault> {
        if self.section.len() + bytes.len() > MAX_BYTES {
            return Err(BodyFault::TrailersTooLarge);
        }
        self.section.extend_from_slice(bytes);
        Ok(())
    }

    fn parse(&mut self) -> Result<(), BodyFault> {
        let Self { section, fields } = self;
        // httparse parses fields alone only into slots that hold something: a request line in front of
        // them is not worth it, this path is rare.
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(section, &mut slots) {
            Ok(httparse::Status::Complete((_, headers))) => record(section, headers, fields),
            Err(httparse::Error::TooManyHeaders) => return Err(BodyFault::TooManyTrailers),
            _ => return Err(Syntax::classify(section).into()),
        }
        fields.retain(|field| is_allowed(field.name.of(section), field.known));
        Ok(())
    }
}

/// Whether a field of this name, whatever it was read by, may stand in a trailer section.
pub(in crate::proxy) fn is_trailer(name: &[u8]) -> bool {
    is_token(name) && is_allowed(name, Known::of(name))
}

/// RFC 9110 section 6.5.1: nothing that frames, routes, authenticates, modifies the request or says how to
/// read the content may come after the fact. What an application sends beside that is its own.
fn is_allowed(name: &[u8], known: Known) -> bool {
    const FORBIDDEN: &[&[u8]] = &[
        b"age",
        b"authorization",
        b"cache-control",
        b"cookie",
        b"expires",
        b"location",
        b"pragma",
        b"proxy-authentication-info",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"vary",
        b"warning",
        b"www-authenticate",
    ];
    let has_prefix = |prefix: &[u8]| {
        name.split_at_checked(prefix.len())
            .is_some_and(|(start, _)| start.eq_ignore_ascii_case(prefix))
    };
    known == Known::Other
        && !has_prefix(b"content-")
        && !has_prefix(b"if-")
        && !FORBIDDEN.iter().any(|bad| name.eq_ignore_ascii_case(bad))
}
