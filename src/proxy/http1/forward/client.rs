//! What backends are told of the client: `X-Forwarded-*`, `X-Real-IP`, `Forwarded` (RFC 7239).
//!
//! From a peer that is no trusted proxy these fields are replaced, whatever it sent, or anybody could
//! pose as anybody. A trusted one's are kept and added to.

use std::net::IpAddr;

use super::super::head::{Field, is_token, members};
use super::super::known::Known;
use super::super::request::authority::Authority;
use super::line;
use crate::model::Scheme;

/// A client's connection as backends are told of it. Made once a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFields {
    /// The address, as in `X-Forwarded-For`.
    address: Box<str>,
    /// The address as a node of `Forwarded`: an IPv6 address stands in brackets and quotes.
    node: Box<str>,
    scheme: &'static str,
    peer_trusted: bool,
}

impl ClientFields {
    /// `peer` is who connected, `scheme` what is spoken (`http` or `https`), `peer_trusted` whether `peer`
    /// is one of its listener's `trustedProxies`.
    pub fn new(peer: IpAddr, scheme: &'static str, peer_trusted: bool) -> Self {
        let peer = peer.to_canonical();
        let address = peer.to_string();
        let node = match peer {
            IpAddr::V4(_) => address.clone(),
            IpAddr::V6(_) => format!("\"[{address}]\""),
        };
        Self {
            address: address.into(),
            node: node.into(),
            scheme,
            peer_trusted,
        }
    }

    /// Notes whether the peer is a trusted proxy now: the list may change while it is connected.
    pub fn trust(&mut self, trusted: bool) {
        self.peer_trusted = trusted;
    }

    /// What the client's connection speaks.
    pub fn scheme(&self) -> Scheme {
        if self.scheme == Scheme::Https.as_str() {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    /// Whether what the peer says of forwarding is believed.
    pub(super) fn is_trusted(&self) -> bool {
        self.peer_trusted
    }

    /// Writes all of the fields. `host` is the effective authority, empty where there is none.
    pub(super) fn write(&self, buf: &[u8], fields: &[Field], host: &[u8], out: &mut Vec<u8>) {
        if self.peer_trusted {
            self.append(buf, fields, host, out);
        } else {
            self.replace(host, out);
        }
    }

    fn replace(&self, host: &[u8], out: &mut Vec<u8>) {
        line(b"X-Forwarded-For", &[self.address.as_bytes()], out);
        line(b"X-Forwarded-Proto", &[self.scheme.as_bytes()], out);
        if !host.is_empty() {
            line(b"X-Forwarded-Host", &[host], out);
        }
        line(b"X-Real-IP", &[self.address.as_bytes()], out);
        out.extend_from_slice(b"Forwarded: ");
        self.element(host, out);
    }

    fn append(&self, buf: &[u8], fields: &[Field], host: &[u8], out: &mut Vec<u8>) {
        let all = |known| Values { buf, fields, known };
        all(Known::XForwardedFor).join(b"X-Forwarded-For: ", out);
        out.extend_from_slice(self.address.as_bytes());
        out.extend_from_slice(b"\r\n");

        let proto = all(Known::XForwardedProto).first(is_token);
        let proto = proto.unwrap_or(self.scheme.as_bytes());
        line(b"X-Forwarded-Proto", &[proto], out);

        let named = all(Known::XForwardedHost).first(|value| Authority::parse(value).is_some());
        let named = named.unwrap_or(host);
        if !named.is_empty() {
            line(b"X-Forwarded-Host", &[named], out);
        }

        let real = all(Known::XRealIp).first(is_address);
        let real = real.or_else(|| {
            let last = all(Known::XForwardedFor).iter().last()?;
            members(last).last().filter(|entry| is_address(entry))
        });
        let real = real.unwrap_or(self.address.as_bytes());
        line(b"X-Real-IP", &[real], out);

        all(Known::Forwarded).join(b"Forwarded: ", out);
        self.element(host, out);
    }

    /// One element of `Forwarded`, and the end of its line. Host is quoted, for its colon; its characters
    /// are checked, none needs an escape.
    fn element(&self, host: &[u8], out: &mut Vec<u8>) {
        for piece in ["for=", &self.node, ";proto=", self.scheme] {
            out.extend_from_slice(piece.as_bytes());
        }
        if !host.is_empty() {
            out.extend_from_slice(b";host=\"");
            out.extend_from_slice(host);
            out.push(b'"');
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// All values of one field.
#[derive(Clone, Copy)]
struct Values<'a> {
    buf: &'a [u8],
    fields: &'a [Field],
    known: Known,
}

impl<'a> Values<'a> {
    fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |field| field.known == self.known)
            .map(move |field| field.value.of(self.buf))
            .filter(|value| !value.is_empty())
    }

    /// The first value, if it is `sane`.
    fn first(self, sane: impl Fn(&[u8]) -> bool) -> Option<&'a [u8]> {
        self.iter().next().filter(|value| sane(value))
    }

    /// Writes `prefix` and the values, each with a comma after it.
    fn join(self, prefix: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(prefix);
        for value in self.iter() {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
}

fn is_address(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}
