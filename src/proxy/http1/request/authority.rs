//! `Host` and the authority of an absolute target: which characters, one host, one port.
//!
//! Used by `request`. Stricter than RFC 3986: of a registered name only letters, digits, `.`, `-` and `_`
//! are taken (what DNS has), not percent-escapes and sub-delimiters. A comma in a host, say, is a list to
//! one reader and a name to the next.

use std::net::Ipv6Addr;

/// A checked `host [ ":" port ]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Authority {
    /// Length of the host, from the start; an IPv6 address with its brackets.
    pub host_len: usize,
    /// The port, where one is given.
    pub port: Option<u16>,
    /// No upper case letter in the host.
    pub lower: bool,
}

impl Authority {
    /// Reads `text`; `None` where it is no authority, or has user information.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let host_len = if text.first() == Some(&b'[') {
            let end = memchr::memchr(b']', text)?;
            let address = std::str::from_utf8(&text[1..end]).ok()?;
            address.parse::<Ipv6Addr>().ok()?;
            end + 1
        } else {
            let end = memchr::memchr(b':', text).unwrap_or(text.len());
            if end == 0 || !text[..end].iter().copied().all(is_host_byte) {
                return None;
            }
            end
        };
        let port = match &text[host_len..] {
            [] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return None,
        };
        Some(Self {
            host_len,
            port,
            lower: !text[..host_len].iter().any(u8::is_ascii_uppercase),
        })
    }

    /// Whether two authorities are the same, where a missing port means `default_port`.
    pub fn agree(one: &[u8], other: &[u8], default_port: u16) -> bool {
        match (Self::parse(one), Self::parse(other)) {
            (Some(a), Some(b)) => {
                one[..a.host_len].eq_ignore_ascii_case(&other[..b.host_len])
                    && a.port.unwrap_or(default_port) == b.port.unwrap_or(default_port)
            }
            _ => false,
        }
    }
}

fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~')
}

/// 1 to 65535. An empty port, which RFC 3986 allows, is refused: nobody sends it, and readers differ.
fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port = digits
        .iter()
        .fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0'));
    u16::try_from(port).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host_len, port) in [
            ("a", 1, None),
            ("shop.example.com", 16, None),
            ("shop.example.com:8080", 16, Some(8080)),
            ("10.0.0.7:1", 8, Some(1)),
            ("[::1]", 5, None),
            ("[2001:db8::1]:443", 13, Some(443)),
            ("under_score.example", 19, None),
        ] {
            let authority = Authority::parse(text.as_bytes()).unwrap();
            assert_eq!((authority.host_len, authority.port), (host_len, port));
        }
        assert!(!Authority::parse(b"A.example").unwrap().lower);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:080000",
            "a:8o",
            "a:+80",
            "a:80:80",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "u:p@h",
            "[::1",
            "[::1]x",
            "[::g]",
            "[]",
            "[fe80::1%25eth0]",
            "::1",
            "a?b",
            "a#b",
            "a%41",
            "a\"b",
            "a;b",
            "b\u{e4}r",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn agreement_ignores_case_and_the_default_port() {
        assert!(Authority::agree(b"A.b", b"a.B:80", 80));
        assert!(!Authority::agree(b"a.b", b"a.b:81", 80));
        assert!(!Authority::agree(b"a.b", b"a.c", 80));
    }
}
