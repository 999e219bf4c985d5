//! Sends an attack and what comes behind it, and compares what clients were answered with what the server has
//! recorded.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::frames::{self, Frames};
use crate::servers::Server;
use crate::support::client::Answer;
use crate::support::{RawClient, wait_until};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of an attack, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// One answer of the front's own, and the end of the connection (of HTTP/2: of the stream). The server never
    /// heard of it.
    Refused(u16),
    /// The same, after the head was passed on: the server never saw it whole. One that answers before it has read
    /// the body may have answered, and recorded it.
    Cut(u16),
    /// No answer, and the end of the connection (of HTTP/2: by GOAWAY, or of the stream alone: by `RST_STREAM`;
    /// there, too, the server may have heard of the head).
    Closed,
    /// These requests were answered by the server, each as `METHOD target`.
    Served(Vec<String>),
}

/// One request, or something like it.
#[derive(Clone, Debug)]
pub struct Attack {
    pub name: &'static str,
    /// All that is sent; the request that is marked comes behind.
    pub bytes: Vec<u8>,
    pub expect: Came,
    http2: bool,
    /// Its answer has no body.
    head: bool,
    /// Nothing is read behind it.
    ends: bool,
}

impl Attack {
    pub fn http1(name: &'static str, bytes: Vec<u8>, expect: Came) -> Self {
        let text = String::from_utf8_lossy(&bytes);
        let words = [
            "Connection: close",
            "HTTP/1.0\r\n",
            "\r\n\r\nGET /smuggled\r\n",
        ];
        Self {
            name,
            head: text.starts_with("HEAD "),
            ends: words.iter().any(|word| text.contains(word)),
            bytes,
            expect,
            http2: false,
        }
    }

    /// Its first line, as a server records it.
    fn line(&self) -> String {
        if self.http2 {
            return "POST /attack".to_owned();
        }
        let line = self.bytes.split(|byte| *byte == b'\r').next();
        String::from_utf8_lossy(line.unwrap_or_default()).replace(" HTTP/1.1", "")
    }

    /// Frames of stream 1.
    pub fn http2(name: &'static str, bytes: Vec<u8>, expect: Came) -> Self {
        Self {
            name,
            bytes,
            expect,
            http2: true,
            head: false,
            ends: false,
        }
    }
}

/// Puts attacks to a front, one after the other.
pub struct Judge<'a> {
    front: SocketAddr,
    server: &'a Server,
    /// How many attacks there were.
    number: usize,
}

impl<'a> Judge<'a> {
    pub fn new(front: SocketAddr, server: &'a Server) -> Self {
        Self {
            front,
            server,
            number: 0,
        }
    }

    /// What is wrong with what came of it; `None` if nothing is.
    pub fn finding(&mut self, attack: &Attack) -> Option<String> {
        self.number += 1;
        let before = self.server.record().len();
        let marked = format!("GET /marked-{}", self.number);
        let (came, answered) = if attack.http2 {
            self.by_http2(attack, &marked)
        } else {
            self.by_http1(attack, &marked)
        };
        let say = |what: String| Some(format!("{:?}, {}: {what}", self.server.kind, attack.name));
        let early = Came::Served(vec![attack.line()]);
        let expected = came == attack.expect
            || matches!(attack.expect, Came::Cut(_)) && came == early && answered.len() == 1;
        if !expected {
            return say(format!("{came:?}, not {:?}", attack.expect));
        }
        let served = matches!(came, Came::Served(_)) && came == attack.expect;
        if served && !attack.ends && answered.last().map(String::as_str) != Some(&marked) {
            return say(format!(
                "answered were {answered:?}, and not what came behind"
            ));
        }
        let second = format!("GET /second-{}", self.number);
        let mut client = RawClient::connect(self.front);
        if client.try_send(request(&second)).is_err() {
            return say("the next client is not served".to_owned());
        }
        let (bytes, _) = read(client.stream(), |bytes| Answer::whole(bytes).is_some());
        let own =
            Answer::whole(&bytes).is_some_and(|answer| own(&answer).as_ref() == Some(&second));
        if !own {
            return say(format!("the next client got {}", bytes.escape_ascii()));
        }
        // What the server has seen since, but for the last: the order of its record is that of its connection.
        let record = wait_until("the server's record", PATIENCE, || {
            let record = self.server.record();
            if record.contains(&second) {
                Ok(record)
            } else {
                Err(record)
            }
        });
        let mut seen = record[before..].to_vec();
        if seen.pop() != Some(second) {
            return say(format!(
                "the next client's request is not the last of {seen:?}"
            ));
        }
        let cut = matches!(came, Came::Cut(_)) || came == Came::Closed && attack.http2;
        if cut && seen.first() == Some(&attack.line()) {
            // Its head, by a server that does not wait for the body.
            seen.remove(0);
        }
        (seen != answered)
            .then(|| {
                say(format!(
                    "answered were {answered:?}, the server has seen {seen:?}"
                ))
            })
            .flatten()
    }

