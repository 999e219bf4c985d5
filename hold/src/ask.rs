//! One call: connect, ask, pass on what is answered. Runs in a thread of its own, because connecting
//! and reading block, and the deadline must not wait for either.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use crate::http::Response;
use crate::pod::Pod;
use crate::wire::{HoldAsk, HoldLine, PATH, PRESTOP_PATH, PrestopAsk, Problem};

/// Whom to ask, and what.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// lastcall's admin socket, for these targets.
    Socket(PathBuf, HoldAsk),
    /// The hook service, for the pod that this runs in.
    Pod(Pod),
}

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
pub(crate) fn ask(ask: Ask, silence: Duration) -> io::Result<mpsc::Receiver<Reply>> {
    let (replies, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("ask".to_owned())
        .spawn(move || {
            if let Err(error) = call(&ask, silence, &replies) {
                // Where nobody listens any more, nobody needs to know.
                let _ = replies.send(Reply::Lost(explain(&ask, &error)));
            }
        })?;
    Ok(receiver)
}

fn call(ask: &Ask, silence: Duration, replies: &mpsc::Sender<Reply>) -> io::Result<()> {
    match ask {
        Ask::Socket(socket, what) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(silence))?;
            stream.set_write_timeout(Some(silence))?;
            let head = format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\n");
            exchange(stream, &head, &serde_json::to_vec(what)?, ask, replies)
        }
        Ask::Pod(pod) => {
            let service = pod.service()?;
            let token = pod.token()?;
            let stream = service.connect(silence)?;
            let head = format!(
                "POST {PRESTOP_PATH} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n",
                service.name
            );
            let what = PrestopAsk {
                container: pod.container.clone(),
            };
            exchange(stream, &head, &serde_json::to_vec(&what)?, ask, replies)
        }
    }
}

fn exchange(
    mut stream: impl Read + Write,
    head: &str,
    body: &[u8],
    ask: &Ask,
    replies: &mpsc::Sender<Reply>,
) -> io::Result<()> {
    let length = body.len();
    let mut request = format!(
        "{head}Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    stream.flush()?;

    let mut response = Response::read(stream)?;
    if response.status != 200 {
        let status = response.status;
        let problem = response
            .whole()
            .and_then(|body| Ok(serde_json::from_slice(&body)?));
        let _ = replies.send(Reply::Refused(problem.unwrap_or_else(|_| Problem {
            title: "not an answer of lastcall".to_owned(),
            status,
            detail: format!("{} answered {status} without saying why", ask.whom()),
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

impl Ask {
    /// Who is asked, for people.
    fn whom(&self) -> String {
        match self {
            Ask::Socket(socket, _) => socket.display().to_string(),
            Ask::Pod(_) => "the hook service".to_owned(),
        }
    }
}

fn explain(ask: &Ask, error: &io::Error) -> String {
    let whom = ask.whom();
    match (ask, error.kind()) {
        (Ask::Socket(..), io::ErrorKind::NotFound) => format!("no socket at {whom}"),
        (Ask::Socket(..), io::ErrorKind::ConnectionRefused) => format!("nobody listens at {whom}"),
        (Ask::Socket(..), io::ErrorKind::PermissionDenied) => format!("no permission for {whom}"),
        (_, io::ErrorKind::UnexpectedEof) => format!("{whom} closed the connection"),
        (_, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => format!("{whom} is silent"),
        _ => format!("{whom}: {error}"),
    }
}
