//! Frames of `WebSocket`s, those that RFC 6455 allows and those that it forbids, as a client puts them on the wire.

/// One connection's worth.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// What the client sends, in pieces.
    pub pieces: Vec<Vec<u8>>,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The last frame of a message.
const FIN: u8 = 0x80;

/// A masked frame; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_with(first, payload, payload.len() > 125, payload.len() > 65535)
}

/// The same with its length in 16 bits, or in 64, whether it needs them or not.
fn frame_with(first: u8, payload: &[u8], longer: bool, longest: bool) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let length = payload.len().to_be_bytes();
    let mut bytes = vec![first];
    match (longer, longest) {
        (_, true) => bytes.extend([&[0xff], &length[..]].concat()),
        (true, false) => bytes.extend([&[0xfe], &length[6..]].concat()),
        (false, false) => bytes.push(0x80 | length[7]),
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(a, b)| a ^ b));
    bytes
}

/// What ends every connection.
fn close() -> Vec<u8> {
    frame(FIN | CLOSE, &1000_u16.to_be_bytes())
}

fn case(name: impl Into<String>, frames: &[Vec<u8>]) -> Case {
    let name = name.into();
    Case {
        name,
        pieces: vec![frames.concat()],
    }
}

/// Frames that are allowed, and a close behind them.
fn good(name: impl Into<String>, mut frames: Vec<Vec<u8>>) -> Case {
    frames.push(close());
    case(name, &frames)
}

/// All of them.
pub fn cases() -> Vec<Case> {
    [sizes(), fragments(), control(), closes(), broken(), text()].concat()
}

fn sizes() -> Vec<Case> {
    let mut all = Vec::new();
    for size in [0, 1, 125, 126, 127, 65535, 65536, 300_000] {
        all.push(good(
            format!("text of {size}"),
            vec![frame(FIN | TEXT, &vec![b'*'; size])],
        ));
        all.push(good(
            format!("binary of {size}"),
            vec![frame(FIN | BINARY, &vec![0xfe; size])],
        ));
    }
    let bytes = [frame(FIN | TEXT, &[b'x'; 200]), close()].concat();
    all.push(Case {
        name: "a frame byte by byte".to_owned(),
        pieces: bytes.iter().map(|byte| vec![*byte]).collect(),
    });
    all.push(good(
        "a hundred messages",
        vec![frame(FIN | TEXT, b"again"); 100],
    ));
    all
}

fn fragments() -> Vec<Case> {
    let first = || frame(TEXT, b"one ");
    let last = || frame(FIN | CONTINUATION, b"two");
    let ping = || frame(FIN | PING, b"in between");
    let mut bytewise = vec![frame(BINARY, b"a")];
    bytewise.extend(vec![frame(CONTINUATION, b"b"); 50]);
    bytewise.push(frame(FIN | CONTINUATION, b""));
    vec![
        good("two fragments", vec![first(), last()]),
        good(
            "empty fragments",
            vec![
                frame(TEXT, b""),
                frame(CONTINUATION, b""),
                frame(FIN | CONTINUATION, b""),
            ],
        ),
        good("fragments of a byte", bytewise),
        good("a ping between fragments", vec![first(), ping(), last()]),
        good(
            "pings before, between and after",
            vec![ping(), first(), ping(), ping(), last(), ping()],
        ),
        case("a close between fragments", &[first(), close()]),
        case("an end without a beginning", &[last()]),
        case(
            "a continuation without a beginning",
            &[frame(CONTINUATION, b"x")],
        ),
        case("a beginning within a message", &[first(), first()]),
        case(
            "a whole message within a message",
            &[first(), frame(FIN | TEXT, b"x")],
        ),
        case("an end after the end", &[frame(FIN | TEXT, b"x"), last()]),
    ]
}

