//! Copies of requests for a second Backend: what they are, that nobody waits for them, and that a drain does.

use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::backend::{self, Backend, Gate, Seen, Step};
use crate::support::{Config, End, Lastcall, RawClient, RawServer, wait_until};

const ALL: &str =
    "routes: [{filters: [{mirror: {backend: {name: shadow}}}], backends: [{name: web}]}]";

/// A lastcall before `web` whose requests are copied to `shadow`.
fn mirrored(web: &Backend, shadow: &Backend, routes: &str) -> Lastcall {
    let config = Config::new(&[web.address])
        .endpoints("shadow", &[shadow.address])
        .load_balancer(routes);
    Lastcall::start(config)
}

/// The copies so far, once there are so many and all of them are whole.
fn copies(shadow: &Backend, count: usize) -> Vec<Seen> {
    wait_until("the copies", crate::LIMIT, || {
        let seen = shadow.seen();
        if seen.len() == count && seen.iter().all(|one| one.complete) {
            Ok(seen)
        } else {
            Err(seen)
        }
    })
}

#[test]
fn a_copy_is_what_the_endpoint_got_with_its_body() {
    let (web, shadow) = (
        Backend::echo(),
        Backend::start(|_| backend::ok("thrown away")),
    );
    let lastcall = mirrored(&web, &shadow, ALL);
    let mut client = RawClient::connect(lastcall.address);
    let large = "x".repeat(60_000);
    let requests = [
        "GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n".to_owned(),
        "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n".to_owned(),
        format!("PUT /d HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{large}", large.len()),
        "POST /e HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
    ];
    for (at, request) in requests.iter().enumerate() {
        client.ask(request);
        let copy = copies(&shadow, at + 1).pop().unwrap();
        let original = web.seen().pop().unwrap();
        assert_eq!((copy.head, copy.body), (original.head, original.body));
    }
    lastcall.wait_for_metric("lastcall_mirrored_total{result=\"answered\"}", 5.0);
    // One connection serves them all.
    assert!(shadow.connections() <= 2, "{}", shadow.connections());
}

