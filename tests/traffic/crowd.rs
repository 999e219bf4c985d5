//! Thousands of connections at once: those that are idle, and those that send their head as slowly as they
//! can.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::flow::{Steady, alone};
use crate::support::plan::{Outline, Planned, Shares};
use crate::support::{App, Backend, Config, Lastcall, wait_until};

/// How long thousands of connections may take to be opened or closed.
const LIMIT: Duration = Duration::from_mins(1);

/// Connections of one address, of which there are as many as are needed.
const OF_ONE_ADDRESS: usize = 1000;

/// As many connections as can be, up to `wanted`, and from many addresses, or ports would run out. This
/// process has one end of each, lastcall the other.
fn open(target: SocketAddr, wanted: usize) -> Vec<TcpStream> {
    (0..wanted)
        .map(|nth| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let host = u8::try_from(nth / OF_ONE_ADDRESS).unwrap() + 1;
            let from = SocketAddr::from((Ipv4Addr::new(127, 0, 7, host), 0));
            socket.bind(&from.into()).unwrap();
            socket.connect(&target.into()).unwrap();
            TcpStream::from(socket)
        })
        .collect()
}

/// Raises this process' limit of descriptors to one below what the machine allows, and returns how many
/// connections fit. One below, so that it shows whether lastcall raises its own.
fn room_for(wanted: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    limit.current = Some(most - 1);
    setrlimit(Resource::Nofile, limit).unwrap();
    wanted.min(usize::try_from(most).unwrap() - 1500)
}

/// The soft limit of descriptors of a process.
fn descriptors(pid: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.unwrap().split_whitespace().nth(3).unwrap();
    soft.parse().unwrap()
}

fn wait_for_open(lastcall: &Lastcall, count: usize) {
    let sample = r#"lastcall_connections{load_balancer="default/test",listener="http"}"#;
    wait_until("connections", LIMIT, || {
        let open = lastcall.count(sample).unwrap();
        (open == count as u64).then_some(()).ok_or(open)
    });
}

/// One request on each of the connections.
fn use_all(connections: &mut [TcpStream]) {
    let request = b"GET / HTTP/1.1\r\nHost: t\r\nUser-Agent: crowd\r\n\r\n";
    for some in connections.chunks_mut(100) {
        for connection in some.iter_mut() {
            connection.write_all(request).unwrap();
        }
        for connection in some {
            let mut answer = [0; 1024];
            let length = connection.read(&mut answer).unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
        }
    }
}

/// What one idle connection may cost lastcall, in bytes of its own memory (the kernel's sockets not counted):
/// its task and what a request has left of storage for the next. The allocator keeps some of what was
/// given back, so that the same crowd may cost more the next time, but not more and more.
const FOR_NEW: u64 = 6 * 1024;
const FOR_USED: u64 = 8 * 1024;
const CROWDS: usize = 4;

#[test]
fn ten_thousand_idle_connections_cost_little_and_leave_nothing_behind() {
    let _alone = alone();
    let count = room_for(10_000);
    let server = Backend::echo();
    let config = Config::new(&[server.address]).load_balancer("timeouts: {idle: 600s}");
    let lastcall = Lastcall::start(config);
    assert_eq!(
        Some(descriptors(lastcall.pid())),
        getrlimit(Resource::Nofile).maximum
    );
    // What a first request needs is there before the counting begins.
    use_all(&mut open(lastcall.address, 200));
    wait_for_open(&lastcall, 0);
    let before = lastcall.memory();
    let each = |now: u64| now.saturating_sub(before) / count as u64;

    let mut costs = Vec::new();
    for _ in 0..CROWDS {
        let mut connections = open(lastcall.address, count);
        wait_for_open(&lastcall, count);
        let new = each(lastcall.memory());
        use_all(&mut connections);
        costs.push((new, each(lastcall.memory())));
        drop(connections);
        wait_for_open(&lastcall, 0);
    }
    println!("{count} idle connections, bytes each when new and after a request: {costs:?}");
    let (new, used) = costs[0];
    assert!(new < FOR_NEW, "{new} bytes each");
    assert!(used < FOR_USED, "{used} bytes each");
    let (_, last) = costs[CROWDS - 1];
    assert!(last < 2 * used, "more and more: {costs:?}");
}

/// Quick requests only: what a slow one takes says nothing.
fn quick(seed: u64) -> Vec<Planned> {
    let shares = Shares {
        slow: 0,
        stream: 0,
        upload: 0,
        ..Shares::default()
    };
    let outline = Outline {
        seed,
        rate: 100.0,
        lasts: Duration::from_secs(2),
        longest: Duration::from_millis(50),
        shares,
        burst: None,
    };
    outline.draw()
}

/// Sends a byte of a head on every connection, again and again, until all have been answered.
fn trickle(slow: &mut [TcpStream]) -> Vec<Vec<u8>> {
    let mut answers = vec![Vec::new(); slow.len()];
    for connection in &mut *slow {
        connection
            .write_all(b"GET / HTTP/1.1\r\nHost: t\r\nX-Slow: ")
            .unwrap();
        connection.set_nonblocking(true).unwrap();
    }
    let mut open: Vec<usize> = (0..slow.len()).collect();
    let begin = Instant::now();
    while !open.is_empty() {
        assert!(
            begin.elapsed() < LIMIT,
            "{} of them were never answered",
            open.len()
        );
        open.retain(|nth| {
            // One that was answered and closed takes no more; its answer can be read all the same.
            let _ = slow[*nth].write(b"x");
            !read_to_end(&mut slow[*nth], &mut answers[*nth])
        });
        std::thread::sleep(Duration::from_millis(50));
    }
    answers
}

/// Reads what is here; true at the end.
fn read_to_end(connection: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    let mut piece = [0; 4096];
    loop {
        match connection.read(&mut piece) {
            Ok(0) => return true,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error} after {}", answer.escape_ascii()),
        }
    }
}

#[test]
fn a_thousand_slow_heads_get_their_408_and_disturb_nobody() {
    let _alone = alone();
    let count = room_for(1000);
    let app = App::start("a");
    let config = Config::new(&[app.address]).load_balancer("timeouts: {requestHead: 3s}");
    let lastcall = Lastcall::start(config);
    let load = Steady::start(lastcall.address, quick);
    load.wait_for_more(200);
    let alone = load.end();

    let load = Steady::start(lastcall.address, quick);
    let mut slow = open(lastcall.address, count);
    let answers = trickle(&mut slow);
    let beside = load.end();
    println!(
        "half and 99 % of {} quick requests took less than {:?} and {:?} alone, of {} beside {count} slow heads {:?} \
         and {:?}",
        alone.sent,
        alone.percentile(50),
        alone.percentile(99),
        beside.sent,
        beside.percentile(50),
        beside.percentile(99)
    );
    for answer in answers {
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
        assert!(
            text.to_ascii_lowercase().contains("connection: close"),
            "{text}"
        );
    }
    alone.nothing_failed();
    beside.nothing_failed();
    // Half of them: a machine that stands still for a moment makes the slowest as slow as it likes.
    let bound = alone.percentile(50) * 5 + Duration::from_millis(50);
    assert!(beside.percentile(50) < bound, "{:?}", beside.percentile(50));
}
