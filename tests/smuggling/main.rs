//! Request smuggling: strange requests through lastcall to three real servers (nginx, Node, Python's uvicorn).
//! Behind each attack come two marked requests: one on the same connection, one of another client whose request
//! takes the same connection to the server. What the clients were answered and what the server has recorded
//! must be the same requests, in the same order, and those that the case says ([`judge`]).
//!
//! The controls: a forwarder that believes what it reads ([`naive`]) is found out, before each of the servers.

#[path = "../proxy/cases/mod.rs"]
#[allow(dead_code)]
mod cases;
mod downgrade;
mod frames;
mod http1;
mod judge;
mod naive;
#[path = "../real_clients/drivers.rs"]
#[allow(dead_code)]
mod programs;
mod servers;
#[path = "../proxy/support/mod.rs"]
mod support;

use std::collections::HashMap;

use cases::requests::{CASES, Expect};
use judge::{Attack, Came, Judge};
use naive::Naive;
use servers::{Kind, Server};
use support::{Config, Lastcall};

/// Lastcall with one worker: all clients' requests take the same connections to the server.
fn before(server: &Server) -> Lastcall {
    let config = Config::new(&[server.address])
        .load_balancer("timeouts: {requestHead: 2s, requestBody: 2s}")
        .flag("--workers=1");
    Lastcall::start(config)
}

/// Fails with all findings at once: a table is read as a whole.
#[track_caller]
fn report(findings: &[String]) {
    let count = findings.len();
    assert!(count == 0, "{count} findings:\n{}", findings.join("\n"));
}

/// Puts all attacks to lastcall before this server; what is wrong.
fn run(kind: Kind, attacks: &[Attack]) -> Vec<String> {
    let server = Server::start(kind);
    let lastcall = before(&server);
    let mut judge = Judge::new(lastcall.address, &server);
    attacks
        .iter()
        .filter_map(|attack| judge.finding(attack))
        .collect()
}

fn everywhere(attacks: &[Attack]) {
    let findings: Vec<String> = std::thread::scope(|scope| {
        let running = Kind::ALL.map(|kind| scope.spawn(move || run(kind, attacks)));
        let found = running.map(|one| one.join().unwrap());
        found.concat()
    });
    report(&findings);
}

#[test]
fn no_request_of_http1_is_read_in_two_ways() {
    let attacks = http1::attacks();
    assert!(attacks.len() >= 60, "{}", attacks.len());
    everywhere(&attacks);
}

#[test]
fn no_request_of_http2_becomes_two_of_http1() {
    let attacks = downgrade::attacks();
    assert!(attacks.len() >= 30, "{}", attacks.len());
    everywhere(&attacks);
}

/// The table of odd requests, which tests/proxy puts to a server that records bytes.
#[test]
fn no_odd_request_is_read_in_two_ways() {
    // Odd methods and targets are passed on as they are, and our servers refuse them, each another one.
    let odd = ["a method of its own", "OPTIONS *"];
    let cases = CASES.iter().filter(|case| !odd.contains(&case.name));
    let attacks = cases.filter_map(|case| {
        let came = match case.expect {
            Expect::Refused(status) => Came::Refused(status),
            Expect::Cut(status) => Came::Cut(status),
            Expect::Closed => Came::Closed,
            // What comes behind would finish it.
            Expect::Unfinished => return None,
            Expect::Served(requests) => {
                let line = |(line, _): &(&str, &str)| line.replace(" HTTP/1.1", "");
                Came::Served(requests.iter().map(line).collect())
            }
        };
        Some(Attack::http1(case.name, case.bytes.to_vec(), came))
    });
    everywhere(&attacks.collect::<Vec<_>>());
}

#[test]
fn a_forwarder_that_believes_what_it_reads_is_found_out() {
    let mut attacks: HashMap<&str, Attack> = HashMap::new();
    attacks.extend(http1::attacks().into_iter().map(|one| (one.name, one)));
    attacks.extend(downgrade::attacks().into_iter().map(|one| (one.name, one)));
    let attacks = &attacks;
    let find = &|kind: Kind, name: &'static str| {
        let server = Server::start(kind);
        let naive = Naive::start(server.address);
        let mut judge = Judge::new(naive.address, &server);
        // That it passes on what is honest, and that the check lets it.
        assert_eq!(judge.finding(&http1::honest()), None, "{kind:?}");
        let found = judge.finding(&attacks[name]);
        assert!(found.is_some(), "{kind:?}: {name} was not noticed");
        server.record().iter().any(|line| line == "GET /smuggled")
    };
    for kind in Kind::ALL {
        let smuggled = std::thread::scope(|scope| {
            let running = naive::FALLS_FOR.map(|name| scope.spawn(move || find(kind, name)));
            running.map(|one| one.join().unwrap())
        });
        // It did reach the server, and not only the check's eye.
        assert!(smuggled.contains(&true), "{kind:?}: {smuggled:?}");
    }
}
