//! How endpoints with TCP connections leave, and how lastcall itself does: a connection is in flight as long
//! as it is open, and one that is cut never looks as if it had ended by itself.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Config, End, Lastcall, RawClient, RawServer, wait_until};

struct Pair {
    a: RawServer,
    b: RawServer,
    lastcall: Lastcall,
}

impl Pair {
    fn start() -> Self {
        let (a, b) = (RawServer::start(), RawServer::start());
        let lastcall = Lastcall::start(Config::new(&[a.address, b.address]).tcp());
        Self { a, b, lastcall }
    }

    fn cli(&self, command: &[&str]) {
        let target = format!("be/web/{}", self.a.address);
        let output = self.lastcall.cli(&[command, &[&target]].concat());
        assert!(output.status.success(), "{output:?}");
    }

    /// A connection that `a` has; those that `b` has are kept in `others`.
    fn open_on_a(&self, others: &mut Vec<(RawClient, RawClient)>) -> (RawClient, RawClient) {
        loop {
            let client = RawClient::connect(self.lastcall.address);
            let (is_a, at_server) = wait_until("a connection", crate::LIMIT, || {
                let a = self.a.try_accept().map(|one| (true, one));
                a.or_else(|| self.b.try_accept().map(|one| (false, one)))
                    .ok_or("nobody has connected")
            });
            if is_a {
                return (client, at_server);
            }
            others.push((client, at_server));
        }
    }

    fn state_of_a(&self) -> Option<f64> {
        let address = self.a.address;
        self.lastcall.metric(&format!(
            "lastcall_endpoint_state{{namespace=\"default\",backend=\"web\",endpoint=\"{address}\",state=\"out_of_service\"}}"
        ))
    }

    fn wait_until_a_has_left(&self) {
        wait_until("the endpoint to be drained", crate::LIMIT, || {
            match self.state_of_a() {
                Some(1.0) => Ok(()),
                other => Err(other),
            }
        });
    }
}

#[test]
fn a_drain_waits_for_open_connections_and_for_nothing_else() {
    let pair = Pair::start();
    let mut others = Vec::new();
    let (mut client, mut at_server) = pair.open_on_a(&mut others);
    pair.cli(&["drain"]);
    // Nothing new.
    for _ in 0..10 {
        let _client = RawClient::connect(pair.lastcall.address);
        pair.b.accept();
    }
    assert!(pair.a.try_accept().is_none());
    // What is open goes on, both ways.
    for word in ["one", "two"] {
        client.send(word);
        at_server.read_until(word);
        at_server.send(word);
        client.read_until(word);
    }
    assert_eq!(pair.state_of_a(), Some(0.0));
    client.half_close();
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Fin));
    assert_eq!(pair.state_of_a(), Some(0.0), "one direction is open");
    drop(at_server);
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    pair.wait_until_a_has_left();
    assert_eq!(pair.lastcall.metric("lastcall_cuts_total"), Some(0.0));
}

#[test]
fn a_hold_is_released_as_soon_as_the_last_connection_has_ended() {
    let pair = Pair::start();
    let (client, at_server) = pair.open_on_a(&mut Vec::new());
    let mut hook = pair.lastcall.hold(pair.a.address, Duration::from_mins(1));
    wait_until("the hold", crate::LIMIT, || {
        match pair.lastcall.metric("lastcall_holds") {
            Some(1.0) => Ok(()),
            other => Err(other),
        }
    });
    assert!(hook.is_waiting());
    drop((client, at_server));
    let (code, _) = hook.released(crate::LIMIT);
    assert_eq!(code, 0);
}

