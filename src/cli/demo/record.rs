//! A server's own record of what it did: one JSON line an event, written by [`super::backend`], read while
//! it grows by [`super::kubelet`] and by the tests. It is the witness: what the balancer believes about a
//! server is checked against it (PITFALLS 46).
//!
//! It goes to a file, or to whoever collects the records of servers whose files would vanish with them.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Now, in microseconds of the machine's monotonic clock: the same in every process, never set back.
pub fn now_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// A request's head was read.
    Begin,
    /// Its response's last byte was given to the kernel.
    End,
    /// Its connection broke before that.
    Broken,
    /// SIGTERM came.
    Sigterm,
}

/// One line of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When, by [`now_micros`].
    pub at: u64,
    /// What.
    pub what: What,
    /// The request's number, where it has one.
    pub id: Option<u64>,
    /// Requests in flight after it; at SIGTERM, those that will now be lost.
    pub in_flight: u64,
}

/// Where a record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordPlace {
    /// To a file.
    File(PathBuf),
    /// `tcp://ADDRESS`: to a collector. The first line is a [`Hello`].
    Collector(String),
}

impl FromStr for RecordPlace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_prefix("tcp://") {
            Some(address) => Self::Collector(address.to_owned()),
            None => Self::File(text.into()),
        })
    }
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Collector(address) => write!(out, "tcp://{address}"),
        }
    }
}

/// The first line that a collector gets: whose record follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The server's name.
    pub name: String,
}

/// How long the collector may take to have read everything.
const COLLECTED_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Sink {
    File(File),
    Collector(TcpStream),
}

impl Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(line),
            Self::Collector(stream) => stream.write_all(line),
        }
    }
}

/// Writes a record. Each line is one write, so a process that is killed loses none that the kernel has.
#[derive(Debug)]
pub struct Recorder {
    inner: Mutex<(Sink, u64)>,
}

impl Recorder {
    /// Begins an empty record of the server of that name.
    pub fn begin(place: &RecordPlace, name: &str) -> io::Result<Self> {
        match place {
            RecordPlace::File(path) => Self::create(path),
            RecordPlace::Collector(address) => Self::connect(address, name),
        }
    }

    /// Begins an empty record in a file.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::to(Sink::File(File::create(path)?)))
    }

    fn connect(address: &str, name: &str) -> io::Result<Self> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(COLLECTED_WITHIN))?;
        let mut sink = Sink::Collector(stream);
        sink.write(&line(&Hello {
            name: name.to_owned(),
        })?)?;
        Ok(Self::to(sink))
    }

    fn to(sink: Sink) -> Self {
        Self {
            inner: Mutex::new((sink, 0)),
        }
    }

    /// Waits until a collector has read it all: with the process the kernel may take away its network, and
    /// what was on its way.
    pub fn finish(&self) -> io::Result<()> {
        let inner = self.inner.lock().map_err(|_| poisoned())?;
        if let Sink::Collector(stream) = &inner.0 {
            stream.shutdown(Shutdown::Write)?;
            let mut stream: &TcpStream = stream;
            io::copy(&mut stream, &mut io::sink())?;
        }
        Ok(())
    }

    /// Writes what happened, and counts it.
    pub fn note(&self, what: What, id: Option<u64>) -> io::Result<()> {
        let mut inner = self.inner.lock().map_err(|_| poisoned())?;
        let (sink, in_flight) = &mut *inner;
        *in_flight = match what {
            What::Begin => *in_flight + 1,
            What::End | What::Broken => in_flight.saturating_sub(1),
            What::Sigterm => *in_flight,
        };
        let event = Event {
            at: now_micros(),
            what,
            id,
            in_flight: *in_flight,
        };
        sink.write(&line(&event)?)
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

fn poisoned() -> io::Error {
    io::Error::other("another thread panicked while it wrote the record")
}

/// What a record says so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests begun.
    pub begun: u64,
    /// Requests answered to the last byte.
    pub ended: u64,
    /// Requests whose connection broke.
    pub broken: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// When the last response's last byte was written, by [`now_micros`].
    pub last_byte: Option<u64>,
    /// When the last request left, whole or broken, by [`now_micros`].
    pub last_left: Option<u64>,
    /// When SIGTERM came, by [`now_micros`].
    pub sigterm: Option<u64>,
    /// Requests in flight at SIGTERM.
    pub in_flight_at_sigterm: Option<u64>,
}

