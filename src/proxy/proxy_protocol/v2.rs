//! Version 2: binary (section 2.2 of the specification).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Addresses, Fault, Header, MAX_HEADER, told};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family, length.
const FIXED: usize = 16;
/// Bytes of the address blocks: two addresses and two ports, or two paths.
const INET: usize = 12;
const INET6: usize = 36;
const UNIX: usize = 216;
/// The type of a TLV with the checksum of the whole header.
const CRC32C: u8 = 3;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let Some(fixed) = bytes.get(..FIXED) else {
        return Ok(None);
    };
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Fault::Malformed("neither LOCAL nor PROXY of version 2")),
    };
    let (block, is_inet) = match fixed[13] {
        0x00..=0x02 => (0, false),
        0x11 => (INET, true),
        0x21 => (INET6, true),
        // Of a datagram, or of half a family, the addresses are not this connection's.
        0x10 | 0x12 => (INET, false),
        0x20 | 0x22 => (INET6, false),
        0x30..=0x32 => (UNIX, false),
        _ => return Err(Fault::Malformed("a family that version 2 does not have")),
    };
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MAX_HEADER {
        return Err(Fault::TooLong);
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(None);
    };
    // What a LOCAL header says is to be skipped, whatever it is.
    let addresses = if is_local {
        None
    } else {
        let rest = &header[FIXED..];
        let (block, tlvs) = rest
            .split_at_checked(block)
            .ok_or(Fault::Malformed("shorter than its family's addresses"))?;
        check_tlvs(header, tlvs)?;
        is_inet.then(|| addresses(block))
    };
    Ok(Some(Header { length, addresses }))
}

/// Two addresses of one length, then two ports.
fn addresses(block: &[u8]) -> Addresses {
    let (ips, ports) = block.split_at(block.len() - 4);
    let (source, destination) = ips.split_at(ips.len() / 2);
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    told((address(source), port(0)), (address(destination), port(2)))
}

fn address(bytes: &[u8]) -> IpAddr {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ipv4Addr::from(four).into();
    }
    let mut sixteen = [0; 16];
    sixteen.copy_from_slice(bytes);
    Ipv6Addr::from(sixteen).into()
}

/// Walks over the type-length-value entries behind the addresses. Nothing in them is used; the checksum is
/// checked where there is one.
fn check_tlvs(header: &[u8], mut tlvs: &[u8]) -> Result<(), Fault> {
    while let Some((fixed, rest)) = tlvs.split_at_checked(3) {
        let length = usize::from(u16::from_be_bytes([fixed[1], fixed[2]]));
        let (value, rest) = rest
            .split_at_checked(length)
            .ok_or(Fault::Malformed("a TLV longer than the header"))?;
        if fixed[0] == CRC32C {
            let told = <[u8; 4]>::try_from(value)
                .map_err(|_| Fault::Malformed("a checksum that is not four bytes"))?;
            let at = header.len() - rest.len() - value.len();
            if checksum(header, at) != u32::from_be_bytes(told) {
                return Err(Fault::Checksum);
            }
        }
        tlvs = rest;
    }
    if tlvs.is_empty() {
        Ok(())
    } else {
        Err(Fault::Malformed("bytes behind the last TLV"))
    }
}

/// The CRC32C of a header whose checksum, the four bytes from `at`, counts as zero.
fn checksum(header: &[u8], at: usize) -> u32 {
    let before = crc32c::crc32c(&header[..at]);
    let zeroed = crc32c::crc32c_append(before, &[0; 4]);
    crc32c::crc32c_append(zeroed, &header[at + 4..])
}

/// Both addresses are of one family.
pub(super) fn write(addresses: &Addresses, out: &mut Vec<u8>) {
    let Addresses {
        source,
        destination,
    } = addresses;
    out.extend_from_slice(SIGNATURE);
    let (family, block) = if source.is_ipv4() {
        (0x11, INET)
    } else {
        (0x21, INET6)
    };
    // The block is shorter than 256 bytes.
    out.extend_from_slice(&[0x21, family, 0, block.to_le_bytes()[0]]);
    for at in [source, destination] {
        match at.ip() {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    for at in [source, destination] {
        out.extend_from_slice(&at.port().to_be_bytes());
    }
}
