//! Trailers.

use http::HeaderMap;
use lastcall::proxy::http1::{BodyDecoder, RequestBody, last_chunk};
use lastcall::proxy::http2::{retain_trailers, trailers};

use super::{carried, only_what_http2_has, without};
use crate::reading::Pair;

/// Trailers that came by HTTP/2 are one trailer section of HTTP/1.
pub fn trailers_of_http2(mut map: HeaderMap) {
    retain_trailers(&mut map);
    let came = carried(&map);
    let mut section = Vec::new();
    let fields = map.iter();
    let fields = fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    last_chunk(fields, &mut section);
    let read = section_of(&section).expect("a section that HTTP/1 takes");
    assert_eq!(without(read, &[]), without(came, &[]));
}

/// Trailers that came by HTTP/1 are all carried by HTTP/2.
pub fn trailers_of_http1(section: &[u8]) {
    let Some(came) = section_of(section) else {
        return;
    };
    let fields = came.iter();
    let map = trailers(fields.map(|(name, value)| (name.as_slice(), value.as_slice())));
    only_what_http2_has(&map);
    assert_eq!(without(carried(&map), &[]), without(came, &[]));
}

/// The trailers of a chunked body that ends with these bytes, names in lower case; `None` where it has no such end.
fn section_of(bytes: &[u8]) -> Option<Vec<Pair>> {
    let mut decoder = BodyDecoder::from(RequestBody::Chunked);
    let decoded = decoder.decode(bytes).ok()?;
    if !decoded.finished || decoded.consumed < bytes.len() {
        return None;
    }
    let pair = |(name, value): (&[u8], &[u8])| (name.to_ascii_lowercase(), value.to_vec());
    Some(decoder.trailers().iter().map(pair).collect())
}
