//! What gRPC asks of a proxy: errors in its own words, its deadline, and where its messages end (the gRPC
//! project's "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping").

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

/// Whether a `Content-Type` is that of gRPC: `application/grpc`, and with a suffix or parameters.
pub(in crate::proxy) fn is_grpc(content_type: &[u8]) -> bool {
    let name = b"application/grpc";
    let Some((start, rest)) = content_type.split_at_checked(name.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(name) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The `grpc-status` for an answer of our own with this HTTP status.
pub(in crate::proxy) fn status(http: u16) -> u16 {
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    match http {
        400 | 431 => INTERNAL,
        401 => 16,
        403 => 7,
        404 => 12,
        408 | 504 => 4,
        413 => 8,
        429 | 502 | 503 => UNAVAILABLE,
        _ => 2,
    }
}

/// The trailers that end a call with a status.
pub(in crate::proxy) fn trailers(status: u16, message: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert("grpc-status", HeaderValue::from(status));
    if let Ok(message) = HeaderValue::from_str(&encode(message)) {
        map.insert("grpc-message", message);
    }
    map
}

/// Percent-encodes what a `grpc-message` cannot hold.
fn encode(message: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// The time that `grpc-timeout` allows: at most eight digits and a unit.
pub(in crate::proxy) fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Follows length-prefixed messages: a byte, four of length, and so many of content.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proxy) struct Messages {
    prefix: [u8; 5],
    /// Bytes of the prefix that are here.
    have: usize,
    /// Bytes of content still to come.
    left: u64,
}

impl Messages {
    /// These bytes follow.
    pub(in crate::proxy) fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken =
                    usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= taken as u64;
                bytes = &bytes[taken..];
                continue;
            }
            let taken = (5 - self.have).min(bytes.len());
            self.prefix[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == 5 {
                let [_, length @ ..] = self.prefix;
                self.left = u64::from(u32::from_be_bytes(length));
                self.have = 0;
            }
        }
    }

    /// Whether a message has just ended, or none has begun.
    pub(in crate::proxy) fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_message_is_known_however_it_is_cut() {
        let bytes = [
            &[0, 0, 0, 0, 3][..],
            b"abc",
            &[1, 0, 0, 0, 0],
            &[0, 0, 0, 0, 1],
            b"x",
        ]
        .concat();
        let ends = [0, 8, 13, 19];
        for step in 1..7 {
            let mut messages = Messages::default();
            let mut at = 0;
            for part in bytes.chunks(step) {
                assert_eq!(messages.at_boundary(), ends.contains(&at), "{at}");
                messages.see(part);
                at += part.len();
            }
            assert!(messages.at_boundary());
        }
    }

    #[test]
    fn timeouts_are_read() {
        for (text, want) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("10S", Some(Duration::from_secs(10))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("5n", Some(Duration::from_nanos(5))),
            ("", None),
            ("S", None),
            ("123456789S", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(timeout(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn content_types_of_grpc() {
        for (text, want) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        let map = trailers(14, "100 % né\n");
        assert_eq!(map["grpc-status"], "14");
        assert_eq!(map["grpc-message"], "100 %25 n%C3%A9%0A");
    }
}
