//! Both tables of odd messages through the whole proxy: what the client gets, and what the server's own
//! record says.

use crate::cases::requests::{self, Expect as Request};
use crate::cases::responses::{self, Asked, Expect as Response};
use crate::support::backend::{self, Backend, Seen, Step};
use crate::support::client::Answer;
use crate::support::{Config, End, Lastcall, RawClient, wait_until};

/// A request as the table writes it: its line, and its body as text.
fn normal(seen: &Seen) -> (String, String) {
    let line = seen.head.lines().next().unwrap_or_default().to_owned();
    (line, String::from_utf8_lossy(&seen.body).into_owned())
}

/// The whole requests that the server has seen, once it has nothing left to read.
fn complete(server: &Backend) -> Vec<(String, String)> {
    wait_until("the server to be done", crate::LIMIT, || {
        match server.in_flight() {
            0 => Ok(()),
            more => Err(more),
        }
    });
    let seen = server.seen();
    seen.iter().filter(|one| one.complete).map(normal).collect()
}

/// Fails with all findings at once: a table is read as a whole.
#[track_caller]
fn report(findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

fn is_problem(answer: &Answer) -> bool {
    let problem = serde_json::from_slice::<serde_json::Value>(&answer.body);
    answer.field("Content-Type") == Some("application/problem+json")
        && problem.is_ok_and(|problem| problem["status"] == answer.status())
}

/// What is wrong with what a client got that was to be refused; `None` if nothing is.
fn refused(bytes: &[u8], end: End, status: u16) -> Option<String> {
    let seen = || format!("{end:?} after {}", bytes.escape_ascii());
    let Some((answer, length)) = Answer::whole_with_length(bytes) else {
        return Some(format!("no answer: {}", seen()));
    };
    let right = answer.status() == status
        && answer.field("Connection") == Some("close")
        && is_problem(&answer)
        && length == bytes.len()
        && end == End::Fin;
    (!right).then(|| format!("not one {status} and FIN: {}", seen()))
}

fn run_request(target: std::net::SocketAddr, case: &requests::Case) -> Option<String> {
    let mut client = RawClient::connect(target);
    // A refusal may come before all was sent; what counts is what the client reads.
    let _ = client.try_send(case.bytes.to_vec());
    let wrong = match case.expect {
        Request::Refused(status) | Request::Cut(status) => {
            let (bytes, end) = client.read_to_end();
            refused(&bytes, end, status)
        }
        Request::Closed => match client.read_to_end() {
            (bytes, _) if bytes.is_empty() => None,
            (bytes, _) => Some(format!("an answer: {}", bytes.escape_ascii())),
        },
        Request::Unfinished => {
            let (bytes, end) = client.read_to_end();
            refused(&bytes, end, 408)
        }
        Request::Served(requests) => {
            let answers: Vec<_> = requests.iter().map(|_| client.read_response()).collect();
            client.half_close();
            let right = answers
                .iter()
                .zip(requests)
                .all(|(answer, (_, body))| answer.status() == 200 && answer.body_text() == *body);
            let rest = client.read_to_end();
            (!right || rest != (Vec::new(), End::Fin))
                .then(|| format!("{answers:?}, then {rest:?}"))
        }
    };
    wrong.map(|wrong| format!("{}: {wrong}", case.name))
}

#[test]
fn every_odd_request_is_refused_cut_or_served_as_the_table_says() {
    let server = Backend::echo();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let cases = requests::CASES
        .iter()
        .filter(|case| case.expect != Request::Unfinished);
    let mut findings = Vec::new();
    let mut expected = Vec::new();
    for case in cases {
        findings.extend(run_request(lastcall.address, case));
        if let Request::Served(requests) = case.expect {
            expected.extend(
                requests
                    .iter()
                    .map(|(line, body)| ((*line).to_owned(), (*body).to_owned())),
            );
        }
    }
    // One by one, so in order; a request smuggled in by any other case would stand among them.
    let seen = complete(&server);
    if seen != expected {
        findings.push(format!(
            "whole requests at the server: {seen:#?}, not {expected:#?}"
        ));
    }
    // A case that must never reach a server left no trace of its bytes there either.
    let raw = server.raw_received().concat();
    for smuggled in ["/admin", "/2 "] {
        if raw
            .windows(smuggled.len())
            .any(|part| part == smuggled.as_bytes())
        {
            findings.push(format!("{smuggled:?} reached the server"));
        }
    }
    report(&findings);
}

#[test]
fn a_request_that_never_ends_gets_408_and_no_server_sees_a_whole_one() {
    let server = Backend::echo();
    let config = Config::new(&[server.address])
        .load_balancer("timeouts: {requestHead: 400ms, requestBody: 400ms}");
    let lastcall = Lastcall::start(config);
    let cases = requests::CASES
        .iter()
        .filter(|case| case.expect == Request::Unfinished);
    let findings: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .map(|case| scope.spawn(|| run_request(lastcall.address, case)))
            .collect();
        assert!(running.len() > 3);
        running
            .into_iter()
            .filter_map(|one| one.join().unwrap())
            .collect()
    });
    report(&findings);
    assert_eq!(complete(&server), []);
    // The control: the same server does see a whole one.
    let mut client = RawClient::sending(lastcall.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().status(), 200);
    assert_eq!(complete(&server).len(), 1);
}

