//! What an attempt that was not answered means, and what its client is told.

use std::time::{Duration, Instant};

use h2::Reason;

use super::{Truncated, Unanswered, may_go_on};
use crate::model::Limits;
use crate::proxy::grpc;
use crate::proxy::http1::{HeadLimits, RequestHead, parse_request};

fn head(request: &str) -> RequestHead {
    let text = format!("{request}\r\nHost: a\r\n\r\n");
    let limits = HeadLimits::from(&Limits::default());
    let parsed = parse_request(text.as_bytes(), &limits, &mut Vec::new());
    parsed.unwrap().unwrap().0
}

#[test]
fn what_was_not_looked_at_is_asked_again_and_else_only_what_may_come_twice() {
    let get = "GET / HTTP/1.1";
    let upload = "PUT / HTTP/1.1\r\nContent-Length: 5";
    let upgrade = "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket";
    let broken = Unanswered::Broken("x".to_owned());
    for (request, resends, why, sent, want) in [
        // Nothing was sent, or nothing was looked at: whatever it is, however often.
        (upload, 0, Unanswered::Closed, 0, true),
        (upload, 0, Unanswered::Unprocessed, 1, true),
        (upgrade, 0, Unanswered::Unprocessed, 1, true),
        (upload, 0, Unanswered::Leaving, 1, true),
        // It was sent: where twice is as good as once, without a body, and as often as is allowed.
        (get, 1, Unanswered::Closed, 1, true),
        (get, 1, broken.clone(), 1, true),
        (get, 0, Unanswered::Closed, 1, false),
        (upload, 1, Unanswered::Closed, 1, false),
        (upgrade, 1, Unanswered::Closed, 1, false),
        ("POST / HTTP/1.1", 1, Unanswered::Closed, 1, false),
        (get, 1, Unanswered::Reset(Reason::CANCEL), 1, true),
        (upload, 1, Unanswered::Reset(Reason::CANCEL), 1, false),
        // Who has waited once does not wait again.
        (get, 1, Unanswered::TimedOut, 1, false),
    ] {
        let mut left = resends;
        let got = may_go_on(&head(request), &why, sent, &mut left);
        assert_eq!(got, want, "{request} {why:?}");
        let spent = want && sent > 0 && !why.is_unprocessed();
        assert_eq!(resends - left, u32::from(spent), "{request} {why:?}");
    }
}

#[test]
fn only_what_says_little_of_the_endpoint_has_it_asked_again() {
    for (why, kept, want) in [
        (Unanswered::Leaving, false, true),
        (Unanswered::Leaving, true, true),
        (Unanswered::Closed, true, true),
        (Unanswered::Closed, false, false),
        (Unanswered::Unprocessed, true, false),
        (Unanswered::TimedOut, true, false),
        (Unanswered::Reset(Reason::CANCEL), true, false),
    ] {
        assert_eq!(why.is_of_connection(kept), want, "{why:?} {kept}");
    }
}

#[test]
fn who_may_come_again_is_told_so() {
    let broken = Unanswered::Broken("for the log".to_owned());
    for (why, status, again) in [
        (Unanswered::Closed, 502, None),
        (broken, 502, None),
        (Unanswered::Unprocessed, 503, Some(1)),
        (Unanswered::Leaving, 503, Some(1)),
        (Unanswered::TimedOut, 504, None),
        (Unanswered::Reset(Reason::CANCEL), 502, None),
    ] {
        let answer = why.answer();
        assert_eq!((answer.status, answer.retry_after), (status, again));
        assert!(!answer.detail.contains("for the log"));
    }
}

#[test]
fn a_call_that_is_reset_at_its_deadline_is_over_its_time_and_else_says_what_its_server_did() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let cancel = Reason::CANCEL;
    for (how, deadline, want) in [
        (Truncated::Reset(cancel), None, 1),
        (Truncated::Reset(cancel), Some(later), 1),
        (Truncated::Reset(cancel), Some(now), 4),
        (Truncated::Reset(Reason::REFUSED_STREAM), None, 14),
        (Truncated::Reset(Reason::ENHANCE_YOUR_CALM), None, 8),
        (Truncated::Reset(Reason::INADEQUATE_SECURITY), None, 7),
        (Truncated::Reset(Reason::INTERNAL_ERROR), Some(now), 13),
        (Truncated::Reset(Reason::NO_ERROR), None, 13),
        (Truncated::TimedOut, Some(now), 4),
        (Truncated::TimedOut, Some(later), 14),
        (Truncated::Closed, Some(now), 14),
    ] {
        assert_eq!(how.of_call(deadline, now), want, "{how:?} {deadline:?}");
        let Truncated::Reset(code) = how else {
            continue;
        };
        let why = Unanswered::Reset(code).of_call(deadline, now);
        let answer = why.answer();
        let said = answer
            .grpc_status
            .unwrap_or_else(|| grpc::status(answer.status));
        assert_eq!(said, want, "{code:?} {deadline:?}");
    }
}
