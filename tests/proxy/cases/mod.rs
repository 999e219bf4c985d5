//! Messages that are malformed, ambiguous or merely odd, and what must come of each: data for two
//! runners, one at the codec (`tests/codec`), one through the whole proxy over sockets.

pub mod requests;
pub mod responses;

/// The bytes of a message; some are too long to write out.
#[derive(Clone, Copy, Debug)]
pub enum Bytes {
    /// As they are.
    Plain(&'static [u8]),
    /// `before`, then `piece` so many times, then `after`.
    Long {
        before: &'static [u8],
        piece: &'static [u8],
        times: usize,
        after: &'static [u8],
    },
}

impl Bytes {
    /// The message.
    pub fn to_vec(self) -> Vec<u8> {
        match self {
            Bytes::Plain(bytes) => bytes.to_vec(),
            Bytes::Long {
                before,
                piece,
                times,
                after,
            } => [before, &piece.repeat(times), after].concat(),
        }
    }
}
