//! A client that writes and reads bytes as they are, and tells a FIN from a reset.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// How long a read waits before the test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer ended it (FIN).
    Fin,
    /// The peer reset it (RST).
    Reset,
    /// It has not ended in the time that was waited.
    Open,
}

/// A plain TCP connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    /// Read behind what a caller asked for, for the next read.
    unread: Vec<u8>,
}

impl RawClient {
    /// Connects.
    pub fn connect(target: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&target, PATIENCE).unwrap())
    }

    /// Connects from an address of this machine, such as 127.0.0.2.
    pub fn connect_from(source: IpAddr, target: SocketAddr) -> Self {
        Self::connect_as(target, |socket| {
            socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        })
    }

    /// Asks the kernel for small buffers, so that little fits between us and the peer.
    pub fn connect_with_small_buffers(target: SocketAddr) -> Self {
        Self::connect_as(target, |socket| socket.set_recv_buffer_size(4096).unwrap())
    }

    /// Asks the kernel for small segments too: the peer's kernel sizes its own buffer by them, and less than
    /// 100 kB fit between us and the peer.
    pub fn connect_narrow(target: SocketAddr) -> Self {
        Self::connect_as(target, |socket| {
            socket.set_recv_buffer_size(4096).unwrap();
            socket.set_tcp_mss(500).unwrap();
        })
    }

    /// Connects by a socket that was made ready for it.
    fn connect_as(target: SocketAddr, prepare: impl FnOnce(&Socket)) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        prepare(&socket);
        socket.connect(&target.into()).unwrap();
        Self::over(TcpStream::from(socket))
    }

    /// The connection as it is: also one that a server has accepted.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Whether a connection is reset without a byte. One that is reset as it is accepted may be so before
    /// its client knows that it was made.
    pub fn is_reset_at_once(target: SocketAddr) -> bool {
        match TcpStream::connect_timeout(&target, PATIENCE) {
            Ok(stream) => Self::over(stream).read_to_end() == (Vec::new(), End::Reset),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Sends one request and reads its response.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.read_response()
    }

    /// Connects, and sends.
    pub fn sending(target: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        let mut client = Self::connect(target);
        client.send(bytes);
        client
    }

    /// Sends all bytes; panics where the connection does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends all bytes, or says why not.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// The same connection once more, to send from another thread.
    pub fn sender(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
            unread: Vec::new(),
        }
    }

    /// Ends the sending direction (FIN) and goes on reading.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Its own address.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// The socket itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let socket = socket2::Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads until the connection ends, or until nothing more has come for `patience` in all.
    pub fn read_to_end_within(&mut self, patience: Duration) -> (Vec<u8>, End) {
        self.read_while(patience, |_| true)
    }

    /// Reads until the connection ends; panics with what came where it does not.
    #[track_caller]
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let (bytes, end) = self.read_to_end_within(PATIENCE);
        assert!(
            end != End::Open,
            "the connection is open after {PATIENCE:?}; read: {}",
            bytes.escape_ascii()
        );
        (bytes, end)
    }

    /// Reads until what came contains `text`, and returns it all; panics where it never does.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> Vec<u8> {
        let text = text.as_bytes();
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        let (bytes, end) = self.read_while(PATIENCE, |bytes| !has(bytes));
        assert!(
            has(&bytes),
            "waited for {:?}, {end:?}; read: {}",
            text.escape_ascii().to_string(),
            bytes.escape_ascii()
        );
        bytes
    }

    /// Reads exactly so many bytes; panics where fewer come.
    #[track_caller]
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let (mut bytes, end) = self.read_while(PATIENCE, |bytes| bytes.len() < count);
        assert!(
            bytes.len() >= count,
            "{end:?}; read: {}",
            bytes.escape_ascii()
        );
        self.unread = bytes.split_off(count);
        bytes
    }

    /// Reads exactly one response with its body, as framed by its Content-Length or chunks. What comes
    /// behind it is there for the next read.
    #[track_caller]
    pub fn read_response(&mut self) -> Answer {
        let (mut bytes, end) = self.read_while(PATIENCE, |bytes| Answer::whole(bytes).is_none());
        let Some((answer, length)) = Answer::whole_with_length(&bytes) else {
            panic!("no whole response, {end:?}; read: {}", bytes.escape_ascii())
        };
        self.unread = bytes.split_off(length);
        answer
    }

    /// Reads exactly one head: of a response to HEAD, or an interim one.
    #[track_caller]
    pub fn read_head(&mut self) -> Answer {
        let mut bytes = self.read_until("\r\n\r\n");
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        let behind = bytes.split_off(end);
        self.unread = [behind, std::mem::take(&mut self.unread)].concat();
        Answer {
            head: String::from_utf8_lossy(&bytes).into_owned(),
            ..Answer::default()
        }
    }

    /// How it stands now, without waiting for anything: whether its end has come.
    pub fn end_now(&mut self) -> End {
        let (bytes, end) = self.read_while(Duration::from_millis(1), |_| true);
        self.unread = bytes;
        end
    }

    fn read_while(&mut self, patience: Duration, more: impl Fn(&[u8]) -> bool) -> (Vec<u8>, End) {
        let begin = Instant::now();
        let mut read = std::mem::take(&mut self.unread);
        let mut piece = [0; 16 * 1024];
        while more(&read) {
            let left = patience.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return (read, End::Open);
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut piece) {
                Ok(0) => return (read, End::Fin),
                Ok(length) => read.extend_from_slice(&piece[..length]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {}
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                        return (read, End::Reset);
                    }
                    other => panic!("read: {other:?}: {error}"),
                },
            }
        }
        (read, End::Open)
    }
}

