//! Law 7: a request of which nothing was sent can always be tried elsewhere; one that was sent only where
//! that is safe. The judge is what the servers have seen.

use std::net::SocketAddr;

use crate::support::backend::{self, Backend, Seen, Step};
use crate::support::client::Answer;
use crate::support::{Config, Lastcall, RawClient, free_port, wait_until};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// How often each of the servers has seen a request for `path`.
fn times_seen(servers: &[&Backend], path: &str) -> usize {
    let seen = servers.iter().flat_map(|server| server.seen());
    seen.filter(|seen| seen.target() == path).count()
}

#[test]
fn what_cannot_be_sent_to_one_endpoint_goes_to_another_whatever_it_is() {
    let server = Backend::start(|seen| backend::ok(seen.target()));
    let lastcall = Lastcall::start(Config::new(&[nobody(), server.address, nobody()]));
    let mut client = RawClient::connect(lastcall.address);
    for at in 0..12 {
        let path = format!("/{at}");
        let request = if at % 2 == 0 { post(&path) } else { get(&path) };
        assert_eq!(client.ask(request).body_text(), path);
        assert_eq!(times_seen(&[&server], &path), 1);
    }
    let failures = lastcall.metric("lastcall_upstream_connect_failures_total");
    assert!(failures > Some(3.0), "{failures:?}");
    assert_eq!(lastcall.metric("lastcall_retries_total"), failures);
}

#[test]
fn where_no_endpoint_can_be_reached_the_client_is_told() {
    let lastcall = Lastcall::start(Config::new(&[nobody(), nobody()]));
    for request in [get("/"), post("/")] {
        let answer = RawClient::connect(lastcall.address).ask(request);
        assert_eq!(
            (answer.status(), answer.field("Retry-After")),
            (502, Some("1"))
        );
    }
    lastcall.wait_for_metric("lastcall_upstream_connect_failures_total", 4.0);
}

/// A server that takes requests and then breaks off without an answer.
fn breaking() -> Backend {
    Backend::start(|_| vec![Step::Reset])
}

/// What comes of one request to three servers that break off, and how often they have seen it.
fn broken(attempts: u32, request: &str) -> (Answer, usize) {
    let servers = [breaking(), breaking(), breaking()];
    let addresses = servers.each_ref().map(|server| server.address);
    let config =
        Config::new(&addresses).backend("web", &format!("retry: {{attempts: {attempts}}}"));
    let lastcall = Lastcall::start(config);
    // Its head is enough: to HEAD there is no more.
    let answer = RawClient::sending(lastcall.address, request).read_head();
    (answer, times_seen(&servers.each_ref(), "/x"))
}

#[test]
fn what_was_sent_is_sent_again_only_where_twice_is_as_good_as_once() {
    for (attempts, seen) in [(0, 1), (1, 2), (2, 3), (10, 3)] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let request = format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n");
            let (answer, times) = broken(attempts, &request);
            assert_eq!(
                (answer.status(), times),
                (502, seen),
                "{method}, {attempts} more"
            );
        }
    }
    for request in [
        post("/x"),
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PATCH /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "get /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        // Its body is gone with the first attempt.
        "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            .to_owned(),
    ] {
        let (answer, times) = broken(10, &request);
        assert_eq!((answer.status(), times), (502, 1), "{request}");
    }
}

#[test]
fn another_endpoint_answers_what_one_broke_off() {
    let servers = [breaking(), Backend::start(|_| backend::ok("saved"))];
    let lastcall = Lastcall::start(Config::new(
        &servers.each_ref().map(|server| server.address),
    ));
    let mut client = RawClient::connect(lastcall.address);
    for at in 0..4 {
        let answer = client.ask(get(&format!("/{at}")));
        assert_eq!(answer.body_text(), "saved");
        assert_eq!(times_seen(&[&servers[1]], &format!("/{at}")), 1);
    }
    let tried = u32::try_from(servers[0].seen().len()).unwrap();
    assert!(tried > 0);
    lastcall.wait_for_metric("lastcall_retries_total", f64::from(tried));
}

/// A server that answers the first request of each connection, and gives the connection up as soon as it
/// has read the next: as one whose idle timeout comes at the same moment.
fn gives_up_kept_connections() -> Backend {
    let known = std::sync::Mutex::new(std::collections::HashSet::new());
    Backend::start(move |seen: &Seen| {
        if known.lock().unwrap().insert(seen.connection) {
            backend::ok(seen.target())
        } else {
            vec![Step::Reset]
        }
    })
}

#[test]
fn a_kept_connection_that_its_server_gives_up_is_no_reason_to_fail_a_get() {
    // One endpoint only: there is nobody else to ask but the same one, anew.
    let server = gives_up_kept_connections();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut client = RawClient::connect(lastcall.address);
    for at in 0..4 {
        let path = format!("/{at}");
        assert_eq!(client.ask(get(&path)).body_text(), path);
        let times = if at == 0 { 1 } else { 2 };
        assert_eq!(times_seen(&[&server], &path), times, "{path}");
    }
    // But one that does so on every connection is asked no more often than the policy says.
    let server = breaking();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let answer = RawClient::connect(lastcall.address).ask(get("/x"));
    assert_eq!((answer.status(), times_seen(&[&server], "/x")), (502, 1));
}

#[test]
fn a_post_that_was_sent_on_a_kept_connection_is_never_sent_twice() {
    let servers = [gives_up_kept_connections(), gives_up_kept_connections()];
    let lastcall = Lastcall::start(Config::new(
        &servers.each_ref().map(|server| server.address),
    ));
    let mut client = RawClient::connect(lastcall.address);
    let mut failed = 0;
    for at in 0..8 {
        let path = format!("/{at}");
        let answer = client.ask(post(&path));
        failed += usize::from(answer.status() == 502);
        assert_eq!(times_seen(&servers.each_ref(), &path), 1, "{path}");
    }
    // The control: kept connections were used, and did fail.
    assert_eq!(failed, 4);
}

#[test]
fn a_kept_connection_that_was_closed_before_is_not_used_at_all() {
    // Says that it keeps the connection, and closes it.
    let server = Backend::start(|_| {
        let mut steps = backend::ok("ok");
        steps.push(Step::Close);
        steps
    });
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut client = RawClient::connect(lastcall.address);
    for at in 0..10 {
        // Not even a POST may be lost to it, for nothing of it was sent.
        assert_eq!(client.ask(post(&format!("/{at}"))).status(), 200);
        wait_until("the connection to end", crate::LIMIT, || {
            match server.open_connections() {
                0 => Ok(()),
                open => Err(open),
            }
        });
    }
    assert_eq!((server.connections(), server.seen().len()), (10, 10));
}
