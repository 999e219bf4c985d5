//! A server as a process of its own, with the unkind habit of most apps: it exits at once on SIGTERM. It
//! serves the plans of [`super::load`], and its record is the witness of what was in flight.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::record::{Follower, Summary};
use super::wait::wait_until;

/// A running `lastcall demo-backend`. It gets SIGKILL when dropped.
#[derive(Debug)]
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    record: Follower,
    child: Child,
    _folder: TempDir,
}

impl App {
    /// Starts one on a free port.
    pub fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.ndjson");
        let mut child = Command::new(env!("CARGO_BIN_EXE_lastcall"))
            .args(["demo-backend", "--name", name, "--record"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            address: line.trim().parse().unwrap(),
            record: Follower::open(&path).unwrap(),
            child,
            _folder: folder,
        }
    }

    /// What its record says now.
    pub fn seen(&mut self) -> Summary {
        self.record.read().unwrap()
    }

    /// Sends SIGTERM, waits for its end, and returns its whole record.
    pub fn terminate(mut self) -> Summary {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), Signal::TERM).unwrap();
        let child = &mut self.child;
        wait_until("the server to end", Duration::from_secs(10), || {
            child.try_wait().unwrap().ok_or("it runs")
        });
        self.seen()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
