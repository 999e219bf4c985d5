//! Which request goes where: hosts, paths, weights, the default, and whose turn it is among endpoints.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::support::backend::{self, Backend, Gate};
use crate::support::client::Answer;
use crate::support::{Config, End, Lastcall, RawClient};

/// A server that answers with its name.
fn named(name: &'static str) -> Backend {
    Backend::start(move |_| backend::ok(name))
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn ask(lastcall: &Lastcall, host: &str, path: &str) -> Answer {
    RawClient::connect(lastcall.address).ask(get(host, path))
}

/// How often each answer comes in `count` requests on one connection, that is by one worker.
fn spread(lastcall: &Lastcall, count: usize) -> BTreeMap<String, usize> {
    let mut client = RawClient::connect(lastcall.address);
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        *answers
            .entry(client.ask(get("a", "/")).body_text())
            .or_default() += 1;
    }
    answers
}

fn counted(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let owned = counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count));
    owned.collect()
}

#[test]
fn the_most_specific_host_and_path_win_and_the_default_takes_the_rest() {
    let servers: Vec<_> = ["web", "exact", "wild", "deep", "api", "apix"]
        .map(|name| (name, named(name)))
        .into();
    let mut config = Config::new(&[]).load_balancer(
        "routes:\n\
         - {hostnames: ['*.example.com'], backends: [{name: wild}]}\n\
         - {hostnames: [shop.example.com], backends: [{name: exact}]}\n\
         - {hostnames: ['*.b.example.com'], backends: [{name: deep}]}\n\
         - {hostnames: [shop.example.com], matches: [{path: {type: Prefix, value: /api}}], backends: [{name: api}]}\n\
         - {hostnames: [shop.example.com], matches: [{path: {value: /api/x/}}], backends: [{name: apix}]}",
    );
    for (name, server) in &servers {
        config.set_endpoints(name, &[server.address]);
    }
    let lastcall = Lastcall::start(config);
    for (host, path, expected) in [
        ("shop.example.com", "/", "exact"),
        ("SHOP.Example.com:8080", "/", "exact"),
        ("shop.example.com.", "/", "exact"),
        ("other.example.com", "/", "wild"),
        ("x.y.example.com", "/", "wild"),
        ("x.b.example.com", "/", "deep"),
        ("b.example.com", "/", "wild"),
        ("example.com", "/", "web"),
        ("shop.example.org", "/", "web"),
        ("127.0.0.1", "/", "web"),
        ("shop.example.com", "/api", "api"),
        ("shop.example.com", "/api?x=/y", "api"),
        ("shop.example.com", "/api/", "api"),
        ("shop.example.com", "/api/y", "api"),
        // Whole segments only.
        ("shop.example.com", "/apix", "exact"),
        ("shop.example.com", "/API", "exact"),
        ("shop.example.com", "/api/x", "apix"),
        ("shop.example.com", "/api/x/y", "apix"),
        ("shop.example.com", "/api/xy", "api"),
        ("other.example.com", "/api", "wild"),
    ] {
        let answer = ask(&lastcall, host, path);
        assert_eq!(answer.body_text(), expected, "{host}{path}");
    }
    let absolute = "GET http://shop.example.com/api HTTP/1.1\r\nHost: shop.example.com\r\n\r\n";
    let answer = RawClient::connect(lastcall.address).ask(absolute);
    assert_eq!(answer.body_text(), "api");
}

#[test]
fn what_no_route_takes_is_not_found_and_what_has_no_endpoint_unavailable() {
    let web = named("web");
    let config = Config::new(&[web.address])
        .endpoints("empty", &[])
        .without_default_backend()
        .load_balancer(
            "routes:\n\
             - {hostnames: [web], matches: [{path: {value: /a}}], backends: [{name: web}]}\n\
             - {hostnames: [empty], backends: [{name: empty}]}\n\
             - {hostnames: [nowhere], backends: [{name: missing}]}",
        );
    let lastcall = Lastcall::start(config);
    for (host, path, status) in [
        ("web", "/a", 200),
        ("web", "/b", 404),
        ("other", "/a", 404),
        ("empty", "/", 503),
        ("nowhere", "/", 503),
    ] {
        let mut client = RawClient::connect(lastcall.address);
        let answer = client.ask(get(host, path));
        assert_eq!(answer.status(), status, "{host}{path}");
        assert_eq!(answer.field("Retry-After").is_some(), status == 503);
        // It is an answer like any other: the connection goes on.
        assert_eq!(client.ask(get("web", "/a")).body_text(), "web");
    }
}

