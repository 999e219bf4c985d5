//! Lastcall's own end, where a client of HTTP/2 reads slowly: what lastcall's kernel still holds for it must not be
//! lost (PITFALLS 42).

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::LIMIT;
use crate::support::backend::{Backend, ok};
use crate::support::{Config, End, Lastcall, RawClient, wait_until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// GET / of the host `a`, on stream 1, which it ends (RFC 7541 appendix A).
const GET: &[u8] = &[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86, 0x41, 1, b'a'];
/// One byte more may come on the connection.
const WINDOW_UPDATE: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const DATA: u8 = 0;
const ENDS: u8 = 1;

/// More than the client's buffer has room for, and less than lastcall's kernel holds for it.
const BODY: usize = 32 * 1024;

#[test]
fn a_client_that_reads_slowly_gets_all_of_its_last_response() {
    let server = Backend::start(|_| ok("x".repeat(BODY)));
    // How long a client may be silent that was told to go.
    let config = Config::new(&[server.address]).load_balancer("timeouts: {write: 200ms}");
    let mut lastcall = Lastcall::start(config);
    let mut client = RawClient::connect_narrow(lastcall.address);
    client.send([PREFACE, SETTINGS, GET].concat());
    lastcall.wait_for_metric("lastcall_requests_total{status_class=\"2xx\"}", 1.0);
    lastcall.signal(Signal::TERM);
    let ends = (lastcall.address, client.local_address());
    wait_until("the end of lastcall's side", LIMIT, || {
        is_closing(ends).then_some(()).ok_or("it is open")
    });
    let (mut got, mut piece) = (Vec::new(), [0; 512]);
    let end = loop {
        match std::io::Read::read(client.stream(), &mut piece) {
            Ok(0) => break End::Fin,
            Ok(count) => got.extend_from_slice(&piece[..count]),
            Err(_) => break End::Reset,
        }
        // What it says comes to a socket that somebody must still read. It is as slow as this.
        let _ = client.try_send(WINDOW_UPDATE);
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!((content(&got), end), ((BODY, true), End::Fin));
    drop(client);
    lastcall.wait();
}

/// Whether the kernel has still to send what the first of two ends has written before its end (`FIN_WAIT1`).
fn is_closing((ours, theirs): (SocketAddr, SocketAddr)) -> bool {
    let shown = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let wanted = format!(" {} {} 04 ", shown(ours), shown(theirs));
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.contains(&wanted)
}

/// The content of the one response among frames, and whether it has ended.
fn content(mut frames: &[u8]) -> (usize, bool) {
    let (mut count, mut ended) = (0, false);
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let length = length.min(rest.len());
        if *kind == DATA {
            count += length;
            ended |= flags & ENDS != 0;
        }
        frames = &rest[length..];
    }
    (count, ended)
}
