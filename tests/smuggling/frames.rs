//! HTTP/2 by hand: a client that says what no library would.

use std::collections::BTreeMap;

/// The preface, and settings that change nothing.
pub const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A field, as it is sent.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// One frame (RFC 9113 section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A frame of fields, each as a literal that is not indexed (RFC 7541 section 6.2.2).
pub fn headers(stream: u32, ends: bool, fields: &[Pair<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(name, &mut block);
        string(value, &mut block);
    }
    let end = if ends { END_STREAM } else { 0 };
    frame(HEADERS, END_HEADERS | end, stream, &block)
}

/// A string that is not compressed (RFC 7541 section 5.2).
fn string(text: &[u8], out: &mut Vec<u8>) {
    let mut left = text.len();
    if left < 127 {
        out.push(left.to_le_bytes()[0]);
    } else {
        out.push(127);
        left -= 127;
        while left >= 128 {
            out.push((left % 128).to_le_bytes()[0] | 128);
            left /= 128;
        }
        out.push(left.to_le_bytes()[0]);
    }
    out.extend_from_slice(text);
}

/// A frame of content.
pub fn data(stream: u32, ends: bool, content: &[u8]) -> Vec<u8> {
    frame(DATA, if ends { END_STREAM } else { 0 }, stream, content)
}

/// An honest request.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields: [Pair<'_>; 4] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", path.as_bytes()),
    ];
    headers(stream, true, &fields)
}

/// What was read of a connection.
#[derive(Debug, Default)]
pub struct Frames {
    streams: BTreeMap<u32, Stream>,
    gone: bool,
}

#[derive(Debug, Default)]
struct Stream {
    body: Vec<u8>,
    whole: bool,
    reset: bool,
}

impl Frames {
    /// The frames in these bytes.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut all = Self::default();
        while let Some((frame, rest)) = split(bytes) {
            bytes = rest;
            all.gone |= frame.kind == GOAWAY;
            if frame.stream == 0 {
                continue;
            }
            let stream = all.streams.entry(frame.stream).or_default();
            match frame.kind {
                DATA => stream.body.extend_from_slice(frame.payload),
                RST_STREAM => stream.reset = true,
                _ => {}
            }
            stream.whole |= frame.ends;
        }
        all
    }

    /// Whether nothing more is to be expected of a stream.
    pub fn is_over(&self, stream: u32) -> bool {
        let over = |stream: &Stream| stream.whole || stream.reset;
        self.gone || self.streams.get(&stream).is_some_and(over)
    }

    /// Whether a stream came to its end, and was not reset.
    pub fn is_whole(&self, stream: u32) -> bool {
        let whole = |stream: &Stream| stream.whole;
        self.streams.get(&stream).is_some_and(whole)
    }

    /// What came on a stream.
    pub fn body(&self, stream: u32) -> String {
        let body = self.streams.get(&stream).map(|stream| &stream.body[..]);
        String::from_utf8_lossy(body.unwrap_or_default()).into_owned()
    }
}

/// A frame that came.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: u8,
    pub stream: u32,
    /// It ends its stream.
    pub ends: bool,
    pub payload: &'a [u8],
}

/// The first frame, and what comes behind.
pub fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let head = bytes.get(..9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let (payload, rest) = bytes[9..].split_at_checked(usize::try_from(length).ok()?)?;
    let frame = Frame {
        kind: head[3],
        stream,
        ends: head[3] <= HEADERS && head[4] & END_STREAM != 0,
        payload,
    };
    Some((frame, rest))
}
