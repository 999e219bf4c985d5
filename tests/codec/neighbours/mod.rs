//! The tables of strange messages against hyper and nginx: where are we stricter?
//!
//! Not a test of ours, so it runs only when asked for, and writes what it finds to
//! docs/http1-strictness.md: `cargo test --test codec -- --ignored neighbours`. Needs `nginx`.

mod hyper;
mod nginx;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use lastcall::proxy::http1::{AskedBy, Method};

use crate::cases::requests::{self, Expect as Wanted};
use crate::cases::responses::{self, Asked, Expect};
use crate::reading::{Broken, End, Wire, read_requests, read_response};

/// How long nobody may say anything before it counts as waiting.
const PATIENCE: Duration = Duration::from_millis(400);

const GET: AskedBy = AskedBy {
    method: Method::Get,
    upgrade: false,
};

/// Sends `bytes` to a server and says what came of the first request in them.
fn probe(server: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(bytes); // It may close in the middle.
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return status(&answer).unwrap_or_else(|| "waits".to_owned());
            }
            Err(_) => break,
        }
    }
    status(&answer).unwrap_or_else(|| "closed".to_owned())
}

/// `200` from the application behind the server is `taken`.
fn status(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let status = text.split(' ').nth(1)?.to_owned();
    Some(if text.contains("x-taken") {
        "taken".to_owned()
    } else {
        status
    })
}

/// What a client saw of a response that was passed on as `bytes`.
fn outcome(bytes: &[u8]) -> String {
    match read_response(&mut Wire::new(bytes, &[]), GET).0 {
        Ok(response) if response.status == 502 => "502".to_owned(),
        Ok(_) => "whole".to_owned(),
        Err(_) if bytes.is_empty() => "closed".to_owned(),
        Err(Broken::Head(_)) => "garbled".to_owned(),
        Err(_) => "cut".to_owned(),
    }
}

/// A server that answers the request it has read whole with 200, and closes. What we would refuse it takes
/// by its head, for the question is what reaches it.
fn taking_backend() -> SocketAddr {
    serve(|stream| {
        let mut input = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let (whole, _, end) = read_requests(&mut Wire::passed_on(&input));
            let refused = matches!(end, End::Head(_)) && input.ends_with(b"\r\n\r\n");
            if !whole.is_empty() || refused {
                break;
            }
            match stream.read(&mut piece) {
                Ok(len) if len > 0 => input.extend_from_slice(&piece[..len]),
                _ => return,
            }
        }
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nx-taken: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        );
    })
}

/// A server that answers anything with what it is told to, and closes.
fn answering_backend() -> (SocketAddr, mpsc::Sender<Vec<u8>>) {
    let (tell, told) = mpsc::channel::<Vec<u8>>();
    let told = std::sync::Mutex::new(told);
    let address = serve(move |stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&told.lock().unwrap().recv().unwrap());
        let _ = stream.shutdown(Shutdown::Write);
        while matches!(stream.read(&mut [0; 4096]), Ok(len) if len > 0) {}
    });
    (address, tell)
}

fn serve(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            std::thread::spawn(move || answer(&mut stream));
        }
    });
    address
}

#[test]
#[ignore = "a comparison, not a test: writes docs/http1-strictness.md"]
fn compare_with_hyper_and_nginx() {
    let (answering, tell) = answering_backend();
    let nginx = nginx::start(taking_backend(), answering);
    let hyper = hyper::start();
    let mut page = include_str!("preamble.md").replace("{nginx}", &nginx.version);
    page.push_str(
        "\n## Requests\n\n| a client sends | lastcall | hyper | nginx |\n|---|---|---|---|\n",
    );
    for case in requests::CASES {
        let ours = match case.expect {
            Wanted::Refused(status) => status.to_string(),
            Wanted::Closed => "closed".to_owned(),
            Wanted::Cut(status) => format!("cut, {status}"),
            Wanted::Unfinished | Wanted::Served(_) => continue,
        };
        let bytes = case.bytes.to_vec();
        let (by_hyper, by_nginx) = (probe(hyper, &bytes), probe(nginx.requests, &bytes));
        let _ = writeln!(page, "| {} | {ours} | {by_hyper} | {by_nginx} |", case.name);
    }
    page.push_str(
        "\n## Responses\n\n| a backend sends | lastcall | hyper | nginx |\n|---|---|---|---|\n",
    );
    for case in responses::CASES
        .iter()
        .filter(|case| case.asked == Asked::Get)
    {
        let ours = match case.expect {
            Expect::BadGateway => "502",
            Expect::Cut => "cut",
            Expect::Whole { .. } | Expect::Tunnel(_) => continue,
        };
        tell.send(case.bytes.to_vec()).unwrap();
        let by_hyper = hyper::get(answering);
        tell.send(case.bytes.to_vec()).unwrap();
        let by_nginx = nginx.get();
        let _ = writeln!(page, "| {} | {ours} | {by_hyper} | {by_nginx} |", case.name);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http1-strictness.md");
    std::fs::write(path, page).unwrap();
}
