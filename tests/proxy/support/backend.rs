//! A server inside the test, which records what reaches it, byte by byte, and answers as it is told: late,
//! in pieces, wrongly, or not at all.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use lastcall::proxy::http1::WebSocketAccept;

use super::client::Answer;
use super::wait::wait_until;

/// How long a test waits for requests or connections.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a server waits for a gate: longer than any test does.
const HELD: Duration = Duration::from_mins(3);

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The number of the connection it came on, from 0.
    pub connection: usize,
    /// The head with its empty line.
    pub head: String,
    /// The body so far, without chunk framing.
    pub body: Vec<u8>,
    /// The trailer section, each line as it came.
    pub trailers: Vec<String>,
    /// Whether the body was read to its end.
    pub complete: bool,
}

impl Seen {
    /// The request line's second word.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).next()
    }

    /// Every field of that name.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What a server does to answer one request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends bytes as they are.
    Send(Vec<u8>),
    /// Waits.
    Pause(Duration),
    /// Waits until the test opens the gate.
    Await(Gate),
    /// Reads the request's body to its end (only with [`Backend::at_head`]; else it was read before).
    ReadBody,
    /// Sends back what comes, until the peer ends its direction; then ends the connection. What a tunnel is
    /// tested with, after a 101.
    Echo,
    /// Ends the sending direction (FIN) and reads what still comes.
    HalfClose,
    /// Ends the connection (FIN).
    Close,
    /// Resets the connection (RST).
    Reset,
}

/// Opened by the test, awaited by servers.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    /// A closed one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everyone through, now and later.
    pub fn open(&self) {
        *self.inner.0.lock().unwrap() = true;
        self.inner.1.notify_all();
    }

    /// Waits until it is open; an error where that takes too long.
    pub fn wait(&self) -> io::Result<()> {
        let closed = self.inner.0.lock().unwrap();
        let (open, _) = self
            .inner
            .1
            .wait_timeout_while(closed, HELD, |open| !*open)
            .unwrap();
        if *open {
            Ok(())
        } else {
            Err(io::Error::other("the gate was not opened"))
        }
    }
}

/// A 200 with a Content-Length.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<Step> {
    let body = body.as_ref();
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    vec![Step::Send(bytes)]
}

/// Exactly these bytes, then FIN.
pub fn raw(bytes: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::Send(bytes.as_ref().to_vec()), Step::Close]
}

/// A 200 after the gate was opened.
pub fn slow(gate: &Gate, body: impl AsRef<[u8]>) -> Vec<Step> {
    let mut steps = vec![Step::Await(gate.clone())];
    steps.extend(ok(body));
    steps
}

/// A chunked 200: the head and the first piece at once, each further piece after a pause, then the trailers
/// (`name: value`).
pub fn stream(pieces: &[&[u8]], pause: Duration, trailers: &[&str]) -> Vec<Step> {
    let names: Vec<_> = trailers
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    let names = if names.is_empty() {
        String::new()
    } else {
        format!("Trailer: {}\r\n", names.join(", "))
    };
    let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{names}\r\n");
    let mut steps = vec![Step::Send(head.into_bytes())];
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            steps.push(Step::Pause(pause));
        }
        steps.push(Step::Send(chunk(piece)));
    }
    let lines: Vec<&str> = trailers.iter().flat_map(|line| [*line, "\r\n"]).collect();
    let end = format!("0\r\n{}\r\n", lines.concat());
    steps.push(Step::Send(end.into_bytes()));
    steps
}

/// One chunk.
pub fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// 101 with the answer to RFC 6455's own sample key (`dGhlIHNhbXBsZSBub25jZQ==`), then an echo of bytes.
pub fn websocket() -> Vec<Step> {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    vec![Step::Send(head.as_bytes().to_vec()), Step::Echo]
}

