//! Reading a body: by length, chunked, or until the end of the connection.
//!
//! Called by the drivers of both sides with whatever bytes they have; pure, and at most one copy behind:
//! the content is a range of the caller's input. Chunked framing is read byte by byte, content is not:
//! a call costs the same however long the piece is.

use std::ops::Range;

use super::request::RequestBody;
use super::response::ResponseBody;
use super::syntax::Syntax;
use super::trailers::Trailers;

/// A body that is not what its framing says. Whose fault it is depends on who sent it; either way nothing
/// more can be read from that connection, and the message must not look complete to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BodyFault {
    /// A chunk size that is no hex number, or is followed by something else than `;` or CR.
    #[error("a chunk's size is malformed")]
    ChunkSize,
    /// More than 16 hex digits, or more bytes than 2^63 - 1.
    #[error("a chunk's size is too large")]
    ChunkSizeTooLarge,
    /// A chunk line that ends in LF alone, or a CR within it.
    #[error("a chunk's line does not end in CR LF")]
    ChunkLineEnd,
    /// A control byte in a chunk extension.
    #[error("a chunk's extension holds a control byte")]
    ExtensionByte,
    /// A chunk extension over 256 bytes.
    #[error("a chunk's extension is too long")]
    ExtensionTooLong,
    /// Far more framing than content, by extensions.
    #[error("the chunked body is mostly framing")]
    MostlyFraming,
    /// No CR LF after a chunk's bytes.
    #[error("a chunk is longer than its size")]
    ChunkEnd,
    /// A malformed trailer section.
    #[error("{0} (in the trailer section)")]
    Trailer(#[from] Syntax),
    /// A trailer section over 8 KiB.
    #[error("the trailer section is too large")]
    TrailersTooLarge,
    /// A trailer section of more than 64 fields.
    #[error("the trailer section has too many fields")]
    TooManyTrailers,
    /// The connection ended before the body did.
    #[error("the body ended early")]
    Truncated,
}

impl BodyFault {
    /// The status for a client whose request body this is, where no answer has begun yet.
    pub fn status(self) -> u16 {
        match self {
            Self::TrailersTooLarge | Self::TooManyTrailers => 431,
            _ => 400,
        }
    }

    /// What the client is told beside the status.
    pub fn detail(self) -> String {
        self.to_string()
    }
}

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that were used up, framing included.
    pub consumed: usize,
    /// The content among them; may be empty.
    pub data: Range<usize>,
    /// The body is over; what comes after `consumed` belongs to the next message.
    pub finished: bool,
}

/// Reads one body.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of chunk lines beyond what is fair for the content read so far.
    excess: usize,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    /// In a chunk's size: its value, and the digits read.
    Size {
        value: u64,
        digits: u8,
    },
    /// In a chunk's extensions: the size, and the bytes read.
    Extension {
        size: u64,
        len: usize,
    },
    /// After the CR of a chunk's line.
    SizeLf {
        size: u64,
        len: usize,
    },
    /// In a chunk's content.
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of the trailer section, or of the empty line that ends the body.
    TrailerStart,
    /// After the CR of that empty line.
    EndLf,
    Trailers,
    Done,
    Failed(BodyFault),
}

/// Hex digits of a chunk size: 64 bits.
const MAX_DIGITS: u8 = 16;
/// Bytes of one chunk's extensions.
const MAX_EXTENSION: usize = 256;
/// Bytes of a chunk line that are free: size, line end, and room for the usual extension.
const FREE_LINE: usize = 16;
/// Bytes of chunk lines beyond the free ones and twice the content, over a whole body (Go's rule since
/// CVE-2023-39326).
const MAX_EXCESS: usize = 16 * 1024;

impl From<RequestBody> for BodyDecoder {
    fn from(body: RequestBody) -> Self {
        match body {
            RequestBody::None => Self::new(State::Done),
            RequestBody::Length(length) => Self::with_length(length),
            RequestBody::Chunked => Self::chunked(),
        }
    }
}

impl From<ResponseBody> for BodyDecoder {
    fn from(body: ResponseBody) -> Self {
        match body {
            ResponseBody::None => Self::new(State::Done),
            ResponseBody::Length(length) => Self::with_length(length),
            ResponseBody::Chunked => Self::chunked(),
            ResponseBody::UntilClose => Self::new(State::UntilClose),
        }
    }
}

impl BodyDecoder {
    fn new(state: State) -> Self {
        Self {
            state,
            excess: 0,
            trailers: Trailers::default(),
        }
    }

    fn with_length(length: u64) -> Self {
        Self::new(match length {
            0 => State::Done,
            length => State::Length(length),
        })
    }

    fn chunked() -> Self {
        Self::new(State::Size {
            value: 0,
            digits: 0,
        })
    }

