//! A server that leaves while clients of a protocol of its own are connected: each connection has its own
//! length, and what it sends is checked byte by byte. The server ends everything the moment it was released.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lastcall_hold::wire::Cause;

use crate::flow::alone;
use crate::hold::Hold;
use crate::short_or_long;
use crate::status;
use crate::support::{Config, Lastcall, wait_until};

/// Connections at a time.
const CLIENTS: u64 = 30;
/// How long a client waits for any answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends back what comes, and its own FIN behind the client's.
struct EchoServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    accepted: AtomicU64,
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl EchoServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared: Arc<Shared> = Arc::default();
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let key = accepting.accepted.fetch_add(1, Ordering::SeqCst);
                let kept = stream.try_clone().unwrap();
                accepting.open.lock().unwrap().insert(key, kept);
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    // A client that breaks off is its own witness.
                    let _ = echo(stream);
                    shared.open.lock().unwrap().remove(&key);
                });
            }
        });
        Self { address, shared }
    }

    fn open(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }

    /// Ends at once, as an app that gets SIGTERM: how many connections it broke.
    fn stop(&self) -> usize {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let open = self.shared.open.lock().unwrap();
        for stream in open.values() {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        open.len()
    }
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut piece = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return stream.shutdown(Shutdown::Write);
        }
        stream.write_all(&piece[..count])?;
    }
}

/// Clients that connect again and again, each time for another while.
struct Clients {
    stop: Arc<AtomicBool>,
    sessions: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Clients {
    fn start(target: SocketAddr) -> Self {
        let (stop, sessions, failures): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<Mutex<Vec<String>>>) =
            Default::default();
        let client = |seed: u64| {
            let (stop, sessions, failures) = (
                Arc::clone(&stop),
                Arc::clone(&sessions),
                Arc::clone(&failures),
            );
            std::thread::spawn(move || {
                let mut random = Random(seed + 1);
                while !stop.load(Ordering::SeqCst) {
                    if let Err(error) = session(target, &mut random) {
                        failures.lock().unwrap().push(error.to_string());
                    }
                    sessions.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self {
            stop,
            sessions,
            failures,
            threads,
        }
    }

    fn wait_for_more(&self, sessions: u64) {
        let from = self.sessions.load(Ordering::SeqCst);
        wait_until("sessions to end", Duration::from_mins(1), || {
            let now = self.sessions.load(Ordering::SeqCst);
            (now >= from + sessions).then_some(()).ok_or(now)
        });
    }

    /// Lets every session end: how many there were, and what failed.
    fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let failures = self.failures.lock().unwrap().clone();
        (self.sessions.load(Ordering::SeqCst), failures)
    }
}

/// A small generator: what is drawn is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// One connection: words there and back, then both sides close. One in ten lasts for seconds.
fn session(target: SocketAddr, random: &mut Random) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let rounds = if random.below(10) == 0 {
        150
    } else {
        1 + random.below(20)
    };
    for _ in 0..rounds {
        let length = usize::try_from(1 + random.below(3000)).unwrap_or(1);
        let word = vec![b'a' + u8::try_from(random.below(26)).unwrap_or(0); length];
        stream.write_all(&word)?;
        let mut echoed = vec![0; length];
        stream.read_exact(&mut echoed)?;
        if echoed != word {
            return Err(std::io::Error::other("other bytes came back"));
        }
        std::thread::sleep(Duration::from_millis(random.below(20)));
    }
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(std::io::Error::other("bytes that nobody sent")),
    }
}

/// What one server's leaving looked like.
struct Left {
    sessions: u64,
    failures: Vec<String>,
    open_at_hold: usize,
    open_at_release: usize,
    accepted_after_release: u64,
    cause: Cause,
    cut: u64,
}

fn one_of_three_leaves(enabled: bool) -> Left {
    let servers = [(); 3].map(|()| EchoServer::start());
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let draining = format!("connectionDraining: {{enabled: {enabled}, timeoutSeconds: 60}}");
    let lastcall = Lastcall::start(Config::new(&addresses).tcp().load_balancer(&draining));
    let clients = Clients::start(lastcall.address);
    clients.wait_for_more(short_or_long(100, 1000));

    let leaving = &servers[0];
    wait_until("connections to be open", status::LIMIT, || {
        match leaving.open() {
            0..4 => Err(leaving.open()),
            _ => Ok(()),
        }
    });
    let open_at_hold = leaving.open();
    let hold = Hold::of(&lastcall, leaving.address, Duration::from_mins(1));
    let released = hold.released(Duration::from_secs(70));
    let accepted = leaving.shared.accepted.load(Ordering::SeqCst);
    let open_at_release = leaving.stop();
    clients.wait_for_more(short_or_long(100, 1000));
    let (sessions, failures) = clients.end();
    let (cause, cut) = released.cause();
    println!(
        "TCP, draining {enabled}: {sessions} connections, {} failed; open at the hold {open_at_hold}, \
         at the release {open_at_release}; held {:?}",
        failures.len(),
        released.held()
    );
    Left {
        sessions,
        failures,
        open_at_hold,
        open_at_release,
        accepted_after_release: leaving.shared.accepted.load(Ordering::SeqCst) - accepted,
        cause,
        cut,
    }
}

#[test]
fn a_server_with_open_connections_leaves_and_none_is_lost() {
    let _alone = alone();
    let left = one_of_three_leaves(true);
    assert!(left.failures.is_empty(), "{:?}", left.failures);
    assert!(left.sessions >= 200 && left.open_at_hold > 0);
    assert_eq!((left.cause, left.cut), (Cause::Drained, 0));
    assert_eq!((left.open_at_release, left.accepted_after_release), (0, 0));
}

#[test]
fn without_draining_the_same_test_sees_connections_break() {
    let _alone = alone();
    let left = one_of_three_leaves(false);
    assert!(!left.failures.is_empty(), "nothing failed");
    assert!(left.cut > 0);
    assert_eq!(left.cause, Cause::Cut);
}
