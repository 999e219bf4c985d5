//! Makes messages for the fuzz targets out of a fuzzer's bytes: strange ones from the test tables, cut,
//! spliced and sprinkled with what parsers stumble over. Bytes at random alone would hardly ever get past
//! the first line.

#[path = "../../tests/proxy/cases/mod.rs"]
#[allow(missing_docs)]
pub mod cases;
pub mod check;
pub mod folder;
pub mod http2;
#[path = "../../tests/codec/reading.rs"]
#[allow(missing_docs)]
pub mod reading;
pub mod routes;
pub mod translation;

use std::time::Duration;

/// Pieces that mean something to a parser of HTTP/1.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"=",
    b"\"",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b"0",
    b"1",
    b"5",
    b"a",
    b"F",
    b"0x",
    b"-",
    b"+",
    b"_",
    b"/",
    b"?",
    b"#",
    b"*",
    b"@",
    b"[::1]",
    b"%0d%0a",
    b"http://",
    b"https://",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"101",
    b"204",
    b"304",
    b"Host: a\r\n",
    b"Host: b\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"content-length:5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"chunked",
    b"close",
    b"keep-alive",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: Upgrade\r\n",
    b"Connection: X, Host\r\n",
    b"Upgrade: websocket\r\n",
    b"TE: trailers\r\n",
    b"Trailer: X\r\n",
    b"Expect: 100-continue\r\n",
    b"Max-Forwards: 0\r\n",
    b"X-Forwarded-For: 1.1.1.1\r\n",
    b"X-Request-Id: a\r\n",
    b"Via: 1.1 a\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"5;a=b\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"X: y\r\n",
];

/// Runs a target with a fuzzer's choices: `fuzz!(256, 300_000, |choices| …)` with at most so many bytes of them,
/// and in the quick suite at most so often (20 s at most); with `LASTCALL_FUZZ_SECONDS=60` for so long.
///
/// A failure prints the seed that repeats it (`BOLERO_RANDOM_SEED`).
#[macro_export]
macro_rules! fuzz {
    ($length:expr, $times:expr, $target:expr) => {{
        let (time, iterations) = $crate::effort($times);
        let mut target = $target;
        bolero::check!()
            .with_test_time(time)
            .with_iterations(iterations)
            .with_max_len($length)
            .for_each(|bytes: &[u8]| target(&mut $crate::Choices::new(bytes)));
    }};
}

/// For how long a target runs, and how often at most.
pub fn effort(times: usize) -> (Duration, usize) {
    match std::env::var("LASTCALL_FUZZ_SECONDS") {
        Ok(text) => {
            let seconds = text
                .parse()
                .expect("LASTCALL_FUZZ_SECONDS is a number of seconds");
            (Duration::from_secs(seconds), usize::MAX)
        }
        Err(_) => (Duration::from_secs(20), times),
    }
}

/// Reads choices from a fuzzer's bytes; 0 for ever once they are used up.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// All of the choices in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number below `bound`; 0 where `bound` is.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut value = 0;
        for _ in 0..2 {
            let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
            value = value << 8 | usize::from(*first);
            self.0 = rest;
        }
        if bound == 0 { 0 } else { value % bound }
    }

    /// Whether anything is left.
    pub fn has_more(&self) -> bool {
        !self.0.is_empty()
    }
}

/// A message grown from one of `seeds` by as many changes as there are choices for.
pub fn message(choices: &mut Choices<'_>, seeds: &[Vec<u8>]) -> Vec<u8> {
    message_with(choices, seeds, PIECES)
}

/// The same, sprinkled with pieces that mean something to another parser.
pub fn message_with(choices: &mut Choices<'_>, seeds: &[Vec<u8>], pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = seeds[choices.below(seeds.len())].clone();
    for _ in 0..choices.below(8) {
        if choices.has_more() {
            change(choices, seeds, pieces, &mut bytes);
        }
    }
    bytes
}

fn change(choices: &mut Choices<'_>, seeds: &[Vec<u8>], pieces: &[&[u8]], bytes: &mut Vec<u8>) {
    let at = choices.below(bytes.len() + 1);
    let span = at..(at + choices.below(24)).min(bytes.len());
    match choices.below(8) {
        0..3 => {
            let piece = pieces[choices.below(pieces.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        3 => {
            let piece = pieces[choices.below(pieces.len())];
            bytes.splice(span, piece.iter().copied());
        }
        4 => {
            bytes.drain(span);
        }
        5 => {
            let twice = bytes[span].to_vec();
            bytes.splice(at..at, twice);
        }
        6 => {
            let other = &seeds[choices.below(seeds.len())];
            let from = choices.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = choices.below(256).to_le_bytes()[0];
            }
        }
    }
}

/// Prints a message where a check of it fails: a fuzzer shows its choices, not what became of them. The last
/// one printed is the smallest.
pub struct Shown<'a>(pub &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("message: {:?}", String::from_utf8_lossy(self.0));
        }
    }
}

/// Those that are not long: they only slow a target down.
pub fn short(messages: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    messages.filter(|bytes| bytes.len() < 400).collect()
}

/// Up to 16 places to cut a message of `len` bytes.
pub fn cuts(choices: &mut Choices<'_>, len: usize) -> Vec<usize> {
    (0..choices.below(16))
        .map(|_| choices.below(len + 1))
        .collect()
}
