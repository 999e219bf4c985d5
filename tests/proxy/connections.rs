//! Client connections as lastcall counts them, bounds them and gives them up.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::LIMIT;
use crate::support::backend::{self, Backend, Gate};
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

/// The established sockets of this machine, as `/proc/net/tcp` has them: local port, remote port, and the
/// time left until the next keep-alive probe.
fn probes() -> Vec<(u16, u16, Option<Duration>)> {
    const ESTABLISHED: &str = "01";
    const KEEP_ALIVE: &str = "02";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(&address[address.len() - 4..], 16).unwrap();
    let lines = table.lines().skip(1);
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields
        .filter(|fields| fields[3] == ESTABLISHED)
        .map(|fields| {
            let (timer, when) = fields[5].split_once(':').unwrap();
            let hundredths = u64::from_str_radix(when, 16).unwrap();
            let left = (timer == KEEP_ALIVE).then(|| Duration::from_millis(10 * hundredths));
            (port(fields[1]), port(fields[2]), left)
        })
        .collect()
}

#[test]
fn peers_that_are_silent_are_asked_whether_they_are_still_there() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Backend::start(move |_| backend::slow(&held, "slow"));
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut client = RawClient::sending(lastcall.address, GET);
    server.wait_for_requests(1);
    let ports = (lastcall.address.port(), server.address.port());
    let (mut to_client, mut to_server) = (None, None);
    wait_until("keep-alive on both sides", LIMIT, || {
        let probes = probes();
        to_client = probes
            .iter()
            .find(|(local, _, _)| *local == ports.0)
            .copied();
        to_server = probes
            .iter()
            .find(|(_, remote, _)| *remote == ports.1)
            .copied();
        let soon = |socket: Option<(u16, u16, Option<Duration>)>| {
            socket
                .and_then(|(_, _, left)| left)
                .is_some_and(|left| left <= Duration::from_mins(1))
        };
        if soon(to_client) && soon(to_server) {
            Ok(())
        } else {
            Err((to_client, to_server))
        }
    });
    gate.open();
    assert_eq!(client.read_response().status(), 200);
}

#[test]
fn a_client_that_is_not_allowed_any_more_is_sent_away_at_its_next_request() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]);
    let both = "allowedSources: [127.0.0.1/32, 127.0.0.2/32]";
    let mut lastcall = Lastcall::start(config.load_balancer(both));
    let second = IpAddr::from([127, 0, 0, 2]);
    let mut stays = kept(&lastcall);
    let mut leaves = RawClient::connect_from(second, lastcall.address);
    assert_eq!(leaves.ask(GET).status(), 200);
    let one = "allowedSources: [127.0.0.1/32]";
    lastcall.reload(lastcall.config().load_balancer(one));
    wait_until("the reload", LIMIT, || {
        let log = lastcall.log();
        let times = log.matches("configuration in service").count();
        if times == 2 { Ok(()) } else { Err(log) }
    });
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let answer = leaves.ask(upload);
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(leaves.read_to_end(), (Vec::new(), End::Fin));
    assert_eq!(stays.ask(GET).status(), 200);
    assert_eq!(server.seen().len(), 3);
}
