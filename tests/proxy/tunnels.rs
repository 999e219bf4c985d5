//! Upgraded connections: bytes both ways from the first on, half-close, breaking off, and an upgrade that
//! the server declines.

use crate::support::backend::{self, Backend, Gate, Step};
use crate::support::{Config, End, Lastcall, RawClient};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn serve(server: &Backend) -> Lastcall {
    Lastcall::start(Config::new(&[server.address]))
}

#[test]
fn a_websocket_is_a_tunnel_and_in_flight_as_long_as_it_is_open() {
    let server = Backend::start(|_| backend::websocket());
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, UPGRADE);
    let answer = client.read_head();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.field("Upgrade"), Some("websocket"));
    assert_eq!(answer.field("Connection"), Some("Upgrade"));
    assert_eq!(
        answer.field("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let seen = &server.seen()[0];
    assert_eq!(seen.field("Upgrade"), Some("websocket"));
    assert_eq!(seen.field("Connection"), Some("Upgrade"));
    for word in ["one", "\0\r\n\r\n\u{ff}", "three"] {
        client.send(word);
        assert_eq!(client.read_until(word), word.as_bytes());
    }
    lastcall.wait_for_in_flight(server.address, 1);
    lastcall.wait_for_metric("lastcall_tunnels", 1.0);
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    lastcall.wait_for_in_flight(server.address, 0);
    lastcall.wait_for_metric("lastcall_tunnels", 0.0);
}

#[test]
fn bytes_right_behind_either_head_are_the_tunnels_first() {
    let server = Backend::start(|_| vec![send(&format!("{SWITCH}server first, ")), Step::Echo]);
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, format!("{UPGRADE}client first"));
    assert_eq!(client.read_head().status(), 101);
    client.read_until("server first, client first");
    client.send(", client second");
    client.half_close();
    let (rest, end) = client.read_to_end();
    assert_eq!((&rest[..], end), (&b", client second"[..], End::Fin));
    // They went through once, and as no request.
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn much_goes_through_a_tunnel_both_ways_at_once() {
    let server = Backend::start(|_| backend::websocket());
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, UPGRADE);
    client.read_head();
    // More than all buffers on the way hold, so each way has to wait for the other.
    let sent: Vec<u8> = (0..=250_u8).cycle().take(20_000_000).collect();
    let mut sender = client.sender();
    let (received, end) = std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(&sent);
            sender.half_close();
        });
        client.read_to_end()
    });
    assert!(received == sent, "{} bytes came back", received.len());
    assert_eq!(end, End::Fin);
}

#[test]
fn a_server_that_closes_its_side_still_reads_what_the_client_sends() {
    let server = Backend::start(|_| vec![send(SWITCH), send("bye"), Step::HalfClose]);
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, UPGRADE);
    client.read_head();
    assert_eq!(client.read_to_end(), (b"bye".to_vec(), End::Fin));
    client.send("last words");
    client.half_close();
    server.wait_for_open_connections(0);
    assert!(server.raw_received()[0].ends_with(b"\r\n\r\nlast words"));
    lastcall.wait_for_in_flight(server.address, 0);
}

#[test]
fn a_side_that_breaks_off_resets_the_other() {
    let gate = Gate::new();
    let awaited = gate.clone();
    let server = Backend::start(move |seen| match seen.target() {
        "/chat" => vec![send(SWITCH), Step::Echo],
        _ => vec![send(SWITCH), Step::Await(awaited.clone()), Step::Reset],
    });
    let lastcall = serve(&server);
    let mut client = RawClient::sending(lastcall.address, UPGRADE.replace("/chat", "/break"));
    assert_eq!(client.read_head().status(), 101);
    gate.open();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));

    let mut client = RawClient::sending(lastcall.address, UPGRADE);
    assert_eq!(client.read_head().status(), 101);
    assert_eq!(server.open_connections(), 1);
    client.reset();
    server.wait_for_open_connections(0);
    lastcall.wait_for_in_flight(server.address, 0);
}

#[test]
fn a_server_may_decline_an_upgrade_and_the_connection_goes_on() {
    let server = Backend::start(|seen| match seen.target() {
        "/chat" => backend::ok("no"),
        "/426" => vec![send(
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Content-Length: 4\r\n\r\nmust",
        )],
        other => backend::ok(other),
    });
    let lastcall = serve(&server);
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask(UPGRADE);
    assert_eq!(
        (answer.status(), answer.body_text()),
        (200, "no".to_owned())
    );
    let answer = client.ask("GET /426 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        (answer.status(), answer.body_text()),
        (426, "must".to_owned())
    );
    assert_eq!(answer.field("Upgrade"), Some("websocket"));
    assert_eq!(answer.field("Connection"), Some("Upgrade"));
    let answer = client.ask("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.body_text(), "/next");
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_upgraded_connection_on_which_nothing_happens_is_reset() {
    let server = Backend::start(|_| backend::websocket());
    let config = Config::new(&[server.address]).backend("web", "timeouts: {tunnelIdle: 2s}");
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::sending(lastcall.address, UPGRADE);
    assert_eq!(client.read_head().status(), 101);
    let begin = std::time::Instant::now();
    client.send("a word");
    client.read_until("a word");
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    assert!(begin.elapsed() >= std::time::Duration::from_millis(1900));
    server.wait_for_open_connections(0);
    lastcall.wait_for_in_flight(server.address, 0);
}
