//! A response between HTTP/2 and HTTP/1's normal form (see [`super::request`]).

use bytes::{BufMut, Bytes};
use http::header::{self, HeaderName};
use http::{StatusCode, response};

use super::names::name_of;
use super::request::{Lines, Untranslatable, append};
use crate::proxy::http1::{
    AskedBy, HeadLimits, Method, ResponseFault, ResponseHead, Version, parse_response,
};
use crate::proxy::sheets::Sheet;

/// Writes the head of an endpoint's response in normal form to `sheet`, and reads it. `ends` where no body
/// follows it.
///
/// # Errors
///
/// HTTP/1 would refuse it too.
pub fn read_response(
    parts: &response::Parts,
    ends: bool,
    method: Method,
    sheet: &mut Sheet,
) -> Result<ResponseHead, ResponseFault> {
    let out = &mut sheet.bytes;
    out.clear();
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(parts.status.as_str().as_bytes());
    out.put_slice(b" \r\n");
    for (name, value) in &parts.headers {
        // The answer to a key that HTTP/2 has not (RFC 8441 section 5).
        if !is_of_the_connection(name) && name != header::SEC_WEBSOCKET_ACCEPT {
            out.put_slice(name.as_str().as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
    let interim = parts.status.is_informational();
    if !interim && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        if !ends {
            out.put_slice(b"transfer-encoding: chunked\r\n");
        } else if !lacks_content(parts.status, method) {
            out.put_slice(b"content-length: 0\r\n");
        }
    }
    out.put_slice(b"\r\n");
    // HTTP/2 has no switch of protocols: extended CONNECT is answered by a 200.
    let asked = AskedBy {
        method,
        upgrade: false,
    };
    let parsed = parse_response(out, asked, &HeadLimits::RESPONSE, &mut sheet.fields)?;
    let (mut head, _) = parsed.ok_or(ResponseFault::HeadTooLarge)?;
    head.version = Version::Http2;
    Ok(head)
}

/// Responses without content whatever they say (RFC 9110 section 6.4.1).
fn lacks_content(status: StatusCode, method: Method) -> bool {
    method == Method::Head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// RFC 9113 section 8.2.2: HTTP/2 has none of them.
fn is_of_the_connection(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// The response for a client that speaks HTTP/2, of the head that `forward_response` wrote for it.
///
/// # Errors
///
/// Bytes that are no such head: a fault of ours.
pub fn response_for_client(head: &[u8]) -> Result<http::Response<()>, Untranslatable> {
    let bytes = Bytes::copy_from_slice(head);
    let mut lines = Lines::new(&bytes);
    let start = lines.start().unwrap_or_default();
    // `HTTP/1.1 200 OK`
    let status = start.get(9..12).unwrap_or_default();
    let mut response = http::Response::new(());
    *response.status_mut() =
        StatusCode::from_bytes(status).map_err(|_| Untranslatable("its status"))?;
    *response.version_mut() = http::Version::HTTP_2;
    let headers = response.headers_mut();
    headers.reserve(lines.fields());
    for (name, value) in lines {
        let name = name_of(name).map_err(|_| Untranslatable("a name"))?;
        // The answer to a key that HTTP/2 has not (RFC 8441 section 5).
        let accepts = name == header::SEC_WEBSOCKET_ACCEPT;
        if !accepts && !is_of_the_connection(&name) {
            append(name, value, headers)?;
        }
    }
    Ok(response)
}
