//! Takes the header off a connection that was just accepted, and not one byte more: what follows is read by
//! whoever serves the connection.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{Addresses, Fault, Header, MAX_HEADER, parse};

/// No header came.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum NoHeader {
    /// What came is none.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The peer closed, or broke off, first.
    #[error("the connection ended before its PROXY header")]
    Ended,
    /// It took too long.
    #[error("the PROXY header took too long")]
    TimedOut,
}

impl From<io::Error> for NoHeader {
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}

/// Reads the header; what it says, if it says anything.
pub(in crate::proxy) async fn receive(stream: &TcpStream) -> Result<Option<Addresses>, NoHeader> {
    let header = whole(stream).await?;
    take(stream, header.length)?;
    Ok(header.addresses)
}

async fn whole(stream: &TcpStream) -> Result<Header, NoHeader> {
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        // A part of a header is left in the socket and reported as nothing to read: so the runtime waits
        // until more has come.
        match stream.try_io(Interest::READABLE, || look(stream)) {
            Ok(found) => return Ok(found?),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if ready.is_read_closed() => return Err(NoHeader::Ended),
            Err(_) => {}
        }
    }
}

/// Parses what is in the socket and leaves it there.
fn look(stream: &TcpStream) -> io::Result<Result<Header, Fault>> {
    let mut piece = [0; MAX_HEADER];
    let (length, _) = recv(stream, &mut piece[..], RecvFlags::PEEK)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match parse(&piece[..length]) {
        Ok(Some(header)) => Ok(Ok(header)),
        Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
        Err(fault) => Ok(Err(fault)),
    }
}

/// Takes that many bytes, all of which are in the socket.
fn take(stream: &TcpStream, length: usize) -> io::Result<()> {
    let mut header = [0; MAX_HEADER];
    let (taken, _) = recv(stream, &mut header[..length], RecvFlags::empty())?;
    if taken == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
