//! Client connections as lastcall counts them, bounds them and gives them up.

use std::net::{SocketAddr, TcpStream};

use crate::LIMIT;
use crate::support::backend::Backend;
use crate::support::{Config, End, Lastcall, RawClient, free_port, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const OPEN: &str = r#"lastcall_connections{load_balancer="default/test",listener="http"}"#;

/// A client whose first request was answered, on a connection that is kept.
fn kept(lastcall: &Lastcall) -> RawClient {
    let mut client = RawClient::connect(lastcall.address);
    assert_eq!(client.ask(GET).status(), 200);
    client
}

/// Adds a listener to the running configuration, and waits until it listens.
fn listen_too(lastcall: &Lastcall) {
    let port = free_port();
    let listener = format!("protocol: HTTP}}, {{name: more, port: {port}, protocol: HTTP}}]");
    let yaml = lastcall.config().yaml();
    let more = yaml.replace("protocol: HTTP}]", &listener);
    assert_ne!(more, yaml);
    lastcall.folder.write("test.yaml", &more);
    let address = SocketAddr::new(lastcall.address.ip(), port);
    wait_until("the second listener", LIMIT, || TcpStream::connect(address));
}

#[test]
fn connections_from_before_a_change_of_listeners_are_given_up_after_it() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]).load_balancer("limits: {connections: 2}");
    let lastcall = Lastcall::start(config);
    let clients = [kept(&lastcall), kept(&lastcall)];
    listen_too(&lastcall);
    // They still count.
    assert_eq!(RawClient::connect(lastcall.address).ask(GET).status(), 429);
    drop(clients);
    lastcall.wait_for_metric(OPEN, 0.0);
    kept(&lastcall);
}

/// A client over the limit: what it got, on a connection that it keeps open.
fn one_too_many(lastcall: &Lastcall) -> (Vec<u8>, RawClient) {
    let mut client = RawClient::connect(lastcall.address);
    let (bytes, end) = client.read_to_end();
    assert_ne!(end, End::Open);
    (bytes, client)
}

#[test]
fn clients_that_are_turned_away_take_no_place_and_are_bounded_themselves() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]).load_balancer("limits: {connections: 1}");
    let lastcall = Lastcall::start(config);
    let served = kept(&lastcall);
    let turned_away: Vec<_> = (0..5).map(|_| one_too_many(&lastcall)).collect();
    for (bytes, _) in &turned_away {
        assert!(bytes.starts_with(b"HTTP/1.1 429 "), "{bytes:?}");
    }
    assert_eq!(lastcall.metric(OPEN), Some(1.0));
    // More than are told why: the rest is only closed.
    let crowd: Vec<_> = (0..100).map(|_| one_too_many(&lastcall)).collect();
    let silent = crowd.iter().filter(|(bytes, _)| bytes.is_empty()).count();
    assert!(silent > 0, "every one of {} was answered", crowd.len());
    assert_eq!(lastcall.metric(OPEN), Some(1.0));
    drop(served);
    lastcall.wait_for_metric(OPEN, 0.0);
    kept(&lastcall);
}
