//! Listening sockets: one for each worker and port, joined by SO_REUSEPORT so that the kernel spreads
//! connections, and owned by the process. Closing one of several resets what waits in its queue, so
//! they close together, and only after new handshakes were turned away and the queues were emptied.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::keep_alive;

/// Connections that may wait to be accepted, for each worker. The kernel cuts it to `somaxconn`.
const BACKLOG: i32 = 4096;

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{hint}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    hint: &'static str,
    source: io::Error,
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
            io::ErrorKind::AddrInUse => " (another program listens there)",
            io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
            _ => "",
        };
        Self {
            address,
            hint,
            source,
        }
    }
}

/// The sockets of one port, all workers together.
#[derive(Debug)]
pub struct PortSockets {
    address: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

impl PortSockets {
    /// Binds `workers` sockets. An unspecified IPv6 address takes IPv4 as well; where the machine has no
    /// IPv6, IPv4 alone.
    pub fn bind(ip: IpAddr, port: u16, workers: usize) -> Result<Self, BindError> {
        let address = SocketAddr::new(ip, port);
        match Self::bind_all(address, workers) {
            Err(error) if error.raw_os_error() == Some(EAFNOSUPPORT) && ip.is_unspecified() => {
                let v4 = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port);
                Self::bind_all(v4, workers).map_err(|e| BindError::new(v4, e))
            }
            bound => bound.map_err(|e| BindError::new(address, e)),
        }
    }

    fn bind_all(address: SocketAddr, workers: usize) -> io::Result<Self> {
        let first = bind_one(address)?;
        // Port 0: the others join the port that the kernel chose.
        let chosen = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(bind_one(chosen)?);
        }
        Ok(Self {
            address: chosen,
            sockets,
        })
    }

    /// The address that was bound.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Another handle on the socket of each worker, for its thread; a socket closes with the last.
    pub fn share(&self) -> Result<Vec<std::net::TcpListener>, BindError> {
        let sockets = self.sockets.iter();
        let shared: io::Result<Vec<_>> = sockets.map(std::net::TcpListener::try_clone).collect();
        shared.map_err(|error| BindError::new(self.address, error))
    }

    /// Makes the kernel drop new handshakes (clients send their SYN again within a second, by when
    /// another process on the port, or nobody, listens), while those that have begun still end in the
    /// queue. The first step of closing.
    pub fn refuse_new(&self) -> io::Result<()> {
        for socket in &self.sockets {
            socket2::SockRef::from(&socket.as_fd()).attach_filter(&DROP_SYN)?;
        }
        Ok(())
    }
}

/// Linux's number; std has no kind for it.
const EAFNOSUPPORT: i32 = 97;

/// Classic BPF over the TCP header (a listener's filter sees segments from there): drop SYN without ACK,
/// pass everything else.
const DROP_SYN: [SockFilter; 5] = [
    // A = flags, byte 13 of the header (RFC 9293 section 3.1)
    SockFilter::new(0x30, 0, 0, 13),
    // A &= SYN | ACK
    SockFilter::new(0x54, 0, 0, 0x12),
    // if A == SYN skip none (drop), else skip one (pass)
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, 0xffff_ffff),
];

fn bind_one(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // A connection inherits both, which saves it the calls. Answers are small and whole: waiting to fill a segment
    // only delays them.
    socket.set_tcp_nodelay(true)?;
    keep_alive::watch(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::time::Duration;

    #[test]
    fn a_port_that_refuses_new_handshakes_still_gives_those_that_waited() {
        let port = PortSockets::bind(IpAddr::from([127, 0, 0, 1]), 0, 2).unwrap();
        let address = port.local_address();
        let waiting: Vec<_> = (0..8)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        port.refuse_new().unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut accepted = 0;
        for listener in port.share().unwrap() {
            while listener.accept().is_ok() {
                accepted += 1;
            }
        }
        assert_eq!(accepted, waiting.len());
    }

    #[test]
    fn a_connection_inherits_what_its_port_was_told() {
        let port = PortSockets::bind(IpAddr::from([127, 0, 0, 1]), 0, 1).unwrap();
        let _client = TcpStream::connect(port.local_address()).unwrap();
        let (accepted, _) = loop {
            // It is here once the handshake is over, which the client may know first.
            match port.sockets[0].accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => break accepted.unwrap(),
            }
        };
        let accepted = socket2::SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        assert_eq!(
            accepted.tcp_keepalive_time().unwrap(),
            Duration::from_mins(1)
        );
        assert_eq!(
            accepted.tcp_keepalive_interval().unwrap(),
            Duration::from_secs(15)
        );
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
    }

    #[test]
    fn a_bind_error_says_where_and_why() {
        let error = PortSockets::bind(IpAddr::from([192, 0, 2, 1]), 8080, 1).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot listen on 192.0.2.1:8080"),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .ends_with("(this machine has no such address)"),
            "{error}"
        );
    }
}
