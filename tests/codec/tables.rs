//! The tables of strange messages, at the codec.

use lastcall::proxy::http1::{AskedBy, Method};

use crate::cases::requests::{self, Expect as Wanted};
use crate::cases::responses::{self, Asked, Expect};
use crate::reading::{Broken, End, Request, Wire, read_requests, read_response};

/// Each in one piece, and cut everywhere at once.
fn ways(input: &[u8]) -> [Vec<usize>; 2] {
    [Vec::new(), (0..input.len()).collect()]
}

#[test]
fn each_strange_request_comes_out_as_the_table_says() {
    assert!(requests::CASES.len() >= 80);
    for case in requests::CASES {
        let input = case.bytes.to_vec();
        for cuts in ways(&input) {
            let name = format!("{} ({} cuts)", case.name, cuts.len());
            let (whole, sent, end) = read_requests(&mut Wire::new(&input, &cuts));
            check_request(&name, case.expect, &whole, &sent, &end);
        }
    }
}

fn check_request(name: &str, wanted: Wanted, whole: &[Request], sent: &[Vec<u8>], end: &End) {
    match (wanted, end) {
        (Wanted::Refused(status), End::Head(fault)) => {
            assert!(
                fault.is_answered() && whole.is_empty() && sent.is_empty(),
                "{name}"
            );
            assert_eq!(fault.status(), status, "{name}: {fault:?}");
            assert!(!fault.detail().is_empty());
        }
        (Wanted::Closed, End::Head(fault)) => {
            assert!(!fault.is_answered() && sent.is_empty(), "{name}: {fault:?}");
        }
        (Wanted::Cut(status), End::Body(fault)) => {
            assert_eq!(fault.status(), status, "{name}: {fault:?}");
            check_cut(name, sent);
        }
        (Wanted::Unfinished, End::InHead) => assert!(sent.is_empty(), "{name}"),
        (Wanted::Unfinished, End::InBody) => check_cut(name, sent),
        (Wanted::Served(expected), End::Clean | End::Closed(_)) => {
            let seen: Vec<_> = whole
                .iter()
                .map(|request| {
                    let line = [&request.method, &b" "[..], &request.target, b" HTTP/1.1"].concat();
                    (text(&line), text(&request.body))
                })
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(line, body)| ((*line).to_owned(), (*body).to_owned()))
                .collect();
            assert_eq!(seen, expected, "{name}");
            assert_eq!(sent.len(), whole.len(), "{name}");
        }
        _ => panic!("{name}: wanted {wanted:?}, got {end:?} and {whole:?}"),
    }
}

/// What the backend was sent is no complete request.
fn check_cut(name: &str, sent: &[Vec<u8>]) {
    assert_eq!(sent.len(), 1, "{name}");
    let (whole, _, end) = read_requests(&mut Wire::passed_on(&sent[0]));
    assert!(whole.is_empty(), "{name}: a cut request looks whole");
    assert_eq!(end, End::InBody, "{name}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn asked(asked: Asked) -> AskedBy {
    AskedBy {
        method: match asked {
            Asked::Head => Method::Head,
            Asked::Get | Asked::Upgrade => Method::Get,
        },
        upgrade: asked == Asked::Upgrade,
    }
}

#[test]
fn each_strange_response_comes_out_as_the_table_says() {
    assert!(responses::CASES.len() >= 80);
    for case in responses::CASES {
        let input = case.bytes.to_vec();
        for cuts in ways(&input) {
            let name = format!("{} ({} cuts)", case.name, cuts.len());
            check_response(&name, case, &input, &cuts);
        }
    }
}

fn check_response(name: &str, case: &responses::Case, input: &[u8], cuts: &[usize]) {
    let (got, sent) = read_response(&mut Wire::new(input, cuts), asked(case.asked));
    match (case.expect, &got) {
        (Expect::BadGateway, Err(Broken::Head(fault))) => assert_eq!(fault.status(), 502),
        (Expect::BadGateway, Err(Broken::NoHead)) => {}
        (Expect::Cut, Err(Broken::Body(_) | Broken::NoEnd)) => {
            let again = read_response(&mut Wire::passed_on(&sent), asked(case.asked)).0;
            assert_eq!(
                again,
                Err(Broken::NoEnd),
                "{name}: a cut response looks whole"
            );
        }
        (Expect::Whole { status, body, kept }, Ok(response)) => {
            assert_eq!(
                (response.status, text(&response.body)),
                (status, body.to_owned()),
                "{name}"
            );
            assert_eq!(response.keep_alive && response.left == 0, kept, "{name}");
        }
        (Expect::Tunnel(bytes), Ok(response)) => {
            assert_eq!(
                (response.status, response.left),
                (101, bytes.len()),
                "{name}"
            );
        }
        (wanted, got) => panic!("{name}: wanted {wanted:?}, got {got:?}"),
    }
}
