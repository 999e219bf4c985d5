//! Responses.

use http::response;
use lastcall::proxy::http1::{
    AskedBy, HeadLimits, Method, ResponseBody, ResponseContext, ResponseFraming, ResponseHead,
    Version, forward_response, parse_response,
};
use lastcall::proxy::http2::{read_response, response_for_client};

use super::{NOT_IN_HTTP2, Parsed, carried, lines, only_what_http2_has, sheet, values, without};
use crate::check::nothing_new;

/// A response that came by HTTP/2, where it is taken; `ends` where it has no body.
pub fn response_of_http2(parts: &response::Parts, ends: bool, method: Method) {
    let mut sheet = sheet();
    let Ok(head) = read_response(parts, ends, method, &mut sheet) else {
        return;
    };
    let asked = AskedBy {
        method,
        upgrade: false,
    };
    let normal = one_response(&sheet.bytes, asked);
    assert_eq!(head.version, Version::Http2);
    let mut as_http1 = head;
    as_http1.version = Version::Http11;
    assert_eq!(as_http1, normal.head, "read in two ways");
    assert_eq!(sheet.fields, normal.fields);
    assert_eq!(head.status, parts.status.as_u16());

    let came = carried(&parts.headers);
    let not_ours: Vec<_> = [NOT_IN_HTTP2, &["sec-websocket-accept", "content-length"]].concat();
    let ours = ["content-length", "transfer-encoding"];
    assert_eq!(
        without(normal.pairs(), &ours),
        without(came.clone(), &not_ours)
    );
    frames_the_same(&normal, &values(&came, "content-length"), ends);
    sent_back(&Parsed { head, ..normal }, asked);
}

/// The normal form ends where the stream does, and says no more than one length.
fn frames_the_same(normal: &Parsed<ResponseHead>, lengths: &[Vec<u8>], ends: bool) {
    let chunked = lengths.is_empty() && !ends && !normal.head.is_interim();
    assert_eq!(
        normal.values("transfer-encoding"),
        lines(chunked, "chunked")
    );
    match normal.head.body {
        // Whatever it says: that of a HEAD or a 304 is of another response.
        ResponseBody::None => assert_eq!(normal.values("content-length"), lengths),
        ResponseBody::Length(0) if lengths.is_empty() => assert!(ends),
        ResponseBody::Length(length) => assert_eq!(lengths, [length.to_string().into_bytes()]),
        ResponseBody::Chunked => assert!(chunked),
        ResponseBody::UntilClose => panic!("HTTP/2 ends its bodies by itself"),
    }
}

/// A response that came by HTTP/1, and the interim ones before it.
pub fn responses_of_http1(mut input: &[u8], asked: AskedBy) {
    let mut fields = Vec::new();
    while let Ok(Some((head, consumed))) =
        parse_response(input, asked, &HeadLimits::RESPONSE, &mut fields)
    {
        let bytes = input[..consumed].to_vec();
        let last = !head.is_interim();
        sent_back(
            &Parsed {
                head,
                bytes,
                fields: fields.clone(),
            },
            asked,
        );
        if last {
            return;
        }
        input = &input[consumed..];
    }
}

/// What a client gets, by HTTP/1 and by HTTP/2, is one plain response of what came.
fn sent_back(came: &Parsed<ResponseHead>, asked: AskedBy) {
    let bytes = forwarded(came, Version::Http11);
    let plain = one_response(&bytes, asked);
    assert_eq!(plain.head.status, came.head.status);
    assert_eq!(plain.head.body, framed(came.head.body));
    nothing_new(&came.pairs(), &plain.pairs());

    let bytes = forwarded(came, Version::Http2);
    let response = response_for_client(&bytes).expect("a response that HTTP/2 can carry");
    let parts = response.into_parts().0;
    assert_eq!(parts.status.as_u16(), came.head.status);
    only_what_http2_has(&parts.headers);
    let hop: Vec<_> = [NOT_IN_HTTP2, &["sec-websocket-accept", "trailer"]].concat();
    assert_eq!(
        without(carried(&parts.headers), &["trailer"]),
        without(plain.pairs(), &hop),
        "fields of HTTP/2"
    );
    // A switch is said by a 200 to HTTP/2.
    if came.head.is_switch() {
        return;
    }
    let ends = matches!(came.head.body, ResponseBody::None | ResponseBody::Length(0));
    let mut sheet = sheet();
    let back = read_response(&parts, ends, asked.method, &mut sheet);
    let back = back.expect("what we send is what we take");
    assert_eq!(back.status, came.head.status);
    assert_eq!(back.body, framed(came.head.body));
}

/// The end of a body that only the end of a connection told is told by the message.
fn framed(body: ResponseBody) -> ResponseBody {
    if body == ResponseBody::UntilClose {
        ResponseBody::Chunked
    } else {
        body
    }
}

fn forwarded(came: &Parsed<ResponseHead>, client: Version) -> Vec<u8> {
    let framing = ResponseFraming::choose(&came.head, client);
    let context = ResponseContext {
        client,
        close: false,
        framing,
        date: "",
        edits: None,
    };
    let mut bytes = Vec::new();
    forward_response(&came.head, &came.bytes, &came.fields, &context, &mut bytes);
    bytes
}

/// Reads what was written, which has to be one head and nothing else.
#[track_caller]
fn one_response(bytes: &[u8], asked: AskedBy) -> Parsed<ResponseHead> {
    let mut fields = Vec::new();
    let parsed = parse_response(bytes, asked, &HeadLimits::RESPONSE, &mut fields);
    let (head, consumed) = parsed
        .expect("a head that HTTP/1 takes")
        .expect("a whole head");
    assert_eq!(consumed, bytes.len(), "bytes after the head");
    Parsed {
        head,
        bytes: bytes.to_vec(),
        fields,
    }
}
