//! HTTP/2 by hand, frame by frame: an endpoint that does what no library would, and what a client floods with.

use super::{RawClient, RawServer};

pub const HEADERS: u8 = 1;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
/// `END_STREAM` and `END_HEADERS`.
const WHOLE: u8 = 5;

/// What a client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of an endpoint.
pub struct RawHttp2(RawClient);

impl RawHttp2 {
    /// The next connection, with what opens it (RFC 9113 section 3.4).
    #[track_caller]
    pub fn accept(server: &RawServer) -> Self {
        let mut connection = Self(server.accept());
        let preface = connection.0.read_exactly(24);
        assert_eq!(preface, PREFACE);
        connection.send(SETTINGS, 0, 0, &[]);
        connection
    }

    /// Reads up to the next request's head: its stream.
    #[track_caller]
    pub fn request(&mut self) -> u32 {
        loop {
            let head = self.0.read_exactly(9);
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let payload = self.0.read_exactly(usize::try_from(length).unwrap());
            match (head[3], head[4] & ACK) {
                (HEADERS, _) => return u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[]),
                (PING, 0) => self.send(PING, ACK, 0, &payload),
                _ => {}
            }
        }
    }

    /// Answers with 200 and nothing else.
    pub fn answer(&mut self, stream: u32) {
        // The eighth of HPACK's own fields (RFC 7541 appendix A).
        self.send(HEADERS, WHOLE, stream, &[0x88]);
    }

    /// Takes no stream above `last` (RFC 9113 section 6.8), without an error.
    pub fn go_away(&mut self, last: u32) {
        let payload = [last.to_be_bytes(), [0; 4]].concat();
        self.send(GOAWAY, 0, 0, &payload);
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0.send(frame(kind, flags, stream, payload));
    }
}

/// A frame (RFC 9113 section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}