    /// Whether the body is over: nothing more is to be read for it.
    pub fn is_finished(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// The trailer section, whole once the body is finished, without the fields that must not be there.
    pub fn trailers(&self) -> &Trailers {
        &self.trailers
    }

    /// Reads from the start of `input`, up to and with the first piece of content and the framing after
    /// it. With empty input, or after the end, nothing happens. After a fault every call gives it again.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, BodyFault> {
        let result = match self.state {
            State::Done => Ok((0, 0..0)),
            State::UntilClose => Ok((input.len(), 0..input.len())),
            State::Length(left) => Ok(self.take_length(left, input)),
            State::Failed(fault) => Err(fault),
            _ => self.decode_chunked(input),
        };
        match result {
            Ok((consumed, data)) => Ok(Decoded {
                consumed,
                data,
                finished: self.is_finished(),
            }),
            Err(fault) => {
                self.state = State::Failed(fault);
                Err(fault)
            }
        }
    }

    /// The connection has ended: whether the body may end here.
    pub fn finish_at_eof(&mut self) -> Result<(), BodyFault> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(fault) => Err(fault),
            _ => {
                self.state = State::Failed(BodyFault::Truncated);
                Err(BodyFault::Truncated)
            }
        }
    }

    fn take_length(&mut self, left: u64, input: &[u8]) -> (usize, Range<usize>) {
        let taken = at_most(left, input.len());
        self.state = match left - taken as u64 {
            0 => State::Done,
            left => State::Length(left),
        };
        (taken, 0..taken)
    }

    fn decode_chunked(&mut self, input: &[u8]) -> Result<(usize, Range<usize>), BodyFault> {
        let mut at = 0;
        let mut data = 0..0;
        while at < input.len() {
            match self.state {
                State::Data(left) => {
                    if !data.is_empty() {
                        break; // One piece a call.
                    }
                    let taken = at_most(left, input.len() - at);
                    data = at..at + taken;
                    at += taken;
                    self.state = match left - taken as u64 {
                        0 => State::DataCr,
                        left => State::Data(left),
                    };
                }
                State::Trailers => {
                    let (taken, over) = self.trailers.take(&input[at..])?;
                    at += taken;
                    if over {
                        self.state = State::Done;
                    }
                }
                State::TrailerStart if input[at] != b'\r' => self.state = State::Trailers,
                State::Done => break,
                state => {
                    self.state = self.step(state, input[at])?;
                    at += 1;
                }
            }
        }
        Ok((at, data))
    }

    /// One byte of chunk framing.
    fn step(&mut self, state: State, byte: u8) -> Result<State, BodyFault> {
        match state {
            State::Size { value, digits } => step_size(value, digits, byte),
            State::Extension { size, len } => match byte {
                b'\r' => Ok(State::SizeLf { size, len }),
                b'\n' => Err(BodyFault::ChunkLineEnd),
                b'\t' | b' '..=b'~' | 0x80.. => {
                    if len == MAX_EXTENSION {
                        return Err(BodyFault::ExtensionTooLong);
                    }
                    Ok(State::Extension { size, len: len + 1 })
                }
                _ => Err(BodyFault::ExtensionByte),
            },
            State::SizeLf { size, len } if byte == b'\n' => {
                self.count(size, len)?;
                Ok(match size {
                    0 => State::TrailerStart,
                    size => State::Data(size),
                })
            }
            State::SizeLf { .. } => Err(BodyFault::ChunkLineEnd),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size {
                value: 0,
                digits: 0,
            }),
            State::DataCr | State::DataLf => Err(BodyFault::ChunkEnd),
            State::TrailerStart => Ok(State::EndLf), // The caller has seen a CR.
            State::EndLf if byte == b'\n' => Ok(State::Done),
            State::EndLf => Err(Syntax::BareCr.into()),
            other => Ok(other), // No byte of framing is read in the states that are left.
        }
    }

    /// Weighs the line of a chunk of `size` bytes, `line` of which were extensions and digits.
    fn count(&mut self, size: u64, line: usize) -> Result<(), BodyFault> {
        let fair = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .saturating_mul(2)
            .saturating_add(FREE_LINE);
        self.excess = (self.excess + line).saturating_sub(fair);
        if self.excess > MAX_EXCESS {
            return Err(BodyFault::MostlyFraming);
        }
        Ok(())
    }
}

fn step_size(value: u64, digits: u8, byte: u8) -> Result<State, BodyFault> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' | b';' if digits > 0 => {
            if i64::try_from(value).is_err() {
                return Err(BodyFault::ChunkSizeTooLarge);
            }
            let (size, len) = (value, usize::from(digits));
            return Ok(if byte == b';' {
                State::Extension { size, len: 1 }
            } else {
                State::SizeLf { size, len }
            });
        }
        b'\n' if digits > 0 => return Err(BodyFault::ChunkLineEnd),
        _ => return Err(BodyFault::ChunkSize),
    };
    if digits == MAX_DIGITS {
        return Err(BodyFault::ChunkSizeTooLarge);
    }
    Ok(State::Size {
        value: value << 4 | u64::from(digit),
        digits: digits + 1,
    })
}

/// `left`, or `len` where that is less.
fn at_most(left: u64, len: usize) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}

#[cfg(test)]
mod tests;
