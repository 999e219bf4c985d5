//! TLS that the endpoint ends: which endpoint gets a connection by the host that its client asks for, with
//! rustls on both sides, and how one is turned away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::support::{Config, End, Lastcall, RawClient, RawServer};

const LISTENER: &str = "protocol: TLS, tls: {mode: Passthrough}";

/// A TLS server that answers each line with its own name and the line, and what its clients have to trust.
struct Server {
    address: SocketAddr,
    certificate: rustls::pki_types::CertificateDer<'static>,
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Server {
    fn start(name: &'static str, hosts: &[&str]) -> Self {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let certificate = made.cert.der().clone();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let config = Arc::clone(&config);
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    // A client that does not trust us leaves.
                    let _ = answer(StreamOwned::new(connection, stream.unwrap()), name);
                });
            }
        });
        Self {
            address,
            certificate,
        }
    }
}

fn answer(mut stream: StreamOwned<ServerConnection, TcpStream>, name: &str) -> std::io::Result<()> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        line.push(byte[0]);
        if byte == *b"\n" {
            let host = stream.conn.server_name().unwrap_or("nobody").to_owned();
            stream.write_all(format!("{name} for {host}: ").as_bytes())?;
            stream.write_all(&line)?;
            line.clear();
        }
    }
    Ok(())
}

/// What a client that asks for `host` is answered, or why there is no answer.
fn ask(lastcall: &Lastcall, servers: &[&Server], host: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    for server in servers {
        roots.add(server.certificate.clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(lastcall.address).unwrap();
    stream.set_read_timeout(Some(crate::LIMIT)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let mut answer = Vec::new();
    let mut exchange = || {
        stream.write_all(b"hello\n")?;
        while !answer.ends_with(b"\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        std::io::Result::Ok(())
    };
    exchange().map_err(|error| error.to_string())?;
    Ok(String::from_utf8(answer).unwrap())
}

fn route(host: &str, backend: &str) -> String {
    format!("{{hostnames: ['{host}'], backends: [{{name: {backend}}}]}}")
}

/// A route for `*.example.com` to `wild`, one for `a.example.com` to `exact`, and one to nowhere.
fn config(wild: SocketAddr, exact: SocketAddr) -> Config {
    let routes = [
        route("*.example.com", "wild"),
        route("a.example.com", "exact"),
        route("gone.example.com", "gone"),
    ];
    Config::new(&[])
        .listener(LISTENER)
        .backend("web", "protocol: TCP")
        .without_default_backend()
        .load_balancer(&format!("routes: [{}]", routes.join(", ")))
        .endpoints("wild", &[wild])
        .backend("wild", "protocol: TCP")
        .endpoints("exact", &[exact])
        .backend("exact", "protocol: TCP")
}

#[test]
fn the_host_that_a_client_asks_for_decides_who_ends_its_tls() {
    let wild = Server::start(
        "wild",
        &["b.example.com", "x.y.example.com", "gone.example.com"],
    );
    let exact = Server::start("exact", &["a.example.com"]);
    let lastcall = Lastcall::start(config(wild.address, exact.address));
    let ask = |host| ask(&lastcall, &[&wild, &exact], host);
    for (host, answered) in [
        ("a.example.com", "exact for a.example.com: hello\n"),
        ("A.Example.COM", "exact for a.example.com: hello\n"),
        ("b.example.com", "wild for b.example.com: hello\n"),
        ("x.y.example.com", "wild for x.y.example.com: hello\n"),
    ] {
        assert_eq!(ask(host).as_deref(), Ok(answered), "{host}");
    }
    for host in ["example.com", "example.org", "127.0.0.1"] {
        let why = ask(host).unwrap_err();
        assert!(why.contains("UnrecognisedName"), "{host}: {why}");
    }
    // Law 4: a route whose Backend is not there does not fall to another one.
    let why = ask("gone.example.com").unwrap_err();
    assert!(why.contains("InternalError"), "{why}");
    let ended = |end: &str| format!("lastcall_tcp_connections_ended_total{{end=\"{end}\"}}");
    lastcall.wait_for_metric(&ended("refused"), 3.0);
    lastcall.wait_for_metric(&ended("unserved"), 1.0);
}

#[test]
fn a_default_backend_takes_what_no_route_does_within_the_listeners_own_host() {
    let server = Server::start("default", &["a.example.com", "127.0.0.1"]);
    let base = Config::new(&[server.address]).backend("web", "protocol: TCP");
    let lastcall = Lastcall::start(base.clone().listener(LISTENER));
    for host in ["a.example.com", "127.0.0.1"] {
        assert!(ask(&lastcall, &[&server], host).is_ok(), "{host}");
    }
    drop(lastcall);
    let narrow = format!("{LISTENER}, hostname: '*.example.com'");
    let lastcall = Lastcall::start(base.listener(&narrow));
    assert!(ask(&lastcall, &[&server], "a.example.com").is_ok());
    let why = ask(&lastcall, &[&server], "127.0.0.1").unwrap_err();
    assert!(why.contains("UnrecognisedName"), "{why}");
}

/// A first message of rustls for a host.
fn hello(host: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_the_client_sent_arrives_untouched_however_it_was_cut() {
    let server = RawServer::start();
    let lastcall = Lastcall::start(config(server.address, server.address));
    let hello = hello("a.example.com");
    let mut client = RawClient::connect(lastcall.address);
    for piece in hello.chunks(40) {
        client.send(piece);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    client.send("and more");
    let mut at_server = server.accept();
    let wanted = [&hello[..], b"and more"].concat();
    assert_eq!(at_server.read_exactly(wanted.len()), wanted);
    // The endpoint's own words, whatever they are.
    at_server.send("no TLS at all");
    client.read_until("no TLS at all");
    client.half_close();
    assert_eq!(at_server.read_to_end(), (Vec::new(), End::Fin));
}

#[test]
fn who_does_not_speak_tls_or_says_nothing_is_turned_away() {
    let server = RawServer::start();
    let config =
        config(server.address, server.address).load_balancer("timeouts: {requestHead: 2s}");
    let lastcall = Lastcall::start(config);
    let decode_error = [21, 3, 3, 0, 2, 2, 50];
    let unrecognized_name = [21, 3, 3, 0, 2, 2, 112];
    let mut oversized = vec![22, 3, 1, 0x40, 0, 1, 0, 0x40, 0];
    oversized.resize(5 + 0x4000, 0);
    for (bytes, told) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], &[][..]),
        (b"\x16\x03\x01\x00\x05\x02aaaa", &decode_error),
        (&oversized, &decode_error),
        (&hello("elsewhere.org"), &unrecognized_name),
        // Half of a message.
        (&hello("a.example.com")[..60], &[]),
        (b"", &[]),
    ] {
        let mut client = RawClient::sending(lastcall.address, bytes);
        let (said, end) = client.read_to_end();
        assert_eq!(said, told);
        let wanted = if told.is_empty() {
            End::Reset
        } else {
            End::Fin
        };
        assert_eq!(end, wanted, "{bytes:?}");
    }
    assert!(server.try_accept().is_none());
}

#[test]
fn a_proxy_header_may_come_before_tls() {
    let server = RawServer::start();
    let config = config(server.address, server.address)
        .listener(&format!("{LISTENER}, proxyProtocol: true"))
        .backend("exact", "sendProxyProtocol: V1");
    let lastcall = Lastcall::start(config);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.2 1 2\r\n";
    let whole = [&header[..], &hello("a.example.com")].concat();
    let _client = RawClient::sending(lastcall.address, &whole);
    let mut at_server = server.accept();
    assert_eq!(at_server.read_exactly(whole.len()), whole);
}
