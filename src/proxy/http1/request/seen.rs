//! What the fields of a request say, each read once, in one pass.

use super::super::framing::{Framing, Options};
use super::super::head::{Field, Span, Version, members};
use super::super::known::Known;
use super::{Method, RequestBody, RequestFault};

/// What the fields say.
#[derive(Default)]
pub(super) struct Seen {
    framing: Framing,
    /// Those of `Connection`.
    pub options: Options,
    /// The one `Host`.
    pub host: Option<Span>,
    /// `Expect: 100-continue`.
    pub expects: bool,
    /// The one `Upgrade`, where its protocols may be passed on.
    pub upgrade: Option<Span>,
    upgrades: u32,
    /// `TE` has `trailers`.
    pub te_trailers: bool,
    /// `Max-Forwards`, where it counts.
    pub max_forwards: Option<u32>,
}

impl Seen {
    /// Reads all fields of a request.
    pub fn of(
        buf: &[u8],
        fields: &[Field],
        version: Version,
        method: Method,
    ) -> Result<Self, RequestFault> {
        let mut seen = Self::default();
        for field in fields {
            if field.known != Known::Other {
                seen.see(buf, *field, method)?;
            }
        }
        if seen.options.names_framing {
            return Err(RequestFault::ConnectionNamesFraming);
        }
        seen.framing = seen.framing.finish(version == Version::Http10)?;
        if seen.upgrades > 1 {
            seen.upgrade = None;
        }
        Ok(seen)
    }

    fn see(&mut self, buf: &[u8], field: Field, method: Method) -> Result<(), RequestFault> {
        let value = field.value.of(buf);
        match field.known {
            Known::ContentLength | Known::TransferEncoding => {
                self.framing.see(field.known, value)?;
            }
            Known::Host if self.host.is_some() => return Err(RequestFault::HostRepeated),
            Known::Host => self.host = Some(field.value),
            Known::Connection => self.options.see(value),
            Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => self.expects = true,
            Known::Expect => return Err(RequestFault::ExpectUnknown),
            Known::Te => {
                self.te_trailers |= members(value).any(|m| m.eq_ignore_ascii_case(b"trailers"));
            }
            Known::Upgrade => {
                self.upgrades += 1;
                self.upgrade = Some(field.value).filter(|_| may_upgrade(value));
            }
            Known::MaxForwards if matches!(method, Method::Options | Method::Trace) => {
                if self.max_forwards.is_some() {
                    return Err(RequestFault::MaxForwardsInvalid);
                }
                self.max_forwards =
                    Some(parse_hops(value).ok_or(RequestFault::MaxForwardsInvalid)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Where the body ends.
    pub fn body(&self) -> RequestBody {
        match self.framing {
            Framing { chunked: true, .. } => RequestBody::Chunked,
            Framing {
                length: Some(length),
                ..
            } => RequestBody::Length(length),
            _ => RequestBody::None,
        }
    }
}

/// Protocols (`name[/version]`, a list of them) that may be asked for: not HTTP/2.
fn may_upgrade(value: &[u8]) -> bool {
    members(value).next().is_some()
        && members(value).all(|protocol| {
            let name = protocol.split(|b| *b == b'/').next().unwrap_or_default();
            !name.eq_ignore_ascii_case(b"h2c") && !name.eq_ignore_ascii_case(b"h2")
        })
}

/// A decimal number; what is over 32 bits means as much as the largest that fits.
fn parse_hops(value: &[u8]) -> Option<u32> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0_u32, |hops, digit| {
        hops.saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    }))
}
