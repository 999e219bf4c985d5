//! The PROXY protocol, versions 1 and 2 (HAProxy, "The PROXY protocol", 2020/03/05): what a proxy says first
//! on a connection, so that the next one knows whose it is.
//!
//! Reading and writing are pure; [`receive`] takes the header off a connection. Used where a listener accepts
//! it (`worker::accept`) and where a Backend wants it sent (`upstream`).

mod receive;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::model::ProxyVersion;

pub(super) use receive::{NoHeader, receive};

/// The longest header that is read, in bytes. Version 2 may say 65,551; what is sent is below 600, and a
/// stranger is not given more memory.
pub const MAX_HEADER: usize = 4096;

/// Both ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client's own.
    pub source: SocketAddr,
    /// The one it connected to.
    pub destination: SocketAddr,
}

/// A header that was read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes.
    pub length: usize,
    /// What it says; absent where the proxy speaks for itself (LOCAL) or does not know (UNKNOWN, UNSPEC, a
    /// Unix socket): then the connection's own addresses count.
    pub addresses: Option<Addresses>,
}

/// The bytes are no header; the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// It begins like one.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
    /// It is longer than [`MAX_HEADER`].
    #[error("the PROXY header is longer than {MAX_HEADER} bytes")]
    TooLong,
    /// Its CRC32C is not that of its bytes.
    #[error("the PROXY header's checksum is wrong")]
    Checksum,
}

/// Reads the header that `bytes` begin with; `None` where more of it has to come.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    if begins_like(bytes, v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins_like(bytes, v1::BEGIN) {
        v1::parse(bytes)
    } else {
        Err(Fault::Missing)
    }
}

/// Writes the header that tells of such a connection.
pub fn write(version: ProxyVersion, addresses: &Addresses, out: &mut Vec<u8>) {
    let addresses = one_family(addresses);
    match version {
        ProxyVersion::V1 => v1::write(&addresses, out),
        ProxyVersion::V2 => v2::write(&addresses, out),
    }
}

/// Whether one of the two begins with the other.
fn begins_like(bytes: &[u8], wanted: &[u8]) -> bool {
    let length = bytes.len().min(wanted.len());
    bytes[..length] == wanted[..length]
}

/// Both addresses in one family: neither version has a form for two. An IPv4 address then stands as the IPv6
/// address that it is mapped to (RFC 4291 section 2.5.5.2).
fn one_family(addresses: &Addresses) -> Addresses {
    let Addresses {
        source,
        destination,
    } = *addresses;
    let plain = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return Addresses {
            source,
            destination,
        };
    }
    let wide = |at: SocketAddr| SocketAddr::new(IpAddr::V6(as_v6(at.ip())), at.port());
    Addresses {
        source: wide(source),
        destination: wide(destination),
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// What was told, with IPv4 addresses as such.
fn told(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Addresses {
    let at = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
    Addresses {
        source: at(source),
        destination: at(destination),
    }
}
