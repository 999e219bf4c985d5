//! Version 1: one line of text (section 2.1 of the specification).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Addresses, Fault, Header, told};

pub(super) const BEGIN: &[u8] = b"PROXY ";

/// With its CR LF; the specification's own count for the longest line.
const MAX_LINE: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let seen = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = seen.windows(2).position(|two| two == b"\r\n") else {
        return if seen.len() == MAX_LINE {
            Err(Fault::Malformed("no line of at most 107 bytes"))
        } else {
            Ok(None)
        };
    };
    let rest = seen
        .get(BEGIN.len()..end)
        .ok_or(Fault::Malformed("no line that begins with PROXY"))?;
    let text = std::str::from_utf8(rest).map_err(|_| Fault::Malformed("not ASCII"))?;
    Ok(Some(Header {
        length: end + 2,
        addresses: addresses(text)?,
    }))
}

/// What follows `PROXY `.
fn addresses(text: &str) -> Result<Option<Addresses>, Fault> {
    let mut words = text.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // Whatever else the line says is to be ignored.
        return Ok(None);
    }
    let mut word = || words.next().ok_or(Fault::Malformed("a word is missing"));
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(Fault::Malformed("a word too many"));
    }
    let address = |word: &str| -> Result<IpAddr, Fault> {
        let parsed = match family {
            "TCP4" => word.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            "TCP6" => word.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
            _ => return Err(Fault::Malformed("neither TCP4 nor TCP6 nor UNKNOWN")),
        };
        parsed.ok_or(Fault::Malformed("no address of its family"))
    };
    Ok(Some(told(
        (address(source)?, port(source_port)?),
        (address(destination)?, port(destination_port)?),
    )))
}

/// Decimal digits and no other way to write a number.
fn port(word: &str) -> Result<u16, Fault> {
    let plain =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse()
        .ok()
        .filter(|_| plain)
        .ok_or(Fault::Malformed("no port from 0 to 65535"))
}

/// Both addresses are of one family.
pub(super) fn write(addresses: &Addresses, out: &mut Vec<u8>) {
    use std::io::Write;
    let Addresses {
        source,
        destination,
    } = addresses;
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    // Writing into a Vec cannot fail.
    let _ = write!(
        out,
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
}
