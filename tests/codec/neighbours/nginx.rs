//! nginx as a reverse proxy on loopback, with its defaults wherever they matter.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

/// A running nginx; stopped when dropped.
pub struct Nginx {
    child: Child,
    _dir: tempfile::TempDir,
    /// Passes on to the server that takes requests.
    pub requests: SocketAddr,
    responses: SocketAddr,
    pub version: String,
}

impl Nginx {
    /// Asks for a response once and says what came.
    pub fn get(&self) -> String {
        let mut stream = TcpStream::connect(self.responses).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        super::outcome(&answer)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Starts it before the two servers.
pub fn start(taking: SocketAddr, answering: SocketAddr) -> Nginx {
    let dir = tempfile::tempdir().unwrap();
    let (requests, responses) = (free_port(), free_port());
    let path = dir.path().display();
    let proxy = |listen: SocketAddr, backend: SocketAddr| {
        format!(
            "server {{ listen {listen}; location / {{ proxy_pass http://{backend}; \
             proxy_http_version 1.1; proxy_set_header Connection ''; }} }}"
        )
    };
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = kinds
        .map(|kind| format!("{kind}_temp_path {path}/{kind};"))
        .join(" ");
    let config = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
         events {{}}\nhttp {{ access_log off; {temporary}\n{}\n{}\n}}\n",
        proxy(requests, taking),
        proxy(responses, answering),
    );
    std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
    let child = Command::new("nginx")
        .arg("-c")
        .arg(dir.path().join("nginx.conf"))
        .spawn()
        .expect("nginx is needed for the comparison: apt-get install nginx-light");
    while TcpStream::connect(requests).is_err() {
        std::thread::yield_now();
    }
    let version = Command::new("nginx").arg("-v").output().unwrap().stderr;
    let version = String::from_utf8_lossy(&version);
    Nginx {
        child,
        _dir: dir,
        requests,
        responses,
        version: version
            .trim()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}