fn control() -> Vec<Case> {
    let mut all = vec![
        good("an empty ping", vec![frame(FIN | PING, b"")]),
        good("a ping of 125", vec![frame(FIN | PING, &[0xff; 125])]),
        good("ten pings", vec![frame(FIN | PING, b"ping"); 10]),
        good("a pong unasked", vec![frame(FIN | PONG, b"pong")]),
        case("a ping of 126", &[frame(FIN | PING, &[b'x'; 126])]),
        case("a pong of 126", &[frame(FIN | PONG, &[b'x'; 126])]),
        case("a ping in fragments", &[frame(PING, b"x")]),
        case("a pong in fragments", &[frame(PONG, b"x")]),
        case("a close in fragments", &[frame(CLOSE, &[3, 232])]),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        all.push(case(
            format!("opcode {opcode}"),
            &[frame(FIN | opcode, b"x")],
        ));
    }
    for bit in [0x40, 0x20, 0x10] {
        for (kind, name) in [(TEXT, "text"), (PING, "a ping"), (CLOSE, "a close")] {
            let payload: &[u8] = if kind == CLOSE { &[3, 232] } else { b"x" };
            all.push(case(
                format!("reserved bit {bit:#x} of {name}"),
                &[frame(FIN | kind | bit, payload)],
            ));
        }
    }
    all
}

fn closes() -> Vec<Case> {
    let mut all = vec![
        case("a close without a code", &[frame(FIN | CLOSE, b"")]),
        case("a close of one byte", &[frame(FIN | CLOSE, b"x")]),
        case(
            "a close of 126",
            &[frame(FIN | CLOSE, &[&[3, 232], &[b'x'; 124][..]].concat())],
        ),
        case(
            "a reason of 123",
            &[frame(FIN | CLOSE, &[&[3, 232], &[b'x'; 123][..]].concat())],
        ),
        case(
            "a reason that is not UTF-8",
            &[frame(FIN | CLOSE, b"\x03\xe8\xff\xfe")],
        ),
        case(
            "a message after the close",
            &[close(), frame(FIN | TEXT, b"late")],
        ),
        case(
            "a ping after the close",
            &[close(), frame(FIN | PING, b"late")],
        ),
        case("two closes", &[close(), close()]),
    ];
    for code in [
        0_u16, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012,
        1013, 1014, 1015, 1016, 1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535,
    ] {
        let payload = [&code.to_be_bytes()[..], b"why"].concat();
        all.push(case(
            format!("close code {code}"),
            &[frame(FIN | CLOSE, &payload)],
        ));
    }
    all
}

fn broken() -> Vec<Case> {
    let top = [&[FIN | BINARY, 0xff, 0xff], &[0; 7][..], &[1, 2, 3, 4]].concat();
    vec![
        case("text without a mask", &[vec![FIN | TEXT, 1, b'x']]),
        case("a ping without a mask", &[vec![FIN | PING, 0]]),
        case("a close without a mask", &[vec![FIN | CLOSE, 2, 3, 232]]),
        case(
            "a length in 16 bits that needs 7",
            &[frame_with(FIN | TEXT, b"hello", true, false), close()],
        ),
        case(
            "a length in 64 bits that needs 16",
            &[frame_with(FIN | TEXT, b"hello", true, true), close()],
        ),
        case("a length over 63 bits", &[top]),
        case(
            "a ping with a length in 16 bits",
            &[frame_with(FIN | PING, b"x", true, false), close()],
        ),
    ]
}

fn text() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, bytes) in [
        ("an overlong slash", &b"\xc0\xaf"[..]),
        ("an overlong NUL", b"\xe0\x80\x80"),
        ("half a surrogate pair", b"\xed\xa0\x80"),
        ("beyond the last character", b"\xf4\x90\x80\x80"),
        ("five bytes for one", b"\xf8\x88\x80\x80\x80"),
        ("a lone continuation", b"a\x80b"),
        ("a beginning without an end", b"gr\xc3"),
        ("0xff", b"\xff"),
    ] {
        all.push(case(
            format!("text that is not UTF-8: {name}"),
            &[frame(FIN | TEXT, bytes)],
        ));
        // In binary anything goes.
        all.push(good(
            format!("binary that is not UTF-8: {name}"),
            vec![frame(FIN | BINARY, bytes)],
        ));
    }
    for (name, text) in [
        ("of every length", "a\u{e4}\u{20ac}\u{1f600}"),
        ("the last of all", "\u{10ffff}"),
        ("no characters", "\u{fffe}\u{ffff}"),
        ("NUL", "\0"),
    ] {
        all.push(good(
            format!("text: {name}"),
            vec![frame(FIN | TEXT, text.as_bytes())],
        ));
    }
    all.push(good(
        "a character in two fragments",
        vec![frame(TEXT, b"gr\xc3"), frame(FIN | CONTINUATION, b"\xbc")],
    ));
    all.push(case(
        "half a character in two fragments",
        &[frame(TEXT, b"gr\xc3"), frame(FIN | CONTINUATION, b"")],
    ));
    all
}
