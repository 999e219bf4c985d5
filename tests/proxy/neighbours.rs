//! The PROXY protocol with those who speak it in production: nginx behind lastcall, HAProxy and curl before it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::backend::Backend;
use crate::support::{Config, Lastcall, RawClient, free_port, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A program that runs with a configuration of its own; ended when dropped.
struct Neighbour {
    child: Child,
    _folder: TempDir,
}

impl Neighbour {
    /// Starts it, and waits until it listens at all of `ports`. `config` gets the folder's path.
    fn start(
        program: &str,
        flag: &str,
        ports: &[SocketAddr],
        config: impl Fn(&str) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, config(folder.path().to_str().unwrap())).unwrap();
        let found = ["/usr/sbin", "/usr/bin"].map(|place| format!("{place}/{program}"));
        let found = found.iter().find(|path| std::fs::exists(path).unwrap());
        let child = Command::new(found.map_or(program, String::as_str))
            .arg(flag)
            .arg(&path)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed (tests/install.sh): {error}"));
        for port in ports {
            wait_until(program, crate::LIMIT, || TcpStream::connect(port));
        }
        Self {
            child,
            _folder: folder,
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// nginx, which wants a PROXY header and answers with what it says.
fn nginx(at: SocketAddr) -> Neighbour {
    Neighbour::start("nginx", "-c", &[at], |path| {
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = kinds
            .map(|kind| format!("{kind}_temp_path {path}/{kind};"))
            .join(" ");
        let says = "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port";
        format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{}}\nhttp {{ access_log off; {temporary}\n\
             server {{ listen {at} proxy_protocol; location / {{ return 200 \"{says}\"; }} }} }}\n"
        )
    })
}

#[test]
fn nginx_hears_who_the_client_is() {
    let at = port();
    let _nginx = nginx(at);
    for version in ["V1", "V2"] {
        let send = format!("sendProxyProtocol: {version}");
        let http = Config::new(&[at]).backend("web", &send);
        let mut tcp = http.clone().tcp();
        tcp.port = free_port();
        for config in [http, tcp] {
            let lastcall = Lastcall::start(config);
            let mut client = RawClient::connect_from([127, 0, 0, 9].into(), lastcall.address);
            let (from, to) = (client.local_address(), lastcall.address);
            let answer = client.ask(GET);
            let said = format!("127.0.0.9 {} {}", from.port(), to.port());
            assert_eq!(
                (answer.status(), answer.body_text()),
                (200, said),
                "{version}"
            );
        }
    }
}

#[test]
fn haproxy_says_who_the_client_is_in_each_of_its_ways() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]).listener("protocol: HTTP, proxyProtocol: true");
    let lastcall = Lastcall::start(config);
    let ways = [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ];
    let fronts = ways.map(|way| (way, port()));
    let at = lastcall.address;
    let listens = fronts.map(|(_, front)| front);
    let _haproxy = Neighbour::start("haproxy", "-f", &listens, |_| {
        let defaults = "defaults\n mode tcp\n timeout connect 9s\n timeout client 9s\n \
                        timeout server 9s\n";
        let listen = |(nth, (way, front)): (usize, &(&str, SocketAddr))| {
            format!("listen f{nth}\n bind {front}\n unique-id-format an-id\n server s {at} {way}\n")
        };
        let listens: String = fronts.iter().enumerate().map(listen).collect();
        format!("{defaults}{listens}")
    });
    let source: IpAddr = [127, 0, 0, 8].into();
    for (way, front) in fronts {
        let before = server.seen().len();
        let mut client = RawClient::connect_from(source, front);
        assert_eq!(client.ask(GET).status(), 200, "{way}");
        let seen = &server.seen()[before];
        assert_eq!(seen.field("X-Forwarded-For"), Some("127.0.0.8"), "{way}");
    }
}

#[test]
fn curl_says_who_it_is() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]).listener("protocol: HTTP, proxyProtocol: true");
    let lastcall = Lastcall::start(config);
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--haproxy-protocol",
        ])
        .args(["--interface", "127.0.0.7", "--write-out", "%{http_code}"])
        .arg(format!("http://{}/", lastcall.address))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{output:?}");
    let seen = &server.seen()[0];
    assert_eq!(seen.field("X-Forwarded-For"), Some("127.0.0.7"));
}
