//! Targets as HTTP/2 carries them. HTTP/1's reader takes every visible byte, as its clients send them and its servers
//! take them; `:path` is what RFC 3986 allows (RFC 9113 section 8.3.1), and the library refuses some of the rest.
//! Called by `request`.

use bytes::Bytes;

/// The target with those bytes escaped that a target must not have and that the library does not take: quotes,
/// angle brackets and backticks, nearly always of text that somebody forgot to escape (RFC 3986 sections 2.1 and
/// 2.4). What is escaped already stays as it is.
pub(super) fn escaped(target: Bytes) -> Bytes {
    if !target.iter().any(|byte| is_refused(*byte)) {
        return target;
    }
    let mut escaped = Vec::with_capacity(target.len() + 32);
    for byte in &target {
        if is_refused(*byte) {
            let digit = |at: u8| b"0123456789ABCDEF"[usize::from(at & 15)];
            escaped.extend([b'%', digit(byte >> 4), digit(*byte)]);
        } else {
            escaped.push(*byte);
        }
    }
    escaped.into()
}

fn is_refused(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`')
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;

    use super::*;

    #[test]
    fn every_byte_that_http1_takes_can_be_carried() {
        // What a target of HTTP/1 may have (`http1::request::target`).
        for byte in (b'!'..=b'~').filter(|byte| *byte != b'#') {
            for before in ["/a", "/a?b="] {
                let target = [before.as_bytes(), &[byte]].concat();
                let carried = escaped(Bytes::from(target.clone()));
                let read = PathAndQuery::from_maybe_shared(carried.clone());
                assert!(read.is_ok(), "{}", target.escape_ascii());
                let same = carried == target;
                assert_eq!(same, !is_refused(byte), "{}", target.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_escaped_stays_so() {
        let carried = escaped(Bytes::from_static(b"/%22\"%3c<?`>%"));
        assert_eq!(carried, "/%22%22%3c%3C?%60%3E%");
    }
}
