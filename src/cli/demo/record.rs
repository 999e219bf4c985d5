//! A server's own record of what it did: one JSON line an event, written by [`super::backend`], read while
//! it grows by [`super::kubelet`] and by the tests. It is the witness: what the balancer believes about a
//! server is checked against it (PITFALLS 46).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Mutex;

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

/// Writes a record. Each line is one write, so a process that is killed loses none.
#[derive(Debug)]
pub struct Recorder {
    inner: Mutex<(File, u64)>,
}

impl Recorder {
    /// Begins an empty record.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            inner: Mutex::new((File::create(path)?, 0)),
        })
    }

    /// Writes what happened, and counts it.
    pub fn note(&self, what: What, id: Option<u64>) -> io::Result<()> {
        let mut inner = self
            .inner
            .lock()
            .map_err(|_| io::Error::other("poisoned"))?;
        let (file, in_flight) = &mut *inner;
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
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        file.write_all(&line)
    }
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
