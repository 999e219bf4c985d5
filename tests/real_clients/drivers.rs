//! The programs of tests/clients: where they are installed, how they are run, and what they say.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A program that drives a client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub name: &'static str,
    /// The program and its arguments; the target comes behind them.
    pub words: &'static [&'static str],
    /// How many checks it has.
    pub checks: usize,
}

fn drivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where the clients are installed; the first test that asks installs them.
pub fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../clients");
        let output = Command::new(drivers().join("install.sh"))
            .arg(&place)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tests/clients/install.sh: {said}");
        place.canonicalize().unwrap()
    })
}

/// A command that finds what was installed.
pub fn command(program: &str) -> Command {
    let place = installed();
    let inside = place.join(program);
    let mut command = if inside.is_file() {
        Command::new(inside)
    } else {
        Command::new(program)
    };
    command
        .current_dir(drivers())
        .env("NODE_PATH", place.join("node/node_modules"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // A proxy of the machine's own is not what is tested.
        .env("NO_PROXY", "*")
        .env("no_proxy", "*");
    command
}

/// A server behind lastcall: a program that prints its port, and ends with its standard input.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl App {
    /// Node's HTTP server.
    pub fn start(arguments: &[&str]) -> Self {
        Self::run(&[&["node", "app.cjs"], arguments].concat())
    }

    /// Any of them.
    pub fn run(words: &[&str]) -> Self {
        let mut child = command(words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port: u16 = line.trim().parse().unwrap();
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            child,
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How each of the clients is told to believe an authority.
const BELIEVES: [&str; 4] = [
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
];

/// How a driver is to go about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way<'a> {
    /// A file with an authority: it speaks TLS, and believes nobody else.
    pub authority: Option<&'a Path>,
    /// It speaks HTTP/2.
    pub http2: bool,
    /// The server behind speaks HTTP/2.
    pub behind_http2: bool,
    /// It does one thing only, as long as this file is there.
    pub rolling: Option<&'a Path>,
}

impl Way<'_> {
    fn variables(&self) -> Vec<(&'static str, &std::ffi::OsStr)> {
        let mut all = Vec::new();
        if let Some(file) = self.authority {
            all.extend(BELIEVES.map(|variable| (variable, file.as_os_str())));
        }
        if self.http2 {
            all.push(("LASTCALL_HTTP", "2".as_ref()));
        }
        if self.behind_http2 {
            all.push(("LASTCALL_BEHIND", "2".as_ref()));
        }
        if let Some(file) = self.rolling {
            all.push(("LASTCALL_ROLLING", file.as_os_str()));
        }
        all
    }
}

/// Runs a driver; the verdict of each of its checks.
pub fn drive(client: &Client, target: SocketAddr, way: Way<'_>) -> Vec<(String, String)> {
    let Client { name, words, .. } = client;
    let scheme = if way.authority.is_some() {
        "https"
    } else {
        "http"
    };
    let output = command(words[0])
        .args(&words[1..])
        .arg(format!("{scheme}://{target}"))
        .envs(way.variables())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let line = String::from_utf8_lossy(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{name} said {line:?} ({error}); {said}")
    });
    let said: BTreeMap<String, String> = serde_json::from_value(json["checks"].clone()).unwrap();
    let checks = if way.rolling.is_some() {
        1
    } else {
        client.checks
    };
    let count = said.len();
    assert_eq!(
        count, checks,
        "{name} has another number of checks: {said:?}"
    );
    said.into_iter().collect()
}

/// Every check of the driver says ok.
#[track_caller]
pub fn all_pass(client: &Client, target: SocketAddr, way: Way<'_>) {
    let mut failed = drive(client, target, way);
    failed.retain(|(_, verdict)| verdict != "ok");
    assert!(failed.is_empty(), "{}: {failed:#?}", client.name);
}

/// No check of the driver says ok.
#[track_caller]
pub fn none_passes(client: &Client, target: SocketAddr, way: Way<'_>) {
    let mut passed = drive(client, target, way);
    passed.retain(|(_, verdict)| verdict == "ok");
    assert!(
        passed.is_empty(),
        "{} did not notice: {passed:#?}",
        client.name
    );
}
