//! Clients that do not read what there is for them, for a while: nothing of it is lost, and nothing gets
//! into the middle of something else.

use std::time::Duration;

use crate::support::backend::{self, Backend, Step};
use crate::support::{Config, End, Lastcall, RawClient};

const SIZE: usize = 50_000;

/// An interim response, larger than what fits between lastcall and a narrow client together with another.
fn hints() -> Step {
    let link = "x".repeat(SIZE);
    Step::Send(format!("HTTP/1.1 103 Early Hints\r\nLink: {link}\r\n\r\n").into_bytes())
}

#[test]
fn a_100_of_our_own_waits_until_what_is_half_out_is_out() {
    let server = Backend::at_head(|_| {
        let mut steps = vec![hints(); 4];
        steps.push(Step::ReadBody);
        steps.extend(backend::ok("thanks"));
        steps
    });
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut client = RawClient::connect_narrow(lastcall.address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    // Time itself is the condition: for longer than a client waits for a 100 it does not read.
    std::thread::sleep(Duration::from_millis(1300));
    let mut hints = 0;
    loop {
        let head = client.read_head();
        if head.status() == 100 {
            break;
        }
        assert_eq!(head.status(), 103, "{}", &head.head[..100]);
        assert_eq!(head.field("Link").map(str::len), Some(SIZE));
        hints += 1;
    }
    assert_eq!(client.ask("hello").body_text(), "thanks");
    assert_eq!(hints, 4);
}

#[test]
fn an_answer_that_was_sent_whole_is_not_erased_by_a_client_that_stops_its_upload() {
    let server = Backend::at_head(|_| backend::ok("early"));
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut client = RawClient::sending(
        lastcall.address,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
    );
    client.read_until("early");
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    lastcall.wait_for_in_flight(server.address, 0);
}