#[test]
fn weights_divide_a_route_exactly() {
    let (many, few, none) = (named("many"), named("few"), named("none"));
    let config = Config::new(&[])
        .endpoints("many", &[many.address])
        .endpoints("few", &[few.address])
        .endpoints("none", &[none.address])
        .load_balancer(
            "routes: [{backends: [{name: many, weight: 9}, {name: few, weight: 1}, {name: none, weight: 0}]}]",
        );
    let lastcall = Lastcall::start(config);
    assert_eq!(spread(&lastcall, 50), counted(&[("many", 45), ("few", 5)]));
    assert_eq!(none.connections(), 0);
}

#[test]
fn only_allowed_sources_are_let_in() {
    let web = named("web");
    let config =
        Config::new(&[web.address]).load_balancer("allowedSources: [127.0.0.8/31, 10.0.0.0/8]");
    let lastcall = Lastcall::start(config);
    let from = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    for (last, allowed) in [(7, false), (8, true), (9, true), (10, false)] {
        let mut client = RawClient::connect_from(from(last), lastcall.address);
        let _ = client.try_send(get("a", "/"));
        if allowed {
            assert_eq!(client.read_response().body_text(), "web");
        } else {
            let (bytes, end) = client.read_to_end();
            assert!(bytes.is_empty() && end != End::Open, "127.0.0.{last}");
        }
    }
    assert_eq!(web.seen().len(), 2);
    lastcall.wait_for_metric("lastcall_refused_total{reason=\"connection\"}", 2.0);
}

#[test]
fn round_robin_takes_each_in_turn() {
    let servers = [named("a"), named("b"), named("c")];
    let addresses = servers.each_ref().map(|server| server.address);
    let lastcall = Lastcall::start(Config::new(&addresses));
    let mut client = RawClient::connect(lastcall.address);
    let answers: Vec<_> = (0..9)
        .map(|_| client.ask(get("a", "/")).body_text())
        .collect();
    for turn in 0..6 {
        assert_eq!(answers[turn], answers[turn + 3]);
    }
    assert_eq!(
        spread(&lastcall, 30),
        counted(&[("a", 10), ("b", 10), ("c", 10)])
    );
    // Each keeps its own connection, on whichever worker.
    for server in &servers {
        assert!(server.connections() <= 2, "{}", server.connections());
    }
}

#[test]
fn round_robin_keeps_to_the_weights_of_endpoints() {
    let servers = [named("a"), named("b"), named("c")];
    let weighted = |server: &Backend, weight: u32| {
        format!(
            "address: 127.0.0.1, port: {}, weight: {weight}",
            server.address.port()
        )
    };
    let mut config = Config::new(&[]);
    config.set_endpoints_as(
        "web",
        &[
            &weighted(&servers[0], 5),
            &weighted(&servers[1], 1),
            &weighted(&servers[2], 0),
        ],
    );
    let lastcall = Lastcall::start(config);
    assert_eq!(spread(&lastcall, 60), counted(&[("a", 50), ("b", 10)]));
    assert_eq!(servers[2].connections(), 0);
}

/// Two servers; the first to be asked for `/stuck` waits for the gate.
fn two_that_may_stick(gate: &Gate) -> [Backend; 2] {
    ["a", "b"].map(|name| {
        let gate = gate.clone();
        Backend::start(move |seen| match seen.target() {
            "/stuck" => backend::slow(&gate, name),
            _ => backend::ok(name),
        })
    })
}

fn addresses(servers: &[Backend; 2]) -> [SocketAddr; 2] {
    servers.each_ref().map(|server| server.address)
}

#[test]
fn least_request_avoids_the_busy_one_and_round_robin_does_not() {
    let gate = Gate::new();
    for (policy, to_the_busy) in [("LeastRequest", 0), ("RoundRobin", 10)] {
        let servers = two_that_may_stick(&gate);
        let config = Config::new(&addresses(&servers))
            .backend("web", &format!("balance: {{policy: {policy}}}"));
        let lastcall = Lastcall::start(config);
        let _stuck = RawClient::sending(lastcall.address, get("a", "/stuck"));
        let busy = crate::support::wait_until("one to be busy", crate::LIMIT, || {
            let busy = servers.iter().find(|server| server.in_flight() == 1);
            busy.ok_or("none")
        });
        spread(&lastcall, 20);
        assert_eq!(busy.seen().len() - 1, to_the_busy, "{policy}");
    }
    gate.open();
}