/// 101 with the answer to the key that came, then an echo of bytes; a 200 where none came.
pub fn websocket_for(seen: &Seen) -> Vec<Step> {
    let key = seen.field("sec-websocket-key").unwrap_or_default();
    let Some(accept) = WebSocketAccept::to(key.as_bytes()) else {
        return ok("no key");
    };
    let mut head =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: "
            .to_vec();
    head.extend_from_slice(accept.as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    vec![Step::Send(head), Step::Echo]
}

/// 100 Continue, then the body is read, then these steps. For [`Backend::at_head`].
pub fn continues(then: Vec<Step>) -> Vec<Step> {
    let mut steps = vec![
        Step::Send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Step::ReadBody,
    ];
    steps.extend(then);
    steps
}

type Script = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

struct Shared {
    script: Box<Script>,
    at_head: bool,
    stopped: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    raw: Vec<Vec<u8>>,
    streams: BTreeMap<usize, TcpStream>,
    in_flight: usize,
}

/// A running server. It stops, and ends its connections, when dropped.
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Backend {
    /// Reads each request to its end, then does what `script` says.
    pub fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::run(Box::new(script), false)
    }

    /// Asks `script` as soon as a head was read; the body is read where a step says so, or after the last.
    pub fn at_head(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::run(Box::new(script), true)
    }

    /// Answers each request with its own body.
    pub fn echo() -> Self {
        Self::start(|seen| ok(&seen.body))
    }

    /// Answers each request with these bytes as they are, and ends the connection.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Self::start(move |_| raw(&bytes))
    }

    fn run(script: Box<Script>, at_head: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            at_head,
            stopped: AtomicBool::new(false),
            inner: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepting.accept(stream);
            }
        });
        Self { address, shared }
    }

    /// Every request so far, in order of their heads.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.inner.lock().unwrap().seen.clone()
    }

    /// Every byte that came, by connection.
    pub fn raw_received(&self) -> Vec<Vec<u8>> {
        self.shared.inner.lock().unwrap().raw.clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.inner.lock().unwrap().raw.len()
    }

    /// Connections that are open now, as far as this side knows: one that waits for a gate does not look.
    pub fn open_connections(&self) -> usize {
        self.shared.inner.lock().unwrap().streams.len()
    }

    /// Waits until so many connections are open.
    #[track_caller]
    pub fn wait_for_open_connections(&self, count: usize) {
        wait_until(
            &format!("{count} open connections"),
            PATIENCE,
            || match self.open_connections() {
                open if open == count => Ok(()),
                open => Err(open),
            },
        );
    }

    /// Requests whose steps are not over.
    pub fn in_flight(&self) -> usize {
        self.shared.inner.lock().unwrap().in_flight
    }

    /// Waits until so many requests have come (their heads), and returns them.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) -> Vec<Seen> {
        wait_until(&format!("{count} requests"), PATIENCE, || {
            let seen = self.seen();
            if seen.len() >= count {
                Ok(seen)
            } else {
                Err(seen)
            }
        })
    }

    /// Ends every connection now (FIN), and takes no more.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for stream in self.shared.inner.lock().unwrap().streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let index = {
            let mut inner = self.inner.lock().unwrap();
            inner.raw.push(Vec::new());
            let index = inner.raw.len() - 1;
            inner.streams.insert(index, stream.try_clone().unwrap());
            index
        };
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            let mut connection = Connection {
                shared: &shared,
                index,
                stream,
                unread: Vec::new(),
            };
            // A connection that breaks is what many tests are about; what came before is in the record.
            let _ = connection.serve();
            // Both handles go, or the socket would stay open.
            shared.inner.lock().unwrap().streams.remove(&index);
        });
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    index: usize,
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection<'_> {
    fn serve(&mut self) -> io::Result<()> {
        while let Some(end) = self.read_to(b"\r\n\r\n")? {
            let head: Vec<u8> = self.unread.drain(..end).collect();
            let mut seen = Seen {
                connection: self.index,
                head: String::from_utf8_lossy(&head).into_owned(),
                ..Seen::default()
            };
            let place = {
                let mut inner = self.shared.inner.lock().unwrap();
                inner.seen.push(seen.clone());
                inner.in_flight += 1;
                inner.seen.len() - 1
            };
            let answered = self.answer(&mut seen, place);
            self.shared.inner.lock().unwrap().in_flight -= 1;
            if !answered? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `false` where the connection is over.
    fn answer(&mut self, seen: &mut Seen, place: usize) -> io::Result<bool> {
        if !self.shared.at_head {
            self.read_body(seen, place)?;
        }
        for step in (self.shared.script)(seen) {
            match step {
                Step::Send(bytes) => self.stream.write_all(&bytes)?,
                Step::Pause(time) => std::thread::sleep(time),
                Step::Await(gate) => gate.wait()?,
                Step::ReadBody => self.read_body(seen, place)?,
                Step::Echo => {
                    self.echo()?;
                    return Ok(false);
                }
                Step::HalfClose => {
                    self.stream.shutdown(Shutdown::Write)?;
                    while self.read_more()? {}
                    return Ok(false);
                }
                Step::Close => {
                    self.stream.shutdown(Shutdown::Both)?;
                    return Ok(false);
                }
                Step::Reset => {
                    let socket = socket2::SockRef::from(&self.stream);
                    socket.set_linger(Some(Duration::ZERO))?;
                    return Ok(false);
                }
            }
        }
        if !seen.complete {
            self.read_body(seen, place)?;
        }
        Ok(true)
    }

    fn echo(&mut self) -> io::Result<()> {
        loop {
            let bytes = std::mem::take(&mut self.unread);
            self.stream.write_all(&bytes)?;
            if !self.read_more()? {
                return self.stream.shutdown(Shutdown::Write);
            }
        }
    }

    fn read_body(&mut self, seen: &mut Seen, place: usize) -> io::Result<()> {
        if seen.complete {
            return Ok(());
        }
        loop {
            // The framing of requests and responses is the same, but that a request without any has no body.
            let framed =
                seen.field("content-length").is_some() || seen.field("transfer-encoding").is_some();
            let mut message = b"HTTP/1.1 200 OK\r\n".to_vec();
            message.extend(seen.head.bytes().skip_while(|byte| *byte != b'\n').skip(1));
            let head = message.len();
            message.extend_from_slice(&self.unread);
            let whole = if framed {
                Answer::whole_with_length(&message)
            } else {
                Some((Answer::default(), head))
            };
            if let Some((answer, length)) = whole {
                self.unread.drain(..length - head);
                seen.body = answer.body;
                seen.trailers = answer.trailers;
                seen.complete = true;
                self.shared.inner.lock().unwrap().seen[place] = seen.clone();
                return Ok(());
            }
            if !self.read_more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn read_to(&mut self, text: &[u8]) -> io::Result<Option<usize>> {
        loop {
            let found = self
                .unread
                .windows(text.len())
                .position(|part| part == text);
            if let Some(start) = found {
                return Ok(Some(start + text.len()));
            }
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    fn read_more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let length = self.stream.read(&mut piece)?;
        self.unread.extend_from_slice(&piece[..length]);
        self.shared.inner.lock().unwrap().raw[self.index].extend_from_slice(&piece[..length]);
        Ok(length > 0)
    }
}
