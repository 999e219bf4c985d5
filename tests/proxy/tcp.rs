//! TCP listeners: bytes both ways from whichever side speaks first, half-close, breaking off, and which
//! endpoint takes a connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::{Config, End, Lastcall, RawClient, RawServer, free_port, wait_until};

fn serve(server: &RawServer) -> Lastcall {
    Lastcall::start(Config::new(&[server.address]).tcp())
}

/// A client and its connection at the server.
fn through(lastcall: &Lastcall, server: &RawServer) -> (RawClient, RawClient) {
    (RawClient::connect(lastcall.address), server.accept())
}

fn ended(end: &str) -> String {
    format!("lastcall_tcp_connections_ended_total{{end=\"{end}\"}}")
}

/// An address of this machine where nobody listens.
fn nobody() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

#[test]
fn a_server_that_speaks_first_is_heard_by_a_client_that_says_nothing() {
    let server = RawServer::start();
    let lastcall = serve(&server);
    let (mut client, mut at_server) = through(&lastcall, &server);
    lastcall.wait_for_in_flight(server.address, 1);
    lastcall.wait_for_metric("lastcall_tcp_connections", 1.0);
    at_server.send("220 ready\r\n");
    assert_eq!(client.read_until("ready\r\n"), b"220 ready\r\n");
    client.send("HELO\r\n");
    assert_eq!(at_server.read_until("HELO\r\n"), b"HELO\r\n");
    // Not a request, whatever the bytes are like.
    client.send("GET / HTTP/1.1\r\n\r\n");
    at_server.read_until("GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn each_side_may_end_first_and_still_hears_the_other() {
    let server = RawServer::start();
    let lastcall = serve(&server);
    let (mut client, mut at_server) = through(&lastcall, &server);
    client.send("question");
    client.half_close();
    assert_eq!(at_server.read_to_end(), (b"question".to_vec(), End::Fin));
    at_server.send("an answer, later");
    client.read_until("later");
    lastcall.wait_for_in_flight(server.address, 1);
    drop(at_server);
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    lastcall.wait_for_in_flight(server.address, 0);

    let (mut client, mut at_server) = through(&lastcall, &server);
    at_server.send("go on");
    at_server.half_close();
    assert_eq!(client.read_to_end(), (b"go on".to_vec(), End::Fin));
    client.send("last words");
    at_server.read_until("last words");
    drop(client);
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Fin));
    lastcall.wait_for_in_flight(server.address, 0);
    lastcall.wait_for_metric(&ended("closed"), 2.0);
    lastcall.wait_for_metric("lastcall_tcp_connections", 0.0);
}

#[test]
fn a_side_that_breaks_off_resets_the_other() {
    let server = RawServer::start();
    let lastcall = serve(&server);
    let (mut client, at_server) = through(&lastcall, &server);
    at_server.reset();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    let (client, mut at_server) = through(&lastcall, &server);
    client.reset();
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Reset));
    lastcall.wait_for_metric(&ended("broken"), 2.0);
    lastcall.wait_for_in_flight(server.address, 0);
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_passed_over() {
    let server = RawServer::start();
    let dead = [nobody(), nobody(), server.address];
    let lastcall = Lastcall::start(Config::new(&dead).tcp());
    for _ in 0..6 {
        let (mut client, mut at_server) = through(&lastcall, &server);
        client.send("x");
        at_server.read_until("x");
    }
    let failures = lastcall.count("lastcall_upstream_connect_failures_total");
    assert!(failures >= Some(4), "{failures:?}");
}

#[test]
fn where_nobody_takes_a_connection_it_is_reset() {
    let lastcall = Lastcall::start(Config::new(&[nobody()]).tcp());
    assert!(RawClient::is_reset_at_once(lastcall.address));
    lastcall.wait_for_metric(&ended("unserved"), 1.0);
}

#[test]
fn a_connection_on_which_nothing_happens_is_reset_and_one_that_is_used_is_not() {
    let server = RawServer::start();
    let config = Config::new(&[server.address])
        .tcp()
        .backend("web", "timeouts: {tunnelIdle: 4s}");
    let lastcall = Lastcall::start(config);
    let begin = Instant::now();
    let (mut idle, mut at_server) = through(&lastcall, &server);
    let (mut used, mut used_at_server) = through(&lastcall, &server);
    let end = loop {
        match idle.end_now() {
            End::Open => {}
            end => break end,
        }
        used.send("x");
        used_at_server.read_exactly(1);
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(begin.elapsed() >= Duration::from_millis(3900));
    assert_eq!(end, End::Reset);
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Reset));
    used.send("still here");
    used_at_server.read_until("still here");
    lastcall.wait_for_metric(&ended("idle"), 1.0);
    lastcall.wait_for_in_flight(server.address, 1);
}

#[test]
fn one_connection_too_many_and_one_from_elsewhere_are_turned_away() {
    let server = RawServer::start();
    let config = Config::new(&[server.address])
        .tcp()
        .load_balancer("limits: {connections: 1}")
        .load_balancer("allowedSources: [127.0.0.1/32]");
    let lastcall = Lastcall::start(config);
    let (_client, _at_server) = through(&lastcall, &server);
    assert!(RawClient::is_reset_at_once(lastcall.address));
    let mut other = RawClient::connect_from([127, 0, 0, 2].into(), lastcall.address);
    let (bytes, end) = other.read_to_end();
    assert!(bytes.is_empty() && end != End::Open);
    assert!(server.try_accept().is_none());
    lastcall.wait_for_metric("lastcall_refused_total{reason=\"connection\"}", 2.0);
}

#[test]
fn connections_are_spread_over_endpoints() {
    let servers = [RawServer::start(), RawServer::start()];
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let lastcall = Lastcall::start(
        Config::new(&addresses)
            .tcp()
            .backend("web", "balance: {policy: LeastRequest}"),
    );
    let mut open = Vec::new();
    for _ in 0..10 {
        let client = RawClient::connect(lastcall.address);
        let at_server = wait_until("the connection", crate::LIMIT, || {
            servers
                .iter()
                .find_map(RawServer::try_accept)
                .ok_or("nowhere")
        });
        open.push((client, at_server));
    }
    // Two choices of two: always the one with less.
    for address in addresses {
        lastcall.wait_for_in_flight(address, 5);
    }
}
