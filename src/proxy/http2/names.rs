//! The names of fields as HTTP/2 has them. Those that the http crate knows cost nothing; any other is an allocation
//! for each use, but for the ones here: what lastcall says itself in every request, and what every call of gRPC does.

use http::header::{HeaderName, InvalidHeaderName};

/// The name that `name` is, in any case; in lower case, as HTTP/2 wants it.
pub(super) fn name_of(name: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
    macro_rules! known {
        ($($length:literal: $($text:literal)+;)+) => {
            // By its length first, so that most names cost no comparison.
            match name.len() {
                $($($length if name.eq_ignore_ascii_case($text.as_bytes()) => {
                    const NAME: HeaderName = HeaderName::from_static($text);
                    Ok(NAME)
                })+)+
                _ => HeaderName::from_bytes(name),
            }
        };
    }
    known! {
        9: "x-real-ip";
        11: "grpc-status";
        12: "x-request-id" "grpc-timeout" "grpc-message";
        13: "grpc-encoding";
        15: "x-forwarded-for";
        16: "x-forwarded-host";
        17: "x-forwarded-proto";
        20: "grpc-accept-encoding";
    }
}

/// Whether each message has another value of it. Kept in HPACK's table it is of no use to anybody, drives out what is,
/// and h2 looks through all that were kept of one name, one after the other, before it keeps the next.
pub(super) fn is_new_each_time(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "x-request-id" | "traceparent" | "grpc-timeout"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_whether_it_is_known_or_not() {
        for name in [
            "X-Real-IP",
            "X-Request-Id",
            "X-Forwarded-For",
            "x-forwarded-host",
            "X-FORWARDED-PROTO",
            "grpc-timeout",
            "Grpc-Message",
            "grpc-status",
            "grpc-encoding",
            "grpc-accept-encoding",
            "Content-Type",
            "X-Nobody-Knows",
            "x",
        ] {
            let want = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let named = name_of(name.as_bytes()).unwrap();
            assert_eq!(named, want);
            assert_eq!(named.as_str(), name.to_ascii_lowercase());
        }
        for name in ["", "a b", "x-real:ip", "x-r\u{e9}al-ip"] {
            assert!(name_of(name.as_bytes()).is_err(), "{name}");
        }
    }
}