/// A server that answers `/case/N` as the table says and closes, `/kept/N` the same without closing, and
/// everything else honestly.
fn strange_server() -> Backend {
    Backend::start(|seen| {
        let mut words = seen.target().split('/').skip(1);
        let kind = words.next().unwrap_or_default();
        let case = words.next().and_then(|number| number.parse::<usize>().ok());
        match (kind, case) {
            ("case", Some(at)) => backend::raw(responses::CASES[at].bytes.to_vec()),
            ("kept", Some(at)) => vec![Step::Send(responses::CASES[at].bytes.to_vec())],
            _ => backend::ok(format!("own {}", seen.target())),
        }
    })
}

fn ask(case: &responses::Case, kind: &str, at: usize, version: &str) -> String {
    let (method, more) = match case.asked {
        Asked::Get => ("GET", ""),
        Asked::Head => ("HEAD", ""),
        Asked::Upgrade => ("GET", "Connection: upgrade\r\nUpgrade: websocket\r\n"),
    };
    format!("{method} /{kind}/{at} HTTP/{version}\r\nHost: a\r\n{more}\r\n")
}

/// What is wrong with the next answer on the same connection; `None` if it is the request's own.
fn next_answer(client: &mut RawClient, at: usize) -> Option<String> {
    client.send(format!("GET /next/{at} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let answer = client.read_response();
    let right = answer.status() == 200 && answer.body_text() == format!("own /next/{at}");
    (!right).then(|| format!("the next exchange got {answer:?}"))
}

fn run_response(target: std::net::SocketAddr, at: usize) -> Option<String> {
    let case = &responses::CASES[at];
    let mut client = RawClient::sending(target, ask(case, "case", at, "1.1"));
    match case.expect {
        Response::BadGateway => {
            let answer = if case.asked == Asked::Head {
                client.read_head()
            } else {
                client.read_response()
            };
            let right =
                answer.status() == 502 && (case.asked == Asked::Head || is_problem(&answer));
            if !right {
                return Some(format!("{answer:?}"));
            }
            next_answer(&mut client, at)
        }
        Response::Cut => {
            let (bytes, end) = client.read_to_end();
            let whole = Answer::whole(&bytes).is_some();
            (whole || end != End::Reset).then(|| format!("{end:?} after {}", bytes.escape_ascii()))
        }
        Response::Whole { status, body, .. } => {
            let answer = if case.asked == Asked::Head {
                client.read_head()
            } else {
                client.read_response()
            };
            if answer.status() != status || answer.body_text() != body {
                return Some(format!("{answer:?}"));
            }
            next_answer(&mut client, at)
        }
        Response::Tunnel(bytes) => {
            let answer = client.read_response();
            client.half_close();
            let rest = client.read_to_end();
            (answer.status() != 101 || rest != (bytes.into(), End::Fin))
                .then(|| format!("{answer:?}, then {rest:?}"))
        }
    }
}

#[test]
fn every_strange_response_ends_as_the_table_says_and_poisons_nothing() {
    let server = strange_server();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut findings = Vec::new();
    for at in 0..responses::CASES.len() {
        let wrong = run_response(lastcall.address, at);
        findings.extend(wrong.map(|wrong| format!("{}: {wrong}", responses::CASES[at].name)));
    }
    report(&findings);
}

#[test]
fn a_response_that_breaks_off_looks_whole_to_no_client_of_http_1_0_either() {
    let server = strange_server();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut findings = Vec::new();
    for (at, case) in responses::CASES.iter().enumerate() {
        let cut = case.expect == Response::Cut;
        let until_close = matches!(case.expect, Response::Whole { body: "hello", .. });
        if !cut && !until_close {
            continue;
        }
        let mut client = RawClient::sending(lastcall.address, ask(case, "case", at, "1.0"));
        let (bytes, end) = client.read_to_end();
        // The control: what is whole ends in FIN, with its body.
        let right = if cut {
            end == End::Reset
        } else {
            end == End::Fin && bytes.ends_with(b"\r\n\r\nhello")
        };
        if !right {
            findings.push(format!(
                "{}: {end:?} after {}",
                case.name,
                bytes.escape_ascii()
            ));
        }
    }
    report(&findings);
}

#[test]
fn a_connection_to_a_server_is_used_again_only_where_its_response_allows_it() {
    let server = strange_server();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut findings = Vec::new();
    for (at, case) in responses::CASES.iter().enumerate() {
        let Response::Whole { status, kept, .. } = case.expect else {
            continue;
        };
        if case.name.starts_with("until close") {
            continue;
        }
        let mut client = RawClient::sending(lastcall.address, ask(case, "kept", at, "1.1"));
        let answer = if case.asked == Asked::Head {
            client.read_head()
        } else {
            client.read_response()
        };
        assert_eq!(answer.status(), status, "{}", case.name);
        findings
            .extend(next_answer(&mut client, at).map(|wrong| format!("{}: {wrong}", case.name)));
        let seen = server.seen();
        let [.., first, second] = &seen[..] else {
            panic!("{seen:?}")
        };
        if (first.connection == second.connection) != kept {
            findings.push(format!("{}: used again: {}", case.name, !kept));
        }
    }
    report(&findings);
}
