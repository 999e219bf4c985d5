//! h2spec, strict, over prior knowledge and over TLS.

use std::net::SocketAddr;

use crate::drivers::command;
use crate::support::backend::{self, Backend};
use crate::support::{Config, Lastcall};
use crate::trust::Trust;

/// What h2spec says of a server, with these cases or flags: how many cases it ran, and those that failed.
fn h2spec(target: SocketAddr, flags: &[&str]) -> (usize, Vec<String>) {
    let port = target.port().to_string();
    let output = command("h2spec")
        .args(["--strict", "--timeout", "5", "--port", &port])
        .args(flags)
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
fn by_prior_knowledge_h2spec_finds_nothing_but_that_the_port_speaks_http1_too() {
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

#[test]
fn in_tls_h2spec_finds_nothing() {
    let server = Backend::start(|_| backend::ok("hello world"));
    let lastcall = Lastcall::start(Trust::new().before(&[server.address]));
    let (ran, failed) = h2spec(lastcall.address, &["--tls", "--insecure"]);
    assert_eq!((ran, failed), (146, Vec::new()));
    // It was TLS that was spoken.
    let shaken = lastcall.count("lastcall_tls_handshakes_total{result=\"full\"}");
    assert!(shaken.unwrap() >= 146, "{shaken:?} handshakes");
}
