//! The edge between HTTP/2 and HTTP/1 against any heads, both ways: what is taken is one plain message on the other
//! side, of what came and no more.

use lastcall::proxy::http1::{AskedBy, Method};
use lastcall_fuzz::cases::{requests, responses};
use lastcall_fuzz::{Choices, Shown, fuzz, http2, message, short, translation};

/// What means something to HTTP/2 alone.
const MORE_REQUESTS: [&[u8]; 2] = [
    b"GET /<a>?b=\"`c`\" HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
];
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: a\r\n\r\n";
const TRAILERS: [&[u8]; 2] = [
    b"0\r\nX-Sum: a\r\nGrpc-Status: 0\r\nX-Sum: b\r\n\r\n",
    b"0\r\nCookie: a\r\nConnection: X\r\nKeep-Alive: b\r\nX: \xff\r\n\r\n",
];

#[test]
fn any_request_of_http2_is_passed_on_plainly() {
    fuzz!(256, 300_000, |choices: &mut Choices<'_>| {
        let Some(parts) = http2::request(choices) else {
            return;
        };
        let (ends, websocket) = (choices.below(2) == 0, choices.below(8) == 1);
        let text = format!("{parts:?} ends {ends} websocket {websocket}");
        let _shown = Shown(text.as_bytes());
        translation::request_of_http2(&parts, ends, websocket);
    });
}

#[test]
fn any_request_of_http1_is_the_same_by_http2() {
    let cases = requests::CASES.iter().map(|case| case.bytes.to_vec());
    let seeds = short(cases.chain(MORE_REQUESTS.iter().map(|bytes| bytes.to_vec())));
    fuzz!(256, 300_000, |choices: &mut Choices<'_>| {
        let input = message(choices, &seeds);
        let _shown = Shown(&input);
        translation::requests_of_http1(&input);
    });
}

#[test]
fn any_response_of_http2_is_passed_on_plainly() {
    fuzz!(256, 300_000, |choices: &mut Choices<'_>| {
        let Some(parts) = http2::response(choices) else {
            return;
        };
        let (ends, method) = (choices.below(2) == 0, method(choices));
        let text = format!("{parts:?} ends {ends} to {method:?}");
        let _shown = Shown(text.as_bytes());
        translation::response_of_http2(&parts, ends, method);
    });
}

#[test]
fn any_response_of_http1_is_the_same_by_http2() {
    let cases = responses::CASES.iter().map(|case| case.bytes.to_vec());
    let seeds = short(cases.chain([SWITCH.to_vec()]));
    fuzz!(256, 300_000, |choices: &mut Choices<'_>| {
        let input = message(choices, &seeds);
        let _shown = Shown(&input);
        let asked = AskedBy {
            method: method(choices),
            upgrade: choices.below(2) == 1,
        };
        translation::responses_of_http1(&input, asked);
    });
}

#[test]
fn any_trailers_are_the_same_on_the_other_side() {
    let seeds = TRAILERS.map(<[u8]>::to_vec);
    fuzz!(256, 300_000, |choices: &mut Choices<'_>| {
        if let Some(map) = http2::fields(choices) {
            let text = format!("{map:?}");
            let _shown = Shown(text.as_bytes());
            translation::trailers_of_http2(map);
        }
        let section = message(choices, &seeds);
        let _shown = Shown(&section);
        translation::trailers_of_http1(&section);
    });
}

fn method(choices: &mut Choices<'_>) -> Method {
    [Method::Get, Method::Post, Method::Head][choices.below(3)]
}
