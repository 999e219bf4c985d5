//! The courses an exchange can take, by examples.

use super::*;

const GET: Event = Event::RequestHead {
    keep_alive: true,
    has_body: false,
};
const POST: Event = Event::RequestHead {
    keep_alive: true,
    has_body: true,
};
const OPEN: Event = Event::ResponseHead { close: false };
const CLOSE: Event = Event::ResponseHead { close: true };
const FAULT: Event = Event::RequestFault {
    answer: Answer::Told,
};
const SILENT: Event = Event::RequestFault {
    answer: Answer::Silent,
};

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn each_course_of_events_leads_where_it_must() {
    use Event::{
        ClientEof, Lingered, RequestBodyAbandoned, RequestBodyFinished, ResponseCut,
        ResponseFinished, ShuttingDown, Switched,
    };
    let once = Event::RequestHead {
        keep_alive: false,
        has_body: false,
    };
    for (name, events, next) in [
        ("kept", &[GET, OPEN, ResponseFinished][..], Next::ReadHead),
        ("twice", &[GET, OPEN, ResponseFinished, GET], Next::Continue),
        (
            "close asked",
            &[once, CLOSE, ResponseFinished],
            Next::Linger,
        ),
        (
            "body sent",
            &[POST, RequestBodyFinished, OPEN, ResponseFinished],
            Next::ReadHead,
        ),
        (
            "early answer",
            &[POST, OPEN, ResponseFinished],
            Next::Continue,
        ),
        (
            "early answer, body still read",
            &[POST, OPEN, ResponseFinished, RequestBodyFinished],
            Next::ReadHead,
        ),
        (
            "early answer, body given up",
            &[POST, OPEN, ResponseFinished, RequestBodyAbandoned],
            Next::Linger,
        ),
        (
            "given up before the head",
            &[
                POST,
                RequestBodyAbandoned,
                CLOSE,
                ResponseFinished,
                Lingered,
            ],
            Next::Close,
        ),
        ("half-closed client", &[GET, ClientEof], Next::Continue),
        (
            "half-closed client, answered",
            &[GET, ClientEof, OPEN, ResponseFinished],
            Next::ReadWhatIsHere,
        ),
        (
            "half-closed, closing",
            &[GET, ClientEof, CLOSE, ResponseFinished],
            Next::Close,
        ),
        ("broken off in the body", &[POST, ClientEof], Next::Close),
        (
            "broken off while answered",
            &[POST, OPEN, ClientEof],
            Next::Reset,
        ),
        ("gone while idle", &[ClientEof], Next::ReadWhatIsHere),
        ("bad head", &[FAULT], Next::Answer),
        (
            "bad head, answered",
            &[FAULT, CLOSE, ResponseFinished],
            Next::Linger,
        ),
        ("no HTTP", &[SILENT], Next::Close),
        ("bad body", &[POST, FAULT], Next::Answer),
        ("bad body while answered", &[POST, OPEN, FAULT], Next::Reset),
        (
            "bad body after the answer",
            &[POST, OPEN, ResponseFinished, FAULT],
            Next::Linger,
        ),
        ("backend broke off", &[GET, OPEN, ResponseCut], Next::Reset),
        ("backend said nothing", &[GET, ResponseCut], Next::Answer),
        (
            "502, kept",
            &[GET, ResponseCut, OPEN, ResponseFinished],
            Next::ReadHead,
        ),
        ("upgrade", &[GET, Switched], Next::Tunnel),
        ("shut down idle", &[ShuttingDown], Next::ReadWhatIsHere),
        (
            "shut down, late request",
            &[ShuttingDown, GET],
            Next::Continue,
        ),
        (
            "shut down within",
            &[GET, ShuttingDown, CLOSE, ResponseFinished],
            Next::Linger,
        ),
        (
            "shut down after the head",
            &[GET, OPEN, ShuttingDown, ResponseFinished],
            Next::ReadWhatIsHere,
        ),
    ] {
        let mut connection = ClientConnection::new();
        let mut last = None;
        for event in events {
            last = Some(connection.on(*event).unwrap());
        }
        assert_eq!(last, Some(next), "{name}");
    }
}

#[test]
fn a_head_that_promises_too_much_is_refused() {
    for events in [
        &[FAULT][..],
        &[GET, Event::ShuttingDown],
        &[POST, Event::RequestBodyAbandoned],
    ] {
        let mut connection = ClientConnection::new();
        for event in events {
            connection.on(*event).unwrap();
        }
        assert!(connection.must_close());
        assert_eq!(connection.on(OPEN), Err(IllegalEvent(OPEN)));
        assert_eq!(connection.on(CLOSE), Ok(Next::Continue));
    }
}

#[test]
fn what_cannot_come_is_refused_and_changes_nothing() {
    use Event::{RequestBodyFinished, ResponseFinished, Switched};
    for (before, event) in [
        (&[][..], RequestBodyFinished),
        (&[], OPEN),
        (&[], ResponseFinished),
        (&[GET], GET),
        (&[GET], RequestBodyFinished),
        (&[GET], ResponseFinished),
        (&[GET], FAULT),
        (&[GET, OPEN], OPEN),
        (&[GET, OPEN], Switched),
        (&[POST], Switched),
        (&[GET, Switched], OPEN),
        (&[GET, Switched], ResponseFinished),
        (&[SILENT], GET),
        (&[GET], Event::Lingered),
    ] {
        let mut connection = ClientConnection::new();
        for event in before {
            connection.on(*event).unwrap();
        }
        let was = connection;
        assert_eq!(connection.on(event), Err(IllegalEvent(event)), "{before:?}");
        assert_eq!(connection, was);
    }
}

#[test]
fn a_backend_connection_is_kept_only_if_nothing_is_left_on_it() {
    let clean = UpstreamEnd {
        request_sent: true,
        response_finished: true,
        keep_alive: true,
        leftover: false,
    };
    assert_eq!(after_response(clean), Reuse::Pool);
    for dirty in [
        UpstreamEnd {
            request_sent: false,
            ..clean
        },
        UpstreamEnd {
            response_finished: false,
            ..clean
        },
        UpstreamEnd {
            keep_alive: false,
            ..clean
        },
        UpstreamEnd {
            leftover: true,
            ..clean
        },
    ] {
        assert_eq!(after_response(dirty), Reuse::Close);
    }
}