#[test]
fn a_connection_that_is_cut_is_reset_on_both_sides_whatever_was_sent() {
    let pair = Pair::start();
    let mut others = Vec::new();
    let (mut client, mut at_server) = pair.open_on_a(&mut others);
    let (mut half, mut half_at_server) = pair.open_on_a(&mut others);
    at_server.send("half of a fi");
    client.read_until("half of a fi");
    half.half_close();
    assert_eq!(half_at_server.read_to_end().1, End::Fin);
    pair.cli(&["disable"]);
    for client in [&mut client, &mut half, &mut at_server] {
        assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    }
    pair.lastcall.wait_for_metric("lastcall_cuts_total", 2.0);
    pair.lastcall
        .wait_for_metric("lastcall_tcp_connections_ended_total{end=\"cut\"}", 2.0);
    pair.lastcall.wait_for_in_flight(pair.a.address, 0);
    // The control: those of the other go on.
    for (client, at_server) in &mut others {
        client.send("x");
        at_server.read_until("x");
    }
}

#[test]
fn a_drain_that_takes_too_long_is_cut_at_its_deadline_and_not_before() {
    let pair = Pair::start();
    let (mut client, _at_server) = pair.open_on_a(&mut Vec::new());
    let asked = Instant::now();
    pair.cli(&["drain", "--timeout", "1s"]);
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    assert!(asked.elapsed() >= Duration::from_secs(1));
    pair.wait_until_a_has_left();
}

#[test]
fn lastcall_waits_at_its_own_end_for_connections_and_then_resets_them() {
    let server = RawServer::start();
    let config = Config::new(&[server.address])
        .tcp()
        .flag("--shutdown-timeout=8s");
    let mut lastcall = Lastcall::start(config);
    let (mut ends, ends_at_server) = (RawClient::connect(lastcall.address), server.accept());
    let (mut stays, mut stays_at_server) = (RawClient::connect(lastcall.address), server.accept());
    lastcall.signal(Signal::TERM);
    wait_until("the port to be closed", crate::LIMIT, || {
        let late =
            std::net::TcpStream::connect_timeout(&lastcall.address, Duration::from_millis(100));
        late.err().ok_or("it is open")
    });
    ends.send("more");
    drop(ends_at_server);
    let _ = ends.read_to_end();
    stays.send("still here");
    stays_at_server.read_until("still here");
    assert_eq!(stays.read_to_end(), (Vec::new(), End::Reset));
    assert_eq!(stays_at_server.read_to_end(), (Vec::new(), End::Reset));
    lastcall.wait();
}

#[test]
fn a_listener_that_is_removed_keeps_its_connections() {
    let server = RawServer::start();
    let other = RawServer::start();
    let mut lastcall = Lastcall::start(Config::new(&[server.address]).tcp());
    let (mut client, mut at_server) = (RawClient::connect(lastcall.address), server.accept());
    let mut config = lastcall.config().endpoints("web", &[other.address]);
    config.port = crate::support::free_port();
    let moved = std::net::SocketAddr::new(lastcall.address.ip(), config.port);
    lastcall.reload(config);
    wait_until("the other port", crate::LIMIT, || {
        std::net::TcpStream::connect(moved)
    });
    other.accept();
    client.send("on the old port");
    at_server.read_until("on the old port");
    drop(client);
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Fin));
}

#[test]
fn who_has_not_said_what_it_wants_does_not_keep_lastcall_from_ending() {
    let listeners = [
        "protocol: TCP, proxyProtocol: true",
        "protocol: TLS, tls: {mode: Passthrough}",
    ];
    for listener in listeners {
        let server = RawServer::start();
        let config = Config::new(&[server.address])
            .tcp()
            .listener(listener)
            .load_balancer("timeouts: {requestHead: 1m}")
            .flag("--shutdown-timeout=1m");
        let mut lastcall = Lastcall::start(config);
        let mut silent = RawClient::connect(lastcall.address);
        let sample = "lastcall_connections{load_balancer=\"default/test\",listener=\"http\"}";
        lastcall.wait_for_metric(sample, 1.0);
        lastcall.signal(Signal::TERM);
        assert_eq!(silent.read_to_end(), (Vec::new(), End::Reset), "{listener}");
        lastcall.wait();
    }
}
