//! The PROXY protocol both ways: who lastcall takes the client for, and who it says the client is.

use std::net::{Ipv4Addr, SocketAddr};

use crate::support::backend::{self, Backend};
use crate::support::{Config, End, Lastcall, RawClient, RawServer};

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const REFUSED: &str = "lastcall_refused_total{reason=\"proxy_header\"}";

/// The same in version 2, with a TLV that says nothing.
fn v2() -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11".to_vec();
    bytes.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb]);
    bytes.extend_from_slice(&[4, 0, 2, 0, 0]);
    bytes
}

fn local() -> Vec<u8> {
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()
}

fn http(server: &Backend) -> Config {
    Config::new(&[server.address]).listener("protocol: HTTP, proxyProtocol: true")
}

/// Sends a header and a request; whom the server was told of.
fn told(lastcall: &Lastcall, server: &Backend, header: &[u8]) -> String {
    let before = server.seen().len();
    let mut client = RawClient::sending(lastcall.address, header);
    assert_eq!(client.ask(GET).status(), 200);
    let seen = server.seen()[before].clone();
    assert_eq!(seen.field("X-Real-IP"), seen.field("X-Forwarded-For"));
    seen.field("X-Forwarded-For").unwrap().to_owned()
}

#[test]
fn the_address_in_the_header_is_the_clients() {
    let server = Backend::echo();
    let lastcall = Lastcall::start(http(&server));
    assert_eq!(told(&lastcall, &server, V1.as_bytes()), "192.0.2.7");
    assert_eq!(told(&lastcall, &server, &v2()), "192.0.2.7");
    let six = "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n";
    assert_eq!(told(&lastcall, &server, six.as_bytes()), "2001:db8::7");
    // A proxy that speaks for itself, or does not know, is the client.
    for own in [&local()[..], b"PROXY UNKNOWN\r\n"] {
        assert_eq!(told(&lastcall, &server, own), "127.0.0.1");
    }
}

