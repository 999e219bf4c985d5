//! Real clients through lastcall, in clear text and in TLS: curl, Python's requests, httpx and websockets, Node's fetch, http and ws,
//! Go's net/http. Each driver in tests/clients prints one JSON line with a verdict for each of its checks.
//!
//! And h2spec, which puts HTTP/2's rules to a server one by one.
//!
//! The controls: without lastcall every check passes, and against an app that does each thing wrongly every
//! check fails.

#[path = "proxy/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use support::backend::{self, Backend};
use support::tls::Authority;
use support::{Config, Lastcall};

/// Name, program and arguments of each driver, and how many checks it has.
const CLIENTS: [(&str, &[&str], usize); 6] = [
    ("curl", &["./curl_client.sh"], 9),
    ("requests", &["venv/bin/python", "requests_client.py"], 6),
    ("httpx", &["venv/bin/python", "httpx_client.py"], 6),
    (
        "websockets",
        &["venv/bin/python", "websockets_client.py"],
        3,
    ),
    ("node", &["node", "node_client.cjs"], 10),
    ("go", &["go-client"], 9),
];

fn drivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where the clients are installed; the first test that asks installs them.
fn installed() -> &'static Path {
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
fn command(program: &str) -> Command {
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

/// The server behind: Node's.
struct App {
    address: SocketAddr,
    child: Child,
}

impl App {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command("node")
            .arg("app.cjs")
            .args(arguments)
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

/// Runs a driver; the verdict of each of its checks. With an `authority` in a file it speaks TLS and believes
/// nobody else.
fn drive(client: &str, target: SocketAddr, authority: Option<&Path>) -> Vec<(String, String)> {
    let (_, words, count) = CLIENTS.iter().find(|known| known.0 == client).unwrap();
    let scheme = if authority.is_some() { "https" } else { "http" };
    let believes = BELIEVES.iter().zip(std::iter::repeat(authority));
    let believes = believes.filter_map(|(variable, file)| Some((variable, file?)));
    let output = command(words[0])
        .args(&words[1..])
        .arg(format!("{scheme}://{target}"))
        .envs(believes)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let line = String::from_utf8_lossy(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{client} said {line:?} ({error}); {said}")
    });
    let checks: Vec<(String, String)> = serde_json::from_value::<
        std::collections::BTreeMap<String, String>,
    >(json["checks"].clone())
    .unwrap()
    .into_iter()
    .collect();
    assert_eq!(
        checks.len(),
        *count,
        "{client} has another number of checks: {checks:?}"
    );
    checks
}

#[track_caller]
fn all_pass(client: &str, target: SocketAddr) {
    all_pass_with(client, target, None);
}

#[track_caller]
fn all_pass_with(client: &str, target: SocketAddr, authority: Option<&Path>) {
    let failed: Vec<_> = drive(client, target, authority)
        .into_iter()
        .filter(|(_, verdict)| verdict != "ok")
        .collect();
    assert!(failed.is_empty(), "{client}: {failed:#?}");
}

#[track_caller]
fn passes_through_lastcall(client: &str) {
    let app = App::start(&[]);
    let lastcall = Lastcall::start(Config::new(&[app.address]));
    all_pass(client, lastcall.address);
}

#[test]
fn every_client_works_through_lastcall_in_tls() {
    let app = App::start(&[]);
    let authority = Authority::new();
    let own = authority.issue(&["127.0.0.1"]);
    let config = Config::new(&[app.address])
        .listener("protocol: HTTPS, tls: {certificateRefs: [{name: own}]}")
        .secret("own/tls.crt", &own.chain)
        .secret("own/tls.key", &own.key);
    let lastcall = Lastcall::start(config);
    let file = lastcall.folder.path().join("authority.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    for (client, _, _) in CLIENTS {
        all_pass_with(client, lastcall.address, Some(&file));
    }
    assert!(
        lastcall
            .count("lastcall_tls_handshakes_total{result=\"full\"}")
            .unwrap()
            > 5
    );
    // And none where another authority issued it.
    let other = Authority::new();
    std::fs::write(&file, &other.pem).unwrap();
    for (client, _, _) in CLIENTS {
        let checks = drive(client, lastcall.address, Some(&file));
        let passed: Vec<_> = checks
            .iter()
            .filter(|(_, verdict)| verdict == "ok")
            .collect();
        assert!(passed.is_empty(), "{client} believes anybody: {passed:?}");
    }
}

#[test]
fn curl_works_through_lastcall() {
    passes_through_lastcall("curl");
}

#[test]
fn python_requests_works_through_lastcall() {
    passes_through_lastcall("requests");
}

#[test]
fn python_httpx_works_through_lastcall() {
    passes_through_lastcall("httpx");
}

#[test]
fn python_websockets_works_through_lastcall() {
    passes_through_lastcall("websockets");
}

#[test]
fn node_works_through_lastcall() {
    passes_through_lastcall("node");
}

#[test]
fn go_works_through_lastcall() {
    passes_through_lastcall("go");
}

#[test]
fn without_lastcall_every_check_passes() {
    let app = App::start(&[]);
    for (client, _, _) in CLIENTS {
        all_pass(client, app.address);
    }
}

#[test]
fn against_a_broken_app_every_check_fails() {
    let app = App::start(&["--broken"]);
    std::thread::scope(|scope| {
        for (client, _, _) in CLIENTS {
            let target = app.address;
            scope.spawn(move || {
                let passed: Vec<_> = drive(client, target, None)
                    .into_iter()
                    .filter(|(_, verdict)| verdict == "ok")
                    .collect();
                assert!(passed.is_empty(), "{client} did not notice: {passed:?}");
            });
        }
    });
}

/// What h2spec says of a server: how many cases it ran, and those that failed.
fn h2spec(target: SocketAddr, cases: &[&str]) -> (usize, Vec<String>) {
    let port = target.port().to_string();
    let output = command("h2spec")
        .args(["--strict", "--timeout", "5", "--port", &port])
        .args(cases)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // `146 tests, 145 passed, 0 skipped, 1 failed`
    let last = said.lines().last().unwrap_or_default();
    let (ran, rest) = last.split_once(" tests, ").unwrap_or(("0", last));
    assert!(rest.contains(" 0 skipped"), "{last}");
    let (_, failures) = said.split_once("Failures:").unwrap_or(("", ""));
    let failed = failures.lines().map(str::trim);
    let failed = failed
        .filter_map(|line| line.strip_prefix("× "))
        .map(str::to_owned);
    (ran.parse().unwrap(), failed.collect())
}

#[test]
fn h2spec_finds_nothing_but_that_the_port_speaks_http1_too() {
    // With content, that there is something for its windows to hold back.
    let server = Backend::start(|_| backend::ok("hello world"));
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let (ran, failed) = h2spec(lastcall.address, &[]);
    assert_eq!(ran, 146);
    // `INVALID CONNECTION PREFACE` is a bad request of HTTP/1, and answered so, with a 400.
    assert_eq!(failed, ["2: Sends invalid connection preface"]);
    // The control: of a server that speaks no HTTP/2 it says so.
    let (ran, failed) = h2spec(server.address, &["generic/1"]);
    assert_eq!((ran, failed.len()), (1, 1), "{failed:?}");
}