#[test]
fn nobody_waits_for_a_copy_and_what_becomes_of_it_is_nobodys_concern() {
    let gate = Gate::new();
    let held = gate.clone();
    let (web, shadow) = (
        Backend::echo(),
        Backend::start(move |_| backend::slow(&held, "")),
    );
    let mut lastcall = mirrored(&web, &shadow, ALL);
    let mut client = RawClient::connect(lastcall.address);
    let mut ask = |body: &str| {
        let length = body.len();
        let answer = client.ask(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        (answer.status(), answer.body_text())
    };
    assert_eq!(ask("one"), (200, "one".to_owned()));
    shadow.wait_for_requests(1);
    assert_eq!(ask("two"), (200, "two".to_owned()));
    shadow.wait_for_requests(2);
    gate.open();
    lastcall.wait_for_metric("lastcall_mirrored_total{result=\"answered\"}", 2.0);

    // Too long a body has no copy.
    let large = "x".repeat(70_000);
    assert_eq!(ask(&large), (200, large));
    lastcall.wait_for_metric("lastcall_mirrored_total{result=\"skipped\"}", 1.0);

    let broken = Backend::raw("nonsense");
    let config = lastcall.config().endpoints("shadow", &[broken.address]);
    lastcall.reload(config);
    wait_until("a broken copy", crate::LIMIT, || {
        assert_eq!(ask("three"), (200, "three".to_owned()));
        match lastcall.count("lastcall_mirrored_total{result=\"failed\"}") {
            Some(1..) => Ok(()),
            other => Err(other),
        }
    });
    // Without an endpoint, and without the Backend, there are no copies, and the requests go on.
    let config = lastcall.config().endpoints("shadow", &[]);
    lastcall.reload(config);
    wait_until("no copy", crate::LIMIT, || {
        assert_eq!(ask("four"), (200, "four".to_owned()));
        match lastcall.count("lastcall_mirrored_total{result=\"skipped\"}") {
            Some(2..) => Ok(()),
            other => Err(other),
        }
    });
    let gone = ALL.replace("shadow", "nowhere");
    let config = lastcall.config().load_balancer(&gone);
    lastcall.reload(config);
    lastcall.wait_for_metric("lastcall_config_reloads_total{result=\"ok\"}", 4.0);
    assert_eq!(ask("five"), (200, "five".to_owned()));
}

#[test]
fn a_share_of_the_requests_is_copied() {
    let (web, shadow) = (Backend::echo(), Backend::start(|_| backend::ok("")));
    let routes = ALL.replace("{name: shadow}", "{name: shadow}, percent: 25");
    let lastcall = mirrored(&web, &shadow, &routes);
    let mut client = RawClient::connect(lastcall.address);
    for _ in 0..400 {
        client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let copied = || lastcall.count("lastcall_mirrored_total{result=\"answered\"}");
    // Of 400 at a quarter: outside of this once in some ten million runs.
    wait_until("a share", crate::LIMIT, || match copied() {
        Some(count @ 55..=145) if shadow.seen().len() as u64 == count => Ok(()),
        other => Err(other),
    });
}

#[test]
fn a_request_that_is_sent_again_has_one_copy_and_an_upgrade_none() {
    let web = Backend::start(|seen| match (seen.target(), seen.connection) {
        ("/again", 0) => vec![Step::Close],
        ("/ws", _) => backend::websocket(),
        _ => backend::ok("web"),
    });
    let second = Backend::start(|seen| match seen.target() {
        "/ws" => backend::websocket(),
        _ => backend::ok("web"),
    });
    let shadow = Backend::start(|_| backend::ok(""));
    let config = Config::new(&[web.address, second.address])
        .endpoints("shadow", &[shadow.address])
        .load_balancer(ALL);
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::connect(lastcall.address);
    // Until it was the turn of the one that closes.
    wait_until("a second attempt", crate::LIMIT, || {
        let answer = client.ask("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer.body_text(), "web");
        match lastcall.count("lastcall_retries_total") {
            Some(1..) => Ok(()),
            other => Err(other),
        }
    });
    client.ask("GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
    let asked = web.seen().len() + second.seen().len() - 1;
    lastcall.wait_for_metric(
        "lastcall_mirrored_total{result=\"answered\"}",
        f64::from(u32::try_from(asked).unwrap()),
    );
    let switched = client.ask(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(switched.status(), 101);
    let mut client = RawClient::connect(lastcall.address);
    client.ask("GET /end HTTP/1.1\r\nHost: a\r\n\r\n");
    let copied = copies(&shadow, asked + 1);
    assert!(copied.iter().all(|copy| copy.target() != "/ws"));
    assert_eq!(copied.last().unwrap().target(), "/end");
}

/// DESIGN section 4: mirrored requests enter the gate, too.
#[test]
fn a_drain_waits_for_copies_and_cuts_them_at_its_deadline() {
    let gate = Gate::new();
    let held = gate.clone();
    let (web, shadow) = (
        Backend::echo(),
        Backend::start(move |_| backend::slow(&held, "")),
    );
    let mut lastcall = mirrored(&web, &shadow, ALL);
    let in_flight = format!(
        "lastcall_endpoint_in_flight{{namespace=\"default\",backend=\"shadow\",endpoint=\"{}\"}}",
        shadow.address
    );
    let mut client = RawClient::connect(lastcall.address);
    let mut ask = || client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status();
    assert_eq!(ask(), 200);
    shadow.wait_for_requests(1);
    lastcall.wait_for_metric(&in_flight, 1.0);

    let drains = |lastcall: &mut Lastcall, seconds: u32| {
        let mut config = lastcall.config().backend(
            "shadow",
            &format!("connectionDraining: {{timeoutSeconds: {seconds}}}"),
        );
        config.set_endpoints_as(
            "shadow",
            &[&format!(
                "address: 127.0.0.1, port: {}, adminState: Draining",
                shadow.address.port()
            )],
        );
        lastcall.reload(config);
    };
    drains(&mut lastcall, 300);
    wait_until("no more copies", crate::LIMIT, || {
        assert_eq!(ask(), 200);
        match lastcall.count("lastcall_mirrored_total{result=\"skipped\"}") {
            Some(1..) => Ok(()),
            other => Err(other),
        }
    });
    let held_now = lastcall.count(&in_flight).unwrap();
    assert!(held_now >= 1, "it waits");
    let config = lastcall.config();
    lastcall.reload(config.backend("shadow", "connectionDraining: {enabled: false}"));
    lastcall.wait_for_metric(&in_flight, 0.0);
    assert!(lastcall.count("lastcall_cuts_total").unwrap() >= 1);
    gate.open();
}

/// A copy that is in flight on an endpoint as lastcall is told to end, and its clients are gone.
fn left_behind(timeout: &str) -> (Lastcall, RawClient) {
    let (web, shadow) = (Backend::echo(), RawServer::start());
    let config = Config::new(&[web.address])
        .endpoints("shadow", &[shadow.address])
        .load_balancer(ALL)
        .flag(timeout);
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status(), 200);
    let mut endpoint = shadow.accept();
    endpoint.read_until("\r\n\r\n");
    drop(client);
    lastcall.signal(Signal::TERM);
    let address = lastcall.address;
    wait_until(
        "the port to be closed",
        crate::LIMIT,
        || match TcpStream::connect(address) {
            Ok(_) => Err("it is open"),
            Err(_) => Ok(()),
        },
    );
    (lastcall, endpoint)
}

#[test]
fn lastcalls_own_end_waits_for_copies() {
    let (mut lastcall, mut endpoint) = left_behind("--shutdown-timeout=60s");
    assert_eq!(endpoint.end_now(), End::Open);
    endpoint.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(endpoint.read_to_end(), (Vec::new(), End::Fin));
    lastcall.wait();
    assert!(lastcall.log().contains("cut=0"), "{}", lastcall.log());
}

#[test]
fn lastcalls_own_end_cuts_and_counts_copies_that_take_too_long() {
    let (mut lastcall, mut endpoint) = left_behind("--shutdown-timeout=200ms");
    assert_eq!(endpoint.read_to_end().0, b"");
    lastcall.wait();
    assert!(lastcall.log().contains("cut=1"), "{}", lastcall.log());
}
