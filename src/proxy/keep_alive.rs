//! Asks silent peers whether they are still there. Called for each listening socket, whose connections inherit it,
//! and for each connection to an endpoint.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a peer is silent before it is asked.
const SILENCE: Duration = Duration::from_mins(1);
/// How long it is given to answer, and how often it is asked before it counts as gone.
const AGAIN: Duration = Duration::from_secs(15);
const TIMES: u32 = 4;

/// Has the kernel find out when a peer vanished without a word (a phone out of reach, a NAT that forgot, a
/// machine without power): within two minutes its connection fails, and with it whatever was in flight
/// there. A stream or a tunnel on which nothing happens would else be in flight for ever, and every drain
/// of its endpoint would wait for its deadline and then cut a ghost.
///
/// What was sent and not acknowledged is not asked about: there the kernel's own retransmissions end the
/// connection, after some 15 minutes. A connection to an endpoint is not used for new requests for so long: the first
/// that is not answered in time takes it out of use (`http2::pool`; in HTTP/1 it ends).
pub(super) fn watch<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(AGAIN)
        .with_retries(TIMES);
    socket.into().set_tcp_keepalive(&probes)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_peer_that_vanished_is_found_out_within_two_minutes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        watch(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        let found_out = socket.tcp_keepalive_time().unwrap()
            + socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(found_out, Duration::from_mins(2));
    }
}
