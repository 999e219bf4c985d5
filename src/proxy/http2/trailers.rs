//! Trailers between HTTP/2 and HTTP/1.

use http::{HeaderMap, HeaderValue};

use super::names::name_of;
use crate::proxy::http1::is_trailer;

/// Trailers as HTTP/2 carries them, of those that HTTP/1 had.
pub fn trailers<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        // They were checked when they were read; what HTTP/2 has no word for is left out.
        if let (Ok(name), Ok(value)) = (name_of(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// Takes out what must not stand in trailers (RFC 9110 section 6.5.1), and what HTTP/1 could not say: the library takes
/// names that are no tokens, those with a quote.
pub fn retain_trailers(map: &mut HeaderMap) {
    let refused: Vec<_> = map
        .keys()
        .filter(|name| !is_trailer(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in refused {
        map.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn what_is_no_trailer_of_http1_is_taken_out() {
        let mut map = HeaderMap::new();
        for name in [
            &b"grpc-status"[..],
            b"x-sum",
            b"content-length",
            b"te",
            b"x\"y",
        ] {
            let name = HeaderName::from_lowercase(name).unwrap();
            map.append(name, HeaderValue::from_static("1"));
        }
        retain_trailers(&mut map);
        let left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["grpc-status", "x-sum"]);
    }
}