/// A response as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The head with its empty line.
    pub head: String,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
    /// The trailer section, each line as it came.
    pub trailers: Vec<String>,
}

impl Answer {
    /// The first whole response in the bytes. Interim responses (1xx but 101) are passed over.
    pub fn whole(bytes: &[u8]) -> Option<Self> {
        Self::whole_with_length(bytes).map(|(answer, _)| answer)
    }

    /// The same, and how many bytes it took.
    pub fn whole_with_length(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut answer = Self {
            head,
            body: Vec::new(),
            trailers: Vec::new(),
        };
        match answer.status() {
            101 | 204 | 304 => return Some((answer, end)),
            100..=199 => {
                let (answer, length) = Self::whole_with_length(&bytes[end..])?;
                return Some((answer, end + length));
            }
            _ => {}
        }
        let rest = &bytes[end..];
        if answer
            .field("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            let left = answer.chunks(rest)?;
            return Some((answer, bytes.len() - left));
        }
        let length = answer.field("content-length")?.parse().ok()?;
        answer.body = rest.get(..length)?.to_vec();
        Some((answer, end + length))
    }

    /// Takes the chunks in; how many bytes are left behind them.
    fn chunks(&mut self, mut rest: &[u8]) -> Option<usize> {
        let mut last = false;
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest = &rest[end + 2..];
            if last {
                if line.is_empty() {
                    return Some(rest.len());
                }
                self.trailers.push(line);
                continue;
            }
            let digits = line.split(';').next().unwrap_or_default();
            let size =
                usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
            last = size == 0;
            if !last {
                let chunk = rest.get(..size + 2)?;
                self.body.extend_from_slice(&chunk[..size]);
                assert_eq!(&chunk[size..], b"\r\n", "a chunk longer than it says");
                rest = &rest[size + 2..];
            }
        }
        None
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {:?}", self.head))
    }

    /// The first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Every field of that name.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        let pairs = lines.filter_map(|line| line.split_once(':'));
        pairs
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One GET on a connection of its own.
pub fn get(target: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Answer::whole(&bytes)
        .ok_or_else(|| io::Error::other(format!("no whole response: {}", bytes.escape_ascii())))
}
