//! A forwarder as there have been many: it believes what it reads, passes it on as it came, and has one
//! connection to its server for all clients. It knows `Content-Length`, not for GET, and it knows nothing else of
//! where a message ends. HTTP/2 it writes down as HTTP/1, as it comes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::frames::{OPENING, data, split};
use crate::support::client::Answer;

/// By name, attacks of which it makes another number of requests than any of the servers.
pub const FALLS_FOR: [&str; 4] = [
    "GET with a body that is a request",
    "chunks that are a request",
    "CR LF and a request in a value",
    "a length shorter than the content",
];

/// A running one.
pub struct Naive {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Naive {
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = TcpStream::connect(server).unwrap();
        upstream
            .set_read_timeout(Some(Duration::from_secs(6)))
            .unwrap();
        let upstream = Arc::new(Mutex::new(upstream));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let upstream = Arc::clone(&upstream);
                // Its end is that of the connection.
                std::thread::spawn(move || serve(client, &upstream));
            }
        });
        Self { address }
    }
}

fn serve(mut client: TcpStream, upstream: &Mutex<TcpStream>) -> io::Result<()> {
    let mut unread = Vec::new();
    loop {
        if unread.starts_with(&OPENING[..24]) {
            return serve_http2(client, unread, upstream);
        }
        if let Some(length) = request(&unread) {
            let answer = ask(&unread[..length], upstream)?;
            unread.drain(..length);
            client.write_all(&answer)?;
        } else if !more(&mut client, &mut unread)? {
            return Ok(());
        }
    }
}

/// How long the first request is, if it has come.
fn request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| {
        let value = line.strip_prefix("content-length:")?;
        value.trim().parse::<usize>().ok()
    });
    let length = length.filter(|_| !text.starts_with("get ")).unwrap_or(0);
    (bytes.len() >= head + length).then_some(head + length)
}

/// Passes it on, and reads one answer.
fn ask(request: &[u8], upstream: &Mutex<TcpStream>) -> io::Result<Vec<u8>> {
    let mut upstream = upstream.lock().unwrap();
    upstream.write_all(request)?;
    let mut answer = Vec::new();
    loop {
        if let Some((_, length)) = Answer::whole_with_length(&answer) {
            answer.truncate(length);
            return Ok(answer);
        }
        if !more(&mut upstream, &mut answer)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 16 * 1024];
    let count = stream.read(&mut piece)?;
    bytes.extend_from_slice(&piece[..count]);
    Ok(count > 0)
}

/// One stream after the other, each whole before the next.
fn serve_http2(
    mut client: TcpStream,
    mut unread: Vec<u8>,
    upstream: &Mutex<TcpStream>,
) -> io::Result<()> {
    unread.drain(..24);
    let (mut head, mut body) = (Vec::new(), Vec::new());
    loop {
        let Some((frame, rest)) = split(&unread) else {
            if !more(&mut client, &mut unread)? {
                return Ok(());
            }
            continue;
        };
        match frame.kind {
            0 => body.extend_from_slice(frame.payload),
            1 => head = written_down(frame.payload),
            _ => {}
        }
        let (stream, ends) = (frame.stream, frame.ends);
        unread = rest.to_vec();
        if ends {
            let answer = ask(&[&head[..], &std::mem::take(&mut body)].concat(), upstream)?;
            let content = Answer::whole(&answer).map(|answer| answer.body);
            client.write_all(&data(stream, true, &content.unwrap_or_default()))?;
        }
    }
}

/// Literal fields, as [`crate::frames::headers`] writes them, as a head of HTTP/1.
fn written_down(mut block: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    let take = |block: &mut &[u8]| {
        let mut length = usize::from(block[0]);
        *block = &block[1..];
        if length == 127 {
            let mut shift = 0;
            loop {
                let byte = usize::from(block[0]);
                *block = &block[1..];
                length += (byte & 127) << shift;
                shift += 7;
                if byte < 128 {
                    break;
                }
            }
        }
        let text = block[..length].to_vec();
        *block = &block[length..];
        text
    };
    while !block.is_empty() {
        block = &block[1..];
        let name = take(&mut block);
        fields.push((name, take(&mut block)));
    }
    let pseudo = |wanted: &[u8]| {
        let mut all = fields.iter().filter(|(name, _)| name == wanted);
        all.next().map_or(&b""[..], |(_, value)| value)
    };
    let mut head = [pseudo(b":method"), b" ", pseudo(b":path")].concat();
    head.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    head.extend_from_slice(pseudo(b":authority"));
    head.extend_from_slice(b"\r\n");
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
        head.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
    }
    head.extend_from_slice(b"\r\n");
    head
}