    fn by_http1(&self, attack: &Attack, marked: &str) -> (Came, Vec<String>) {
        let mut client = RawClient::connect(self.front);
        // A refusal may come before all was sent; what counts is what the client reads.
        let _ = client.try_send([&attack.bytes[..], request(marked).as_bytes()].concat());
        let end = format!("own {marked}");
        let (bytes, ended) = read(client.stream(), |bytes| contains(bytes, end.as_bytes()));
        let mut rest = &bytes[..];
        let mut answers = Vec::new();
        if attack.head
            && let Some(at) = rest.windows(4).position(|four| four == b"\r\n\r\n")
        {
            // There is no body that says what was asked.
            answers.push(attack.line());
            rest = &rest[at + 4..];
        }
        let mut refused = None;
        while let Some((answer, length)) = Answer::whole_with_length(rest) {
            rest = &rest[length..];
            match own(&answer) {
                Some(line) => answers.push(line),
                None => refused = Some(answer.status()),
            }
        }
        let answered = answers.clone();
        answers.retain(|line| line != marked);
        let came = match refused {
            Some(status) if answers.is_empty() && ended && rest.is_empty() => match attack.expect {
                Came::Cut(_) => Came::Cut(status),
                _ => Came::Refused(status),
            },
            None if answered.is_empty() && bytes.is_empty() && ended => Came::Closed,
            Some(status) => Came::Served(vec![format!("{status} after {answered:?}")]),
            None => Came::Served(answers),
        };
        (came, answered)
    }

    fn by_http2(&self, attack: &Attack, marked: &str) -> (Came, Vec<String>) {
        let mut client = RawClient::connect(self.front);
        let path = marked.split(' ').nth(1).unwrap_or_default();
        let _ = client.try_send([frames::OPENING, &attack.bytes].concat());
        let (mut bytes, gone) = read(client.stream(), |bytes| Frames::read(bytes).is_over(1));
        if !gone && client.try_send(frames::get(3, path)).is_ok() {
            let first = bytes.clone();
            let all = |more: &[u8]| Frames::read(&[&first, more].concat()).is_over(3);
            bytes.extend(read(client.stream(), all).0);
        }
        let frames = Frames::read(&bytes);
        let mut answered = Vec::new();
        let mut came = Came::Closed;
        if frames.is_whole(1) {
            let body = frames.body(1);
            match body.strip_prefix("own ") {
                Some(line) => {
                    answered.push(line.to_owned());
                    came = Came::Served(vec![line.to_owned()]);
                }
                None => came = Came::Refused(problem(body.as_bytes()).unwrap_or(0)),
            }
        }
        if frames.is_whole(3) && frames.body(3) == format!("own {marked}") {
            answered.push(marked.to_owned());
        }
        (came, answered)
    }
}

fn request(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// What one of our servers says that it was asked; `None` where another has answered.
fn own(answer: &Answer) -> Option<String> {
    let text = answer.body_text();
    let line = text.strip_prefix("own ")?;
    (answer.status() == 200).then(|| line.to_owned())
}

/// The status in a problem of the front's own.
fn problem(body: &[u8]) -> Option<u16> {
    let problem: serde_json::Value = serde_json::from_slice(body).ok()?;
    u16::try_from(problem["status"].as_u64()?).ok()
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text)
}

/// Reads until `enough`, or to the end of the connection: true.
fn read(stream: &mut TcpStream, enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let _ = stream.flush();
    while !enough(&bytes) {
        match stream.read(&mut piece) {
            Ok(0) => return (bytes, true),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return (bytes, error.kind() == std::io::ErrorKind::ConnectionReset),
        }
    }
    (bytes, false)
}
