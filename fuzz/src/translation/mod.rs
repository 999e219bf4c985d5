//! What must hold of messages on their way between HTTP/2 and HTTP/1, for any at all. Each check panics where it does
//! not.

mod requests;
mod responses;
mod trailers;

pub use requests::{request_of_http2, requests_of_http1};
pub use responses::{response_of_http2, responses_of_http1};
pub use trailers::{trailers_of_http1, trailers_of_http2};

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue};
use lastcall::proxy::http1::Field;
use lastcall::proxy::sheets::{Sheet, Sheets};

use crate::reading::Pair;

/// What HTTP/2 has not (RFC 9113 section 8.2.2).
const NOT_IN_HTTP2: &[&str] = &[
    "connection",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "proxy-connection",
];

/// A head, and where its fields lie.
struct Parsed<H> {
    head: H,
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl<H> Parsed<H> {
    /// Name and value of its fields, names in lower case.
    fn pairs(&self) -> Vec<Pair> {
        let pair = |field: &Field| {
            let name = field.name.of(&self.bytes).to_ascii_lowercase();
            (name, field.value.of(&self.bytes).to_vec())
        };
        self.fields.iter().map(pair).collect()
    }

    /// The values of one field.
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        values(&self.pairs(), name)
    }
}

fn values(pairs: &[Pair], name: &str) -> Vec<Vec<u8>> {
    let named = pairs.iter().filter(|pair| pair.0 == name.as_bytes());
    named.map(|pair| pair.1.clone()).collect()
}

/// The value, where the field is there.
fn lines(there: bool, value: &str) -> Vec<Vec<u8>> {
    there.then(|| value.into()).into_iter().collect()
}

/// The pairs that none of those names has, in the order of their names: an HTTP/2 library keeps only the order among
/// those of one name.
fn without(mut pairs: Vec<Pair>, names: &[&str]) -> Vec<Pair> {
    pairs.retain(|pair| !names.iter().any(|name| name.as_bytes() == pair.0));
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    pairs
}

/// What HTTP/2 carries, as HTTP/1 would: with no white space around values.
fn carried(headers: &HeaderMap) -> Vec<Pair> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = value.as_bytes().trim_ascii();
        (name.as_str().as_bytes().to_vec(), value.to_vec())
    };
    headers.iter().map(pair).collect()
}

fn only_what_http2_has(headers: &HeaderMap) {
    for name in NOT_IN_HTTP2 {
        assert!(!headers.contains_key(*name), "{name}");
    }
}

fn sheet() -> Sheet {
    Sheet::new(&Rc::new(Sheets::default()))
}