impl Summary {
    /// Takes the next event in.
    pub fn take(&mut self, event: &Event) {
        self.in_flight = event.in_flight;
        match event.what {
            What::Begin => self.begun += 1,
            What::End => {
                self.ended += 1;
                self.last_byte = Some(event.at);
                self.last_left = Some(event.at);
            }
            What::Broken => {
                self.broken += 1;
                self.last_left = Some(event.at);
            }
            What::Sigterm => {
                self.sigterm = Some(event.at);
                self.in_flight_at_sigterm = Some(event.in_flight);
            }
        }
    }
}

/// Follows a record while it grows.
#[derive(Debug)]
pub struct Follower {
    file: File,
    unread: Vec<u8>,
    summary: Summary,
}

impl Follower {
    /// Follows the record at `path` from its beginning.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            unread: Vec::new(),
            summary: Summary::default(),
        })
    }

    /// Reads what was added, and says what the whole record says.
    pub fn read(&mut self) -> io::Result<Summary> {
        self.file.read_to_end(&mut self.unread)?;
        let whole = self
            .unread
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        for line in self.unread[..whole].split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                self.summary.take(&serde_json::from_slice(line)?);
            }
        }
        self.unread.drain(..whole);
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_followed_while_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let recorder = Recorder::create(&path).unwrap();
        let mut follower = Follower::open(&path).unwrap();
        assert_eq!(follower.read().unwrap(), Summary::default());

        recorder.note(What::Begin, Some(1)).unwrap();
        recorder.note(What::Begin, Some(2)).unwrap();
        recorder.note(What::End, Some(1)).unwrap();
        let seen = follower.read().unwrap();
        assert_eq!((seen.begun, seen.ended, seen.in_flight), (2, 1, 1));
        assert!(seen.last_byte.is_some());

        recorder.note(What::Sigterm, None).unwrap();
        recorder.note(What::Broken, Some(2)).unwrap();
        let seen = follower.read().unwrap();
        assert_eq!(seen.in_flight_at_sigterm, Some(1));
        assert_eq!((seen.broken, seen.in_flight), (1, 0));
        assert!(seen.last_left >= seen.last_byte);
    }

    #[test]
    fn a_collector_gets_the_name_and_every_line_before_the_server_ends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("tcp://{}", listener.local_addr().unwrap());
        let collecting = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let recorder = Recorder::begin(&place.parse().unwrap(), "one").unwrap();
        recorder.note(What::Begin, Some(7)).unwrap();
        recorder.note(What::Sigterm, None).unwrap();
        recorder.finish().unwrap();
        let text = collecting.join().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let hello: Hello = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(hello.name, "one");
        let last: Event = serde_json::from_str(lines[2]).unwrap();
        assert_eq!((last.what, last.in_flight), (What::Sigterm, 1));
    }

    #[test]
    fn a_line_that_is_not_whole_yet_is_left_for_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let line = br#"{"at":5,"what":"begin","id":1,"inFlight":1}"#;
        let mut file = File::create(&path).unwrap();
        let mut follower = Follower::open(&path).unwrap();
        file.write_all(&line[..9]).unwrap();
        assert_eq!(follower.read().unwrap().begun, 0);
        file.write_all(&line[9..]).unwrap();
        file.write_all(b"\n").unwrap();
        assert_eq!(follower.read().unwrap().begun, 1);
    }
}