#[test]
fn a_header_may_come_in_pieces_and_with_the_request() {
    let server = Backend::echo();
    let lastcall = Lastcall::start(http(&server));
    for header in [V1.as_bytes().to_vec(), v2()] {
        let mut client = RawClient::connect(lastcall.address);
        for byte in &header {
            client.send([*byte]);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(client.ask(GET).status(), 200);
        let whole = [&header[..], GET.as_bytes()].concat();
        let mut client = RawClient::sending(lastcall.address, whole);
        assert_eq!(client.read_response().status(), 200);
        // It is said once a connection.
        assert_eq!(client.ask(GET).status(), 200);
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 6);
    assert!(
        seen.iter()
            .all(|one| one.field("X-Real-IP") == Some("192.0.2.7"))
    );
}

#[test]
fn without_a_header_a_connection_is_closed() {
    let server = Backend::echo();
    let lastcall = Lastcall::start(http(&server).load_balancer("timeouts: {requestHead: 500ms}"));
    for bytes in [
        GET.as_bytes(),
        b"PROXY TCP4 1.2.3.4\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\0\0\0",
    ] {
        let mut client = RawClient::sending(lastcall.address, bytes);
        assert_eq!(client.read_to_end(), (Vec::new(), End::Reset), "{bytes:?}");
    }
    // Half of one, and then nothing, or the end.
    let mut client = RawClient::sending(lastcall.address, &V1[..20]);
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    let mut client = RawClient::sending(lastcall.address, &V1[..20]);
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    lastcall.wait_for_metric(REFUSED, 5.0);
    assert!(server.seen().is_empty());
}

#[test]
fn only_trusted_proxies_may_speak_for_others_where_there_are_any() {
    let server = Backend::echo();
    let config = http(&server).load_balancer("trustedProxies: [127.0.0.2/32]");
    let lastcall = Lastcall::start(config);
    let proxy = Ipv4Addr::new(127, 0, 0, 2).into();
    let mut trusted = RawClient::connect_from(proxy, lastcall.address);
    // What the client says of forwarding is not believed for that.
    trusted.send(V1);
    let get = GET.replace("\r\n\r\n", "\r\nX-Forwarded-For: 8.8.8.8\r\n\r\n");
    assert_eq!(trusted.ask(get).status(), 200);
    assert_eq!(server.seen()[0].field("X-Forwarded-For"), Some("192.0.2.7"));
    let mut other = RawClient::connect(lastcall.address);
    let _ = other.try_send(V1);
    let (bytes, end) = other.read_to_end();
    assert!(bytes.is_empty() && end != End::Open);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn allowed_sources_are_looked_up_by_the_address_that_was_told() {
    let server = Backend::echo();
    let config = http(&server).load_balancer("allowedSources: [192.0.2.0/24]");
    let lastcall = Lastcall::start(config);
    assert_eq!(told(&lastcall, &server, V1.as_bytes()), "192.0.2.7");
    for header in [
        &V1.replace("192.0.2.7", "192.0.3.7").into_bytes()[..],
        &local(),
    ] {
        let mut client = RawClient::sending(lastcall.address, header);
        let (bytes, end) = client.read_to_end();
        assert!(bytes.is_empty() && end != End::Open);
    }
    assert_eq!(server.seen().len(), 1);
}

fn tcp(server: &RawServer, version: &str) -> Config {
    Config::new(&[server.address])
        .tcp()
        .backend("web", &format!("sendProxyProtocol: {version}"))
}

#[test]
fn a_tcp_endpoint_is_told_of_the_client_before_anything_else() {
    let server = RawServer::start();
    let lastcall = Lastcall::start(tcp(&server, "V1"));
    let mut client = RawClient::connect(lastcall.address);
    let (from, to) = (client.local_address(), lastcall.address);
    let line = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        from.port(),
        to.port()
    );
    // Before the client has said anything.
    let mut at_server = server.accept();
    assert_eq!(at_server.read_until("\r\n"), line.as_bytes());
    client.send("hello");
    assert_eq!(at_server.read_until("hello"), b"hello");
}

#[test]
fn what_one_proxy_told_the_next_one_is_told() {
    let server = RawServer::start();
    let config = tcp(&server, "V2").listener("protocol: TCP, proxyProtocol: true");
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::sending(lastcall.address, [V1.as_bytes(), b"hello"].concat());
    let mut at_server = server.accept();
    let without_tlv = {
        let mut bytes = v2();
        bytes.truncate(28);
        bytes[15] = 12;
        bytes
    };
    assert_eq!(at_server.read_exactly(28), without_tlv);
    assert_eq!(at_server.read_exactly(5), b"hello");
    at_server.send("bye");
    client.read_until("bye");
}

#[test]
fn an_http_endpoint_gets_no_two_clients_on_one_connection() {
    let server = Backend::start(|_| backend::ok("x"));
    let config = Config::new(&[server.address]).backend("web", "sendProxyProtocol: V1");
    let lastcall = Lastcall::start(config);
    let mut clients: Vec<_> = (0..6)
        .map(|_| RawClient::connect(lastcall.address))
        .collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.ask(GET).status(), 200);
        }
    }
    let line = |port: u16| {
        let to = lastcall.address.port();
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {to}\r\nGET / ")
    };
    let mut wanted: Vec<String> = clients
        .iter()
        .map(|one| line(one.local_address().port()))
        .collect();
    wanted.sort();
    let mut begins: Vec<String> = Vec::new();
    for raw in server.raw_received() {
        let text = String::from_utf8(raw).unwrap();
        // Three requests of one client, and one header.
        assert_eq!(text.matches("PROXY ").count(), 1, "{text}");
        assert_eq!(text.matches("GET / ").count(), 3, "{text}");
        begins.push(text[..text.find("GET / ").unwrap() + 6].to_owned());
    }
    begins.sort();
    assert_eq!(begins, wanted);
}

#[test]
fn a_backend_that_is_told_of_clients_from_now_on_gets_new_connections() {
    let server = Backend::start(|_| backend::ok("x"));
    let mut lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut client = RawClient::connect(lastcall.address);
    assert_eq!(client.ask(GET).status(), 200);
    lastcall.reload(lastcall.config().backend("web", "sendProxyProtocol: V1"));
    let head = crate::support::wait_until("the header", crate::LIMIT, || {
        assert_eq!(client.ask(GET).status(), 200);
        let head = server.seen().last().unwrap().head.clone();
        if head.starts_with("PROXY ") {
            Ok(head)
        } else {
            Err(head)
        }
    });
    let at: SocketAddr = client.local_address();
    assert!(head.contains(&format!(" {} ", at.port())), "{head}");
}
