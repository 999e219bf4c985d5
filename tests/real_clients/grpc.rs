//! gRPC: Python's grpcio and Go's, each as client and as server, in clear text and in TLS.

use std::net::SocketAddr;
use std::path::Path;

use crate::drivers::{App, Client, Way, all_pass, none_passes};
use crate::support::{Config, Lastcall, free_port};
use crate::trust::Trust;

const CLIENTS: [Client; 2] = [
    Client {
        name: "grpcio",
        words: &["venv/bin/python", "grpc_client.py"],
        checks: 10,
    },
    Client {
        name: "grpc-go",
        words: &["grpc-go"],
        checks: 10,
    },
];
const SERVERS: [&[&str]; 2] = [
    &["venv/bin/python", "grpc_server.py"],
    &["grpc-go", "serve"],
];

const GRPC: &str = "protocol: GRPC";

fn before(endpoints: &[SocketAddr]) -> Config {
    Config::new(endpoints).backend("web", GRPC)
}

#[test]
fn every_client_works_with_every_server() {
    for words in SERVERS {
        let server = App::run(words);
        let lastcall = Lastcall::start(before(&[server.address]));
        for client in &CLIENTS {
            all_pass(client, lastcall.address, Way::default());
        }
        // The control: the same without lastcall.
        for client in &CLIENTS {
            all_pass(client, server.address, Way::default());
        }
    }
}

#[test]
fn every_client_works_in_tls() {
    let trust = Trust::new();
    let file = trust.file("ca");
    let way = Way {
        authority: Some(Path::new(&file)),
        ..Way::default()
    };
    for words in SERVERS {
        let server = App::run(words);
        let config = trust.before(&[server.address]).backend("web", GRPC);
        let lastcall = Lastcall::start(config);
        for client in &CLIENTS {
            all_pass(client, lastcall.address, way);
        }
    }
}

#[test]
fn no_call_fails_where_an_endpoint_cannot_be_reached() {
    let server = App::run(SERVERS[1]);
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let lastcall = Lastcall::start(before(&[nobody, server.address]));
    for client in &CLIENTS {
        all_pass(client, lastcall.address, Way::default());
    }
    // Calls did come to it first, and were told UNAVAILABLE where there was no other.
    let tried = lastcall.count("lastcall_upstream_connect_failures_total");
    assert!(tried.unwrap() > 10, "{tried:?}");
    let lastcall = Lastcall::start(before(&[nobody]));
    for client in &CLIENTS {
        none_passes(client, lastcall.address, Way::default());
    }
}

#[test]
fn against_a_broken_server_every_check_fails() {
    let server = App::run(&[SERVERS[0], &["--broken"]].concat());
    for client in &CLIENTS {
        none_passes(client, server.address, Way::default());
    }
}
