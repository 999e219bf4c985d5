//! Random valid messages mean the same however they are cut.

use lastcall::proxy::http1::{AskedBy, Method};
use proptest::prelude::*;

use crate::generate::{self, Message};
use crate::reading::{End, Pair, Wire, read_requests, read_response};

const GET: AskedBy = AskedBy {
    method: Method::Get,
    upgrade: false,
};

/// In one piece, cut once at each place, and cut at all of them.
fn ways(len: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..len).map(|at| vec![at]).chain([(0..len).collect()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_request_means_the_same_at_every_cut(message in generate::request()) {
        let (requests, sent, end) = read_requests(&mut Wire::new(&message.bytes, &[]));
        prop_assert_eq!(&end, &End::Clean);
        prop_assert_eq!(requests.len(), 1);
        let request = &requests[0];
        let line = (text(&request.method), text(&request.target));
        prop_assert_eq!((&line, &request.fields, &request.body, &request.trailers),
            (&message.line, &message.fields, &message.body, &message.trailers));
        for cuts in ways(message.bytes.len()) {
            let again = read_requests(&mut Wire::new(&message.bytes, &cuts));
            prop_assert_eq!(&again.0, &requests, "{:?}", cuts);
            prop_assert_eq!(&again.2, &End::Clean);
        }
        check_passed_on(&message, &sent[0])?;
    }

    #[test]
    fn a_response_means_the_same_at_every_cut(message in generate::response()) {
        let (whole, sent) = read_response(&mut Wire::new(&message.bytes, &[]), GET);
        let response = whole.clone().expect("a valid response");
        let line = (response.status.to_string(), text(&response.reason));
        prop_assert_eq!((&line, &response.fields, &response.body, &response.trailers),
            (&message.line, &message.fields, &message.body, &message.trailers));
        prop_assert_eq!(response.left, 0);
        for cuts in ways(message.bytes.len()) {
            let again = read_response(&mut Wire::new(&message.bytes, &cuts), GET).0;
            prop_assert_eq!(&again, &whole, "{:?}", cuts);
        }
        let again = read_response(&mut Wire::passed_on(&sent), GET).0.expect("what is sent is valid");
        prop_assert_eq!((again.status, &again.body, &again.trailers),
            (response.status, &response.body, &response.trailers));
        prop_assert_eq!(own(&again.fields), own(&message.fields));
    }

    #[test]
    fn two_requests_in_a_row_are_two_at_every_cut(
        first in generate::request(),
        second in generate::request(),
    ) {
        let both = [first.bytes.clone(), second.bytes.clone()].concat();
        for cuts in ways(both.len()) {
            let (requests, _, end) = read_requests(&mut Wire::new(&both, &cuts));
            prop_assert_eq!(end, End::Clean);
            let bodies: Vec<_> = requests.iter().map(|request| &request.body).collect();
            prop_assert_eq!(bodies, [&first.body, &second.body]);
        }
    }
}

/// The backend is sent the same request.
fn check_passed_on(message: &Message, sent: &[u8]) -> Result<(), TestCaseError> {
    let (again, _, end) = read_requests(&mut Wire::passed_on(sent));
    prop_assert_eq!(end, End::Clean);
    prop_assert_eq!(again.len(), 1);
    let line = (text(&again[0].method), text(&again[0].target));
    prop_assert_eq!(
        (&line, &again[0].body, &again[0].trailers),
        (&message.line, &message.body, &message.trailers)
    );
    prop_assert_eq!(own(&again[0].fields), own(&message.fields));
    Ok(())
}

/// The fields that no proxy touches.
fn own(fields: &[Pair]) -> Vec<Pair> {
    const TOUCHED: &[&str] = &["x-forwarded-", "x-real-ip", "x-request-id"];
    let is_own = |name: &str| {
        name == "accept"
            || name == "cookie"
            || (name.starts_with("x-") && !TOUCHED.iter().any(|t| name.starts_with(t)))
    };
    fields
        .iter()
        .filter(|(name, _)| is_own(&text(name).to_ascii_lowercase()))
        .cloned()
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
