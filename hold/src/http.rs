//! The reading half of a small, strict HTTP/1.1 client: one response, its status, its body in lines.
//!
//! Strict because the answer lets a server die: what is not exactly a response is an error, and the
//! caller asks again. RFC 9112.

use std::io::{self, BufRead, BufReader, Read};

/// Bytes of a response head.
const LONGEST_HEAD: u64 = 16 * 1024;
/// Bytes of one line of a body; a hold over thousands of endpoints fits.
const LONGEST_LINE: u64 = 1024 * 1024;

/// A response whose head was read.
pub(crate) struct Response<R: Read> {
    /// The status code.
    pub(crate) status: u16,
    body: BufReader<Body<BufReader<R>>>,
}

impl<R: Read> Response<R> {
    /// Reads the head; interim responses (1xx) are passed over.
    pub(crate) fn read(stream: R) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        loop {
            let (status, body) = read_head(&mut reader)?;
            if (200..600).contains(&status) {
                let body = BufReader::new(Body {
                    inner: reader,
                    framing: body,
                });
                return Ok(Self { status, body });
            }
        }
    }

    /// The next line without its end, or None at the end of a complete body.
    pub(crate) fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.body)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => Err(bad("the last line of the answer is cut off")),
        }
    }

    /// The whole body, at most one line's length.
    pub(crate) fn whole(mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        (&mut self.body).take(LONGEST_LINE).read_to_end(&mut body)?;
        Ok(body)
    }
}

enum Framing {
    Length(u64),
    /// Bytes left of the chunk that is being read.
    Chunked(u64),
    End,
}

/// The body of a message: ends where its framing says, and errors where the connection ends before.
struct Body<R> {
    inner: R,
    framing: Framing,
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if matches!(self.framing, Framing::Chunked(0)) {
            self.framing = match read_chunk_size(&mut self.inner)? {
                0 => Framing::End,
                size => Framing::Chunked(size),
            };
        }
        let left = match &mut self.framing {
            Framing::End | Framing::Length(0) => return Ok(0),
            Framing::Length(left) | Framing::Chunked(left) => left,
        };
        let most = usize::try_from(*left).map_or(into.len(), |left| left.min(into.len()));
        let read = self.inner.read(&mut into[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left -= read as u64;
        if matches!(self.framing, Framing::Chunked(0)) && read > 0 {
            expect_line(&mut self.inner, b"")?;
        }
        Ok(read)
    }
}

fn read_chunk_size(reader: &mut impl BufRead) -> io::Result<u64> {
    let line = head_line(reader, &mut 64)?;
    // Our own server sends no chunk extensions: what has one is not our server.
    let size = std::str::from_utf8(&line)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| bad("a chunk size is no hexadecimal number"))?;
    if size == 0 {
        expect_line(reader, b"")?;
    }
    Ok(size)
}

fn expect_line(reader: &mut impl BufRead, expected: &[u8]) -> io::Result<()> {
    if head_line(reader, &mut 64)? == expected {
        Ok(())
    } else {
        Err(bad("a chunk does not end where its size says"))
    }
}

fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, Framing)> {
    let mut left = LONGEST_HEAD;
    let status = parse_status(&head_line(reader, &mut left)?)?;
    let mut framing = None;
    loop {
        let line = head_line(reader, &mut left)?;
        if line.is_empty() {
            break;
        }
        let line = String::from_utf8(line).map_err(|_| bad("a header is not UTF-8"))?;
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| bad("a header has no colon"))?;
        let said = match name.to_ascii_lowercase().as_str() {
            "content-length" => parse_length(value.trim())?,
            "transfer-encoding" if value.trim().eq_ignore_ascii_case("chunked") => {
                Framing::Chunked(0)
            }
            "transfer-encoding" => return Err(bad("a transfer coding other than chunked")),
            _ => continue,
        };
        if framing.replace(said).is_some() {
            return Err(bad("two fields say how long the answer is"));
        }
    }
    match framing {
        // 1xx and 204 have no body (RFC 9112 section 6.3).
        _ if status < 200 || status == 204 => Ok((status, Framing::End)),
        // A body that ends with the connection cannot be told from one that was cut.
        None => Err(bad("the answer does not say how long it is")),
        Some(framing) => Ok((status, framing)),
    }
}

fn parse_status(line: &[u8]) -> io::Result<u16> {
    let rest = line
        .strip_prefix(b"HTTP/1.1 ")
        .ok_or_else(|| bad("the answer is not HTTP/1.1"))?;
    match rest {
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => Ok([a, b, c]
            .iter()
            .fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0'))),
        _ => Err(bad("the answer has no status")),
    }
}

fn parse_length(value: &str) -> io::Result<Framing> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad("Content-Length is no number"));
    }
    value
        .parse()
        .map(Framing::Length)
        .map_err(|_| bad("Content-Length is no number"))
}

/// One line that ends in CRLF, without it; takes its bytes from `left`.
fn head_line(reader: &mut impl BufRead, left: &mut u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let read = reader.by_ref().take(*left).read_until(b'\n', &mut line)?;
    *left -= read as u64;
    if line.ends_with(b"\r\n") {
        line.truncate(line.len() - 2);
        Ok(line)
    } else if *left == 0 {
        Err(bad("the head of the answer is too long"))
    } else if line.ends_with(b"\n") {
        Err(bad("a line of the answer ends in a bare LF"))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, as a slow socket may.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let most = into.len().min(1);
            self.0.read(&mut into[..most])
        }
    }

    fn lines(text: &str) -> io::Result<(u16, Vec<String>)> {
        let mut response = Response::read(Drops(text.as_bytes()))?;
        let mut lines = Vec::new();
        while let Some(line) = response.line()? {
            lines.push(String::from_utf8(line).unwrap());
        }
        Ok((response.status, lines))
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn lines_are_read_across_chunks() {
        let text = format!(
            "{CHUNKED}3\r\none\r\n6\r\n\ntwo\nx\r\nA\r\n\n123456789\r\n1\r\n\n\r\n0\r\n\r\n"
        );
        assert_eq!(
            lines(&text).unwrap(),
            (
                200,
                ["one", "two", "x", "123456789"].map(String::from).to_vec()
            )
        );
    }

    #[test]
    fn a_body_with_a_length_is_read_whole() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno\nmore";
        assert_eq!(lines(text).unwrap(), (404, vec!["no".to_owned()]));
    }

    #[test]
    fn what_is_not_exactly_an_answer_is_an_error() {
        let complete = format!("{CHUNKED}4\r\none\n\r\n0\r\n\r\n");
        assert!(lines(&complete).is_ok(), "the control");
        for cut in 0..complete.len() {
            assert!(lines(&complete[..cut]).is_err(), "cut at {cut}");
        }
        for text in [
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\nContent-Length: 0\n\n".to_owned(),
            "HTTP/1.1 200 OK\r\n\r\n{}".to_owned(),
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n1".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n1".to_owned(),
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(),
            format!("{CHUNKED}4;x=y\r\none\n\r\n0\r\n\r\n"),
            format!("{CHUNKED}5\r\none\n\r\n0\r\n\r\n"),
            format!("{CHUNKED}+4\r\none\n\r\n0\r\n\r\n"),
            format!("{CHUNKED}3\r\none\r\n0\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
        ] {
            assert!(lines(&text).is_err(), "{text}");
        }
    }
}
