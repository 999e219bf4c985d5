//! What gRPC asks of a proxy: errors in its own words, its deadline, and where its messages end (the gRPC
//! project's "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping").

use std::time::{Duration, Instant};

use h2::Reason;
use http::{HeaderMap, HeaderValue};

/// The call was given up.
const CANCELLED: u16 = 1;
/// It took longer than its deadline allows.
pub(super) const DEADLINE_EXCEEDED: u16 = 4;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const INTERNAL: u16 = 13;
/// It may go well if it is made again.
pub(super) const UNAVAILABLE: u16 = 14;

/// Whether a `Content-Type` is that of gRPC: `application/grpc`, and with a suffix or parameters.
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    let name = b"application/grpc";
    let Some((start, rest)) = content_type.split_at_checked(name.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(name) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The `grpc-status` for an answer of our own with this HTTP status.
pub(super) fn status(http: u16) -> u16 {
    match http {
        400 | 431 => INTERNAL,
        401 => 16,
        403 => PERMISSION_DENIED,
        404 => 12,
        408 | 504 => DEADLINE_EXCEEDED,
        413 => RESOURCE_EXHAUSTED,
        429 | 502 | 503 => UNAVAILABLE,
        _ => 2,
    }
}

/// The `grpc-status` for a call that its server has reset ("gRPC over HTTP2", Errors).
pub(super) fn status_of_reset(code: Reason) -> u16 {
    match code {
        Reason::REFUSED_STREAM => UNAVAILABLE,
        Reason::CANCEL => CANCELLED,
        Reason::ENHANCE_YOUR_CALM => RESOURCE_EXHAUSTED,
        Reason::INADEQUATE_SECURITY => PERMISSION_DENIED,
        _ => INTERNAL,
    }
}

/// Whether a reset says that the call's deadline is over: its server has a clock of its own, which may be ahead of
/// ours.
pub(super) fn is_deadline(code: Reason, deadline: Option<Instant>, now: Instant) -> bool {
    /// How far: the clocks that servers look at for this move in steps of up to 10 ms.
    const STEP: Duration = Duration::from_millis(10);
    code == Reason::CANCEL && deadline.is_some_and(|deadline| now + STEP >= deadline)
}

/// The trailers that end a call with a status.
pub(super) fn trailers(status: u16, message: &str) -> HeaderMap {
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
pub(super) fn timeout(value: &[u8]) -> Option<Duration> {
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
pub(super) struct Messages {
    prefix: [u8; 5],
    /// Bytes of the prefix that are here.
    have: usize,
    /// Bytes of content still to come.
    left: u64,
}

impl Messages {
    /// These bytes follow.
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
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
    pub(super) fn at_boundary(&self) -> bool {
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
    fn who_cancels_a_call_at_its_deadline_says_that_it_is_over() {
        let now = Instant::now();
        let at = |millis| Some(now + Duration::from_millis(millis));
        for (code, deadline, want) in [
            (Reason::CANCEL, Some(now), true),
            (Reason::CANCEL, at(10), true),
            (Reason::CANCEL, at(11), false),
            (Reason::CANCEL, None, false),
            (Reason::INTERNAL_ERROR, Some(now), false),
        ] {
            assert_eq!(is_deadline(code, deadline, now), want, "{code:?}");
        }
        assert!(is_deadline(
            Reason::CANCEL,
            Some(now),
            now + Duration::from_secs(9)
        ));
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
