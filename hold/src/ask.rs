//! One call: connect, ask, pass on what is answered. Runs in a thread of its own, because connecting
//! to a Unix socket and reading from it block, and the deadline must not wait for either.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use crate::http::Response;
use crate::wire::{HoldAsk, HoldLine, PATH, Problem};

/// What a call brings.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A line of the answer.
    Line(HoldLine),
    /// A status other than 200.
    Refused(Problem),
    /// The call is over without a release.
    Lost(String),
}

/// Starts one call. The receiver gets lines until `Refused` or `Lost`; dropping it ends the call at the
/// next line or after `silence`.
pub(crate) fn ask(
    socket: PathBuf,
    request: &HoldAsk,
    silence: Duration,
) -> io::Result<mpsc::Receiver<Reply>> {
    let body = serde_json::to_vec(request)?;
    let (replies, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("ask".to_owned())
        .spawn(move || {
            if let Err(error) = call(&socket, &body, silence, &replies) {
                // Where nobody listens any more, nobody needs to know.
                let _ = replies.send(Reply::Lost(explain(&socket, &error)));
            }
        })?;
    Ok(receiver)
}

fn call(
    socket: &Path,
    body: &[u8],
    silence: Duration,
    replies: &mpsc::Sender<Reply>,
) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(silence))?;
    stream.set_write_timeout(Some(silence))?;
    let mut request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;

    let mut response = Response::read(stream)?;
    if response.status != 200 {
        let status = response.status;
        let problem = response
            .whole()
            .and_then(|body| Ok(serde_json::from_slice(&body)?));
        let _ = replies.send(Reply::Refused(problem.unwrap_or_else(|_| Problem {
            title: "not an answer of lastcall".to_owned(),
            status,
            detail: format!("{} answered {status} without saying why", socket.display()),
            field: None,
        })));
        return Ok(());
    }
    while let Some(line) = response.line()? {
        let line = serde_json::from_slice(&line)?;
        if replies.send(Reply::Line(line)).is_err() {
            return Ok(());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the answer ended without a release",
    ))
}

fn explain(socket: &Path, error: &io::Error) -> String {
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("no socket at {socket}"),
        io::ErrorKind::ConnectionRefused => format!("nobody listens at {socket}"),
        io::ErrorKind::PermissionDenied => format!("no permission for {socket}"),
        io::ErrorKind::UnexpectedEof => format!("{socket} closed the connection"),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{socket} is silent"),
        _ => format!("{socket}: {error}"),
    }
}
