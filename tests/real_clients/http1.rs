//! Clients of HTTP/1 and WebSocket.

use std::path::Path;

use crate::drivers::{App, Client, Way, all_pass, none_passes};
use crate::support::tls::Authority;
use crate::support::{Config, Lastcall};
use crate::trust::Trust;

const fn client(name: &'static str, words: &'static [&'static str], checks: usize) -> Client {
    Client {
        name,
        words,
        checks,
    }
}

const CURL: Client = client("curl", &["./curl_client.sh"], 9);
const REQUESTS: Client = client("requests", &["venv/bin/python", "requests_client.py"], 6);
const HTTPX: Client = client("httpx", &["venv/bin/python", "httpx_client.py"], 7);
const WEBSOCKETS: Client = client(
    "websockets",
    &["venv/bin/python", "websockets_client.py"],
    3,
);
const NODE: Client = client("node", &["node", "node_client.cjs"], 10);
const GO: Client = client("go", &["go-client"], 10);
const CLIENTS: [Client; 6] = [CURL, REQUESTS, HTTPX, WEBSOCKETS, NODE, GO];

#[track_caller]
fn passes_through_lastcall(client: &Client) {
    let app = App::start(&[]);
    let lastcall = Lastcall::start(Config::new(&[app.address]));
    all_pass(client, lastcall.address, Way::default());
}

#[test]
fn every_client_works_through_lastcall_in_tls() {
    let trust = Trust::new();
    let app = App::start(&[]);
    let lastcall = Lastcall::start(trust.before(&[app.address]));
    let file = trust.file("ca");
    let way = Way {
        authority: Some(Path::new(&file)),
        ..Way::default()
    };
    for client in &CLIENTS {
        all_pass(client, lastcall.address, way);
    }
    assert!(
        lastcall
            .count("lastcall_tls_handshakes_total{result=\"full\"}")
            .unwrap()
            > 5
    );
    // And none where another authority issued it.
    std::fs::write(&file, Authority::new().pem).unwrap();
    for client in &CLIENTS {
        none_passes(client, lastcall.address, way);
    }
}

#[test]
fn curl_works_through_lastcall() {
    passes_through_lastcall(&CURL);
}

#[test]
fn python_requests_works_through_lastcall() {
    passes_through_lastcall(&REQUESTS);
}

#[test]
fn python_httpx_works_through_lastcall() {
    passes_through_lastcall(&HTTPX);
}

#[test]
fn python_websockets_works_through_lastcall() {
    passes_through_lastcall(&WEBSOCKETS);
}

#[test]
fn node_works_through_lastcall() {
    passes_through_lastcall(&NODE);
}

#[test]
fn go_works_through_lastcall() {
    passes_through_lastcall(&GO);
}

#[test]
fn without_lastcall_every_check_passes() {
    let app = App::start(&[]);
    for client in &CLIENTS {
        all_pass(client, app.address, Way::default());
    }
}

#[test]
fn against_a_broken_app_every_check_fails() {
    let app = App::start(&["--broken"]);
    std::thread::scope(|scope| {
        for client in &CLIENTS {
            let target = app.address;
            scope.spawn(move || none_passes(client, target, Way::default()));
        }
    });
}
