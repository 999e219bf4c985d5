//! What must hold for any bytes at all. Each check panics where it does not.

use lastcall::proxy::http1::{AskedBy, Method};

use crate::reading::{Broken, End, Pair, Request, Response, Wire, read_requests, read_response};

/// Fields that we write ourselves, or that are for one hop only.
const OURS: &[&str] = &[
    "host",
    "via",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "expect",
    "max-forwards",
    "upgrade",
];

/// Reading and passing on what a client sends: the same at any cut, never a complete request out of one
/// that is not, and nothing passed on that the client did not say.
pub fn requests(input: &[u8], cuts: &[usize]) {
    let (whole, sent, end) = read_requests(&mut Wire::new(input, &[]));
    let (again, _, cut_end) = read_requests(&mut Wire::new(input, cuts));
    assert_eq!(again, whole);
    match (&end, &cut_end) {
        // What exactly is wrong with a head may show in another order.
        (End::Head(_), End::Head(_)) => {}
        _ => assert_eq!(cut_end, end),
    }
    for (request, bytes) in whole.iter().zip(&sent) {
        request_passed_on(request, bytes);
    }
    for bytes in &sent[whole.len()..] {
        let (passed, _, end) = read_requests(&mut Wire::passed_on(bytes));
        assert!(passed.is_empty(), "a cut request looks whole");
        assert_eq!(end, End::InBody);
    }
}

fn request_passed_on(request: &Request, bytes: &[u8]) {
    let (passed, _, end) = read_requests(&mut Wire::passed_on(bytes));
    assert_eq!(
        (passed.len(), end),
        (1, End::Clean),
        "not one plain request"
    );
    let passed = &passed[0];
    assert_eq!(
        (
            &passed.method,
            &passed.target,
            &passed.body,
            &passed.trailers
        ),
        (
            &request.method,
            &request.target,
            &request.body,
            &request.trailers
        )
    );
    assert_eq!(passed.framing, request.framing);
    assert_eq!(passed.expects_continue, request.expects_continue);
    if !request.host.is_empty() {
        assert_eq!(passed.host, request.host);
    }
    nothing_new(&request.fields, &passed.fields);
}

/// Each field passed on is ours, or one of those that came, in their order.
pub(crate) fn nothing_new(came: &[Pair], passed: &[Pair]) {
    let mut came = came.iter();
    for field in passed {
        let name = String::from_utf8_lossy(&field.0).to_ascii_lowercase();
        if !OURS.contains(&name.as_str()) {
            assert!(came.any(|one| one == field), "{name} came from nowhere");
        }
    }
}

/// Reading and passing on what a backend sends: the same at any cut, and never a complete response out of
/// one that is not.
pub fn response(input: &[u8], cuts: &[usize], head: bool, upgrade: bool) {
    let asked = AskedBy {
        method: if head { Method::Head } else { Method::Get },
        upgrade,
    };
    let (whole, sent) = read_response(&mut Wire::new(input, &[]), asked);
    let (again, _) = read_response(&mut Wire::new(input, cuts), asked);
    match (&whole, &again) {
        (Err(Broken::Head(_)), Err(Broken::Head(_))) => {}
        _ => assert_eq!(again, whole),
    }
    match &whole {
        Ok(response) => response_passed_on(response, &sent, asked),
        Err(Broken::Body(_) | Broken::NoEnd) => {
            let passed = read_response(&mut Wire::passed_on(&sent), asked).0;
            assert_eq!(passed, Err(Broken::NoEnd), "a cut response looks whole");
        }
        Err(Broken::Head(_) | Broken::NoHead) => {}
    }
}

fn response_passed_on(response: &Response, bytes: &[u8], asked: AskedBy) {
    let passed = read_response(&mut Wire::passed_on(bytes), asked).0;
    let passed = passed.expect("what is passed on is plain");
    assert_eq!(
        (
            &passed.interim,
            passed.status,
            &passed.reason,
            &passed.body,
            &passed.trailers
        ),
        (
            &response.interim,
            response.status,
            &response.reason,
            &response.body,
            &response.trailers
        )
    );
    assert_eq!(passed.left, 0, "bytes after the end");
    nothing_new(&response.fields, &passed.fields);
}
