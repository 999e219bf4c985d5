//! Heads as HTTP/2 carries them, made of a fuzzer's choices: in the very types that the h2 crate makes of a header
//! block. What it refuses itself is not made, but for fields that HTTP/2 has not: that they are refused shall not
//! depend on it.

use std::borrow::Cow;

use bytes::Bytes;
use http::uri::{self, Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, request, response};

use crate::Choices;

const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"get",
    b"M-SEARCH",
];
const PATHS: &[&[u8]] = &[
    b"/",
    b"/a/b?c=d",
    b"*",
    b"/?",
    b"//a",
    b"/a/../b;c",
    b"/%0d%0aX:%20y",
    b"/a b",
    b"/?\"<>`",
    b"/a#b",
    b"http://b/",
    b"a",
    b"/\xc3\xa9",
];
const AUTHORITIES: &[&[u8]] = &[
    b"a",
    b"a.b:80",
    b"A.b",
    b"a:443",
    b"[::1]:8080",
    b"u@a",
    b"a:",
    b"a:0",
    b"a:99999",
    b"a,b",
    b"%61",
    b"a_b~",
    b"10.0.0.1",
];
const SCHEMES: &[&str] = &["http", "https", "ftp"];
const NAMES: &[&[u8]] = &[
    b"host",
    b"content-length",
    b"te",
    b"cookie",
    b"cookie",
    b"expect",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"keep-alive",
    b"proxy-connection",
    b"http2-settings",
    b"x-forwarded-for",
    b"x-forwarded-port",
    b"x-request-id",
    b"via",
    b"forwarded",
    b"max-forwards",
    b"trailer",
    b"date",
    b"proxy-authorization",
    b"proxy-authenticate",
    b"sec-websocket-key",
    b"sec-websocket-accept",
    b"set-cookie",
    b"grpc-status",
    b"grpc-timeout",
    b"x-a",
    b"x_a",
    b"!#$%&'*+-.^_`|~",
];
const VALUES: &[&[u8]] = &[
    b"",
    b"a",
    b"a.b:80",
    b"0",
    b"5",
    b"05",
    b"+5",
    b"5, 5",
    b"18446744073709551616",
    b"trailers",
    b"chunked",
    b"gzip, chunked",
    b"close",
    b"keep-alive, x-a",
    b"host",
    b"100-continue",
    b"websocket",
    b"h2c",
    b" a ",
    b"\ta\tb\t",
    b"\xff\x80",
    b"a=b; c",
    b"1.1.1.1",
    b"\"a: b\"",
    b",a,,",
];
const STATUSES: &[u16] = &[
    100, 101, 103, 199, 200, 201, 204, 205, 206, 301, 304, 400, 426, 500, 599, 600, 999,
];

/// A request, where these choices make one that h2 would hand on.
pub fn request(choices: &mut Choices<'_>) -> Option<request::Parts> {
    let method = Method::from_bytes(&one(choices, METHODS)).ok()?;
    let mut uri = uri::Parts::default();
    if choices.below(4) != 0 {
        let authority = Bytes::from(one(choices, AUTHORITIES).into_owned());
        uri.authority = Some(Authority::from_maybe_shared(authority).ok()?);
        let scheme = SCHEMES[choices.below(SCHEMES.len())];
        uri.scheme = Some(Scheme::try_from(scheme).expect("a scheme"));
    }
    // CONNECT has no path.
    if choices.below(8) != 0 || uri.authority.is_none() {
        let path = Bytes::from(one(choices, PATHS).into_owned());
        uri.path_and_query = Some(PathAndQuery::from_maybe_shared(path).ok()?);
    } else {
        uri.scheme = None;
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = fields(choices)?;
    Some(request.into_parts().0)
}

/// A response, where these choices make one that h2 would hand on.
pub fn response(choices: &mut Choices<'_>) -> Option<response::Parts> {
    let mut response = Response::new(());
    let status = STATUSES[choices.below(STATUSES.len())];
    *response.status_mut() = status.try_into().expect("a status");
    *response.version_mut() = http::Version::HTTP_2;
    *response.headers_mut() = fields(choices)?;
    Some(response.into_parts().0)
}

/// Fields of either, or trailers.
pub fn fields(choices: &mut Choices<'_>) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for _ in 0..choices.below(7) {
        let name = HeaderName::from_lowercase(&one(choices, NAMES)).ok()?;
        let value = HeaderValue::from_maybe_shared(Bytes::from(one(choices, VALUES).into_owned()));
        map.append(name, value.ok()?);
    }
    Some(map)
}

/// One of these, now and then with another byte in it.
fn one(choices: &mut Choices<'_>, of: &'static [&'static [u8]]) -> Cow<'static, [u8]> {
    let text = of[choices.below(of.len())];
    if choices.below(16) != 1 {
        return text.into();
    }
    let mut text = text.to_vec();
    let byte = choices.below(256).to_le_bytes()[0];
    text.insert(choices.below(text.len() + 1), byte);
    text.into()
}
