//! The fields that say where a body ends and what becomes of the connection: `Content-Length`,
//! `Transfer-Encoding`, `Connection`. Each is read here once, for requests and responses alike.
//!
//! This is where request smuggling lives: two readers of one message that disagree about its length. So
//! nothing is guessed and nothing is repaired; what is not plain is refused.

use super::head::{Field, is_token, members};
use super::known::Known;

/// What the framing fields of a head say, each looked at alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    /// The one `Content-Length`.
    pub length: Option<u64>,
    /// `Transfer-Encoding: chunked` is there.
    pub chunked: bool,
}

/// Framing fields that cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FramingFault {
    /// Both framing fields. RFC 9112 section 6.1 calls it an attempt at smuggling.
    #[error("Content-Length and Transfer-Encoding stand together")]
    LengthAndCoding,
    /// More than one `Content-Length`, equal or not. RFC 9110 section 8.6 would let equal ones be folded
    /// into one; but no honest sender writes two, and what one reader folds another joins or refuses.
    #[error("Content-Length stands more than once")]
    LengthRepeated,
    /// A `Content-Length` that is not a plain number: a sign, a list, hex, white space, leading zeros, or
    /// more than 2^63 - 1.
    #[error("Content-Length is not a plain decimal number")]
    LengthInvalid,
    /// More than one `Transfer-Encoding` field.
    #[error("Transfer-Encoding stands more than once")]
    CodingRepeated,
    /// `Transfer-Encoding` that is empty, repeats `chunked`, has parameters, or is no list of tokens.
    #[error("Transfer-Encoding is malformed")]
    CodingInvalid,
    /// A transfer coding other than `chunked` alone.
    #[error("only the transfer coding chunked is supported")]
    CodingUnsupported,
    /// `Transfer-Encoding` in an HTTP/1.0 message, which has none (RFC 9112 section 6.1).
    #[error("Transfer-Encoding stands in an HTTP/1.0 message")]
    CodingOnHttp10,
}

impl Framing {
    /// Takes one field into account; fields that frame nothing are ignored.
    pub fn see(&mut self, known: Known, value: &[u8]) -> Result<(), FramingFault> {
        match known {
            Known::ContentLength if self.length.is_some() => Err(FramingFault::LengthRepeated),
            Known::ContentLength => {
                self.length = Some(parse_length(value).ok_or(FramingFault::LengthInvalid)?);
                Ok(())
            }
            Known::TransferEncoding if self.chunked => Err(FramingFault::CodingRepeated),
            Known::TransferEncoding => {
                check_coding(value)?;
                self.chunked = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What only shows once all fields are seen.
    pub fn finish(self, http10: bool) -> Result<Self, FramingFault> {
        if self.chunked && self.length.is_some() {
            return Err(FramingFault::LengthAndCoding);
        }
        if self.chunked && http10 {
            return Err(FramingFault::CodingOnHttp10);
        }
        Ok(self)
    }
}

/// A plain decimal number up to `i64::MAX`: what is more overflows in many a backend.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || (value.len() > 1 && value[0] == b'0') {
        return None;
    }
    let mut length = 0_u64;
    for digit in value {
        if !digit.is_ascii_digit() {
            return None;
        }
        length = length * 10 + u64::from(digit - b'0'); // 19 digits fit in 64 bits.
    }
    i64::try_from(length).is_ok().then_some(length)
}

/// Takes `chunked` alone.
fn check_coding(value: &[u8]) -> Result<(), FramingFault> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let chunked = members(value)
        .filter(|coding| coding.eq_ignore_ascii_case(b"chunked"))
        .count();
    let empty_member = value
        .split(|b| *b == b',')
        .any(|m| super::head::trim(m).is_empty());
    if empty_member || chunked > 1 || !members(value).all(is_token) {
        return Err(FramingFault::CodingInvalid);
    }
    Err(FramingFault::CodingUnsupported)
}

/// What the `Connection` fields of a head say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Facts that are independent of each other.
pub(super) struct Options {
    /// `close`.
    pub close: bool,
    /// `keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// Fields are named that are not the proxy's own business and must be dropped.
    pub names_fields: bool,
    /// `Host`, `Content-Length` or `Transfer-Encoding` is named.
    pub names_framing: bool,
}

impl Options {
    /// Takes the value of one `Connection` field into account.
    pub fn see(&mut self, value: &[u8]) {
        for option in members(value) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else {
                match Known::of(option) {
                    Known::Upgrade => self.upgrade = true,
                    Known::Host | Known::ContentLength | Known::TransferEncoding => {
                        self.names_framing = true;
                    }
                    known => self.names_fields |= known.is_end_to_end(),
                }
            }
        }
    }

    /// Whether the connection may be used again (RFC 9112 section 9.3).
    pub fn persists(self, http10: bool) -> bool {
        !self.close && (!http10 || self.keep_alive)
    }
}

/// Whether a `Connection` field among `fields` names the field `name`.
pub(super) fn is_named(buf: &[u8], fields: &[Field], name: &[u8]) -> bool {
    fields
        .iter()
        .filter(|field| field.known == Known::Connection)
        .any(|field| members(field.value.of(buf)).any(|m| m.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_lengths_are_taken() {
        for (value, length) in [
            ("0", Some(0)),
            ("42", Some(42)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("18446744073709551616", None),
            ("99999999999999999999999", None),
            ("", None),
            ("00", None),
            ("042", None),
            ("+42", None),
            ("-1", None),
            ("0x2a", None),
            ("4 2", None),
            ("42,42", None),
            ("42;", None),
            ("4.2", None),
            ("1e3", None),
        ] {
            assert_eq!(parse_length(value.as_bytes()), length, "{value}");
        }
    }

    #[test]
    fn only_chunked_alone_is_a_coding() {
        use FramingFault::{CodingInvalid, CodingUnsupported};
        for (value, expected) in [
            ("chunked", Ok(())),
            ("Chunked", Ok(())),
            ("gzip", Err(CodingUnsupported)),
            ("identity", Err(CodingUnsupported)),
            ("gzip, chunked", Err(CodingUnsupported)),
            ("chunked, gzip", Err(CodingUnsupported)),
            ("xchunked", Err(CodingUnsupported)),
            ("chunked, chunked", Err(CodingInvalid)),
            ("chunked,", Err(CodingInvalid)),
            (",chunked", Err(CodingInvalid)),
            ("", Err(CodingInvalid)),
            ("\"chunked\"", Err(CodingInvalid)),
            ("chunked;q=1", Err(CodingInvalid)),
            ("chun ked", Err(CodingInvalid)),
        ] {
            assert_eq!(check_coding(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn connection_options_are_read_from_all_fields() {
        let mut options = Options::default();
        options.see(b"Keep-Alive, x-custom");
        options.see(b"Upgrade");
        assert!(options.keep_alive && options.upgrade && options.names_fields);
        assert!(!options.close && !options.names_framing);
        options.see(b"content-length");
        assert!(options.names_framing);
        assert!(options.persists(true));
        options.see(b"close");
        assert!(!options.persists(true) && !options.persists(false));
    }
}
