//! Random valid messages, and what they mean.

use proptest::prelude::*;

use crate::reading::Pair;

/// A message in bytes, and what every reader must find in it.
#[derive(Clone, Debug)]
pub struct Message {
    pub bytes: Vec<u8>,
    /// Method and target, or status and reason.
    pub line: (String, String),
    pub fields: Vec<Pair>,
    pub body: Vec<u8>,
    pub trailers: Vec<Pair>,
}

#[derive(Clone, Debug)]
struct Line {
    name: String,
    value: Vec<u8>,
    before: String,
    after: String,
}

impl Line {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
        out.push(b':');
        out.extend_from_slice(self.before.as_bytes());
        out.extend_from_slice(&self.value);
        out.extend_from_slice(self.after.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    fn pair(&self) -> Pair {
        (self.name.clone().into_bytes(), self.value.clone())
    }

    fn plain(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.as_bytes().to_vec(),
            before: " ".to_owned(),
            after: String::new(),
        }
    }
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[!-~]([ -~\t]{0,20}[!-~])?".prop_map(String::into_bytes),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(0xa1_u8..=0xff, 1..8),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let name = prop_oneof![
        4 => "X-[A-Za-z0-9!#$&*+.^_`|~-]{1,12}",
        1 => prop::sample::select(vec!["Accept", "cookie", "User-Agent", "Date", "Via", "Cache-Control"])
            .prop_map(str::to_owned),
    ];
    (name, value(), "[ \t]{0,3}", "[ \t]{0,3}").prop_map(|(name, value, before, after)| Line {
        name,
        value,
        before,
        after,
    })
}

/// A trailer that may be passed on.
fn trailer() -> impl Strategy<Value = Line> {
    ("X-T[a-z0-9]{1,8}", value(), "[ \t]{0,2}", "[ \t]{0,2}").prop_map(
        |(name, value, before, after)| Line {
            name,
            value,
            before,
            after,
        },
    )
}

#[derive(Clone, Debug)]
enum Framing {
    None,
    Length(Vec<u8>),
    Chunked {
        chunks: Vec<(Vec<u8>, usize, bool, String)>,
        last: (usize, String),
        trailers: Vec<Line>,
    },
}

fn extension() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => ";[a-z]{1,5}(=[a-z0-9]{1,5})?",
        1 => ";[a-z]{1,5}=\"[ -!#-Z]{0,8}\"",
    ]
}

fn framing() -> impl Strategy<Value = Framing> {
    let data = || prop::collection::vec(any::<u8>(), 1..40);
    let chunk = (data(), 0..3_usize, any::<bool>(), extension());
    prop_oneof![
        2 => Just(Framing::None),
        2 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Framing::Length),
        4 => (
            prop::collection::vec(chunk, 0..5),
            (0..3_usize, extension()),
            prop::collection::vec(trailer(), 0..3),
        )
            .prop_map(|(chunks, last, trailers)| Framing::Chunked { chunks, last, trailers }),
    ]
}

impl Framing {
    fn field(&self) -> Option<Line> {
        match self {
            Self::None => None,
            Self::Length(body) => Some(Line::plain("Content-Length", &body.len().to_string())),
            Self::Chunked { .. } => Some(Line::plain("transfer-encoding", "Chunked")),
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> (Vec<u8>, Vec<Pair>) {
        let mut body = Vec::new();
        match self {
            Self::None => (body, Vec::new()),
            Self::Length(data) => {
                out.extend_from_slice(data);
                (data.clone(), Vec::new())
            }
            Self::Chunked {
                chunks,
                last,
                trailers,
            } => {
                for (data, zeros, upper, extension) in chunks {
                    let size = if *upper {
                        format!("{}{:X}", "0".repeat(*zeros), data.len())
                    } else {
                        format!("{}{:x}", "0".repeat(*zeros), data.len())
                    };
                    out.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
                    out.extend_from_slice(data);
                    out.extend_from_slice(b"\r\n");
                    body.extend_from_slice(data);
                }
                out.extend_from_slice(format!("{}0{}\r\n", "0".repeat(last.0), last.1).as_bytes());
                for line in trailers {
                    line.write(out);
                }
                out.extend_from_slice(b"\r\n");
                (body, trailers.iter().map(Line::pair).collect())
            }
        }
    }
}

fn message(
    start: &str,
    line: (String, String),
    mut lines: Vec<Line>,
    at: usize,
    framing: &Framing,
) -> Message {
    if let Some(field) = framing.field() {
        lines.insert(at % (lines.len() + 1), field);
    }
    let mut bytes = format!("{start}\r\n").into_bytes();
    for line in &lines {
        line.write(&mut bytes);
    }
    bytes.extend_from_slice(b"\r\n");
    let (body, trailers) = framing.write(&mut bytes);
    Message {
        bytes,
        line,
        fields: lines.iter().map(Line::pair).collect(),
        body,
        trailers,
    }
}

/// A request that every parser must take.
pub fn request() -> impl Strategy<Value = Message> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]);
    let target =
        "/[a-zA-Z0-9._~!$&'()*+,;=:@-][a-zA-Z0-9._~!$&'()*+,;=:@/%-]{0,20}(\\?[!-\"$-~]{0,20})?";
    let host = prop::sample::select(vec!["a", "Shop.example.com:8080", "[::1]:81", "10.0.0.7"]);
    let lines = prop::collection::vec(line(), 0..6);
    (method, target, host, lines, 0..8_usize, framing()).prop_map(
        |(method, target, host, mut lines, at, framing)| {
            lines.insert(at % (lines.len() + 1), Line::plain("Host", host));
            let start = format!("{method} {target} HTTP/1.1");
            message(&start, (method.to_owned(), target), lines, at * 3, &framing)
        },
    )
}

/// A response to GET that every parser must take; one without framing lasts until the end.
pub fn response() -> impl Strategy<Value = Message> {
    let status = prop::sample::select(vec![200_u16, 201, 206, 301, 400, 404, 499, 500, 503]);
    let lines = prop::collection::vec(line(), 0..6);
    (
        status,
        "[A-Za-z][A-Za-z ]{0,10}[a-z]",
        lines,
        0..8_usize,
        framing(),
    )
        .prop_map(|(status, reason, lines, at, framing)| {
            let start = format!("HTTP/1.1 {status} {reason}");
            message(&start, (status.to_string(), reason), lines, at, &framing)
        })
}
