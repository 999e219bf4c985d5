//! Writing chunked bodies: one normal form, whatever form they came in.
//!
//! Called by the drivers of both sides.

/// What follows the bytes of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Writes the line before a chunk of `len` bytes. A chunk of no bytes would end the body: nothing is
/// written for it, and nothing must be sent.
pub fn chunk_head(len: u64, out: &mut Vec<u8>) {
    if len == 0 {
        return;
    }
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = len;
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(rest & 0xf) as usize];
        rest >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body, with its trailers: names and values as a [`super::Trailers`] holds
/// them.
pub fn last_chunk<'a>(trailers: impl Iterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes `number` in decimal.
pub(super) fn decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_plain_hex() {
        for (len, line) in [
            (1, "1\r\n"),
            (10, "a\r\n"),
            (16, "10\r\n"),
            (65536, "10000\r\n"),
            (u64::MAX, "ffffffffffffffff\r\n"),
            (0, ""),
        ] {
            let mut out = Vec::new();
            chunk_head(len, &mut out);
            assert_eq!(out, line.as_bytes());
        }
    }

    #[test]
    fn numbers_are_plain_decimal() {
        for number in [0, 7, 10, 200, 1_000_000, u64::MAX] {
            let mut out = Vec::new();
            decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
