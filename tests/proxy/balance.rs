//! Which endpoint a request gets: by its key, at random, and less of them while an endpoint is new.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::LIMIT;
use crate::support::backend::{self, Backend};
use crate::support::http2::{Client, request};
use crate::support::{Config, Lastcall, RawClient, RawServer, wait_until};

/// Servers that answer with their own number.
fn servers(count: usize) -> Vec<Backend> {
    let server = |at: usize| Backend::start(move |_| backend::ok(at.to_string()));
    (0..count).map(server).collect()
}

fn addresses(servers: &[Backend]) -> Vec<SocketAddr> {
    servers.iter().map(|server| server.address).collect()
}

fn balanced(servers: &[Backend], balance: &str) -> Lastcall {
    let config = Config::new(&addresses(servers));
    Lastcall::start(config.backend("web", &format!("balance: {{{balance}}}")))
}

/// Who answers a request with this further line, on a connection of its own: any worker may get it.
fn asked(lastcall: &Lastcall, line: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
    RawClient::connect(lastcall.address)
        .ask(request)
        .body_text()
}

/// Who has which of these keys.
fn owners(lastcall: &Lastcall, line: impl Fn(usize) -> String) -> BTreeMap<usize, String> {
    (0..60)
        .map(|key| (key, asked(lastcall, &line(key))))
        .collect()
}

#[test]
fn a_key_has_the_same_endpoint_in_every_worker_and_every_replica() {
    let servers = servers(4);
    for (hash, line) in [
        ("header: X-User", "x-user: "),
        ("cookie: user", "Cookie: a=b; user="),
    ] {
        let line = |key: usize| format!("{line}{key}\r\n");
        let balance = format!("policy: Hash, hash: {{{hash}}}");
        let (one, other) = (balanced(&servers, &balance), balanced(&servers, &balance));
        let first = owners(&one, line);
        assert_eq!(first, owners(&one, line), "{hash}");
        assert_eq!(first, owners(&other, line), "{hash}");
        let all: BTreeSet<_> = first.values().collect();
        assert_eq!(all.len(), 4, "{first:?}");
        // Without a key the client's address is it: here that is one for all.
        let without: BTreeSet<_> = (0..20).map(|_| asked(&one, "")).collect();
        assert_eq!(without.len(), 1, "{hash}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_the_same_in_http2() {
    let servers = servers(4);
    let lastcall = balanced(&servers, "policy: Hash, hash: {header: X-User}");
    let client = Client::connect(lastcall.address).await;
    for key in 0..20 {
        let mut get = request(http::Method::GET, "/");
        let value = http::HeaderValue::from_str(&key.to_string()).unwrap();
        get.headers_mut().insert("x-user", value);
        let answer = client.ask(get, "").await.unwrap();
        assert_eq!(
            answer.text(),
            asked(&lastcall, &format!("X-User: {key}\r\n")),
            "{key}"
        );
    }
}

#[test]
fn only_the_keys_of_an_endpoint_that_drains_move_and_they_come_back() {
    let servers = servers(4);
    let lastcall = balanced(&servers, "policy: Hash, hash: {header: X-User}");
    let line = |key: usize| format!("X-User: {key}\r\n");
    let before = owners(&lastcall, line);
    let target = format!("be/web/{}", servers[2].address);
    assert!(lastcall.cli(&["drain", "--wait", &target]).status.success());
    let during = owners(&lastcall, line);
    for (key, owner) in &before {
        if owner == "2" {
            assert_ne!(during[key], "2");
        } else {
            assert_eq!(&during[key], owner, "{key}");
        }
    }
    assert!(lastcall.cli(&["enable", &target]).status.success());
    assert_eq!(owners(&lastcall, line), before);
}

#[test]
fn the_source_is_what_trusted_proxies_say_and_nobody_else() {
    let servers = servers(4);
    let forwarded = |key: usize| format!("X-Forwarded-For: 192.0.2.{key}\r\n");
    let config = Config::new(&addresses(&servers))
        .backend("web", "balance: {policy: Hash, hash: {source: true}}");
    let lastcall = Lastcall::start(config.clone());
    let all: BTreeSet<_> = owners(&lastcall, forwarded).into_values().collect();
    assert_eq!(all.len(), 1);
    // Both have the same port.
    drop(lastcall);
    let lastcall = Lastcall::start(config.load_balancer("trustedProxies: [127.0.0.0/8]"));
    let first = owners(&lastcall, forwarded);
    let all: BTreeSet<_> = first.values().collect();
    assert_eq!(all.len(), 4);
    assert_eq!(first, owners(&lastcall, forwarded));
}

#[test]
fn a_tcp_connection_goes_by_its_clients_address() {
    let servers: Vec<_> = (0..3).map(|_| RawServer::start()).collect();
    let all: Vec<_> = servers.iter().map(|server| server.address).collect();
    let config = Config::new(&all)
        .tcp()
        .backend("web", "balance: {policy: Hash, hash: {source: true}}");
    let lastcall = Lastcall::start(config);
    let mut seen = BTreeSet::new();
    for host in 1..=12_u8 {
        let clients: Vec<_> = (0..3)
            .map(|_| RawClient::connect_from([127, 0, 0, host].into(), lastcall.address))
            .collect();
        let had = wait_until("three connections on one server", LIMIT, || {
            let had: Vec<_> = all.iter().map(|one| lastcall.in_flight(*one)).collect();
            had.iter().position(|one| *one == Some(3.0)).ok_or(had)
        });
        seen.insert(had);
        drop(clients);
        for _ in 0..3 {
            drop(servers[had].accept());
        }
        lastcall.wait_for_metric("lastcall_tcp_connections", 0.0);
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn at_random_each_gets_about_its_share() {
    let servers = servers(2);
    let mut config = Config::new(&[]).backend("web", "balance: {policy: Random}");
    let ports: Vec<_> = servers.iter().map(|server| server.address.port()).collect();
    config.set_endpoints_as(
        "web",
        &[
            &format!("address: 127.0.0.1, port: {}, weight: 3", ports[0]),
            &format!("address: 127.0.0.1, port: {}", ports[1]),
        ],
    );
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::connect(lastcall.address);
    let answers: Vec<_> = (0..800)
        .map(|_| client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").body_text())
        .collect();
    let first = answers.iter().filter(|answer| *answer == "0").count();
    // 600 is the mean, 12.2 the standard deviation: six of them.
    assert!((527..=673).contains(&first), "{first}");
    let changes = answers.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > 100, "no pattern, but {changes} changes");
}

#[test]
fn an_endpoint_that_comes_while_others_serve_gets_little_at_first() {
    for policy in ["RoundRobin", "LeastRequest", "Random"] {
        let servers = servers(3);
        let all = addresses(&servers);
        let balance = format!("balance: {{policy: {policy}, slowStartSeconds: 3600}}");
        let config = Config::new(&all[..2]).backend("web", &balance);
        let mut lastcall = Lastcall::start(config.clone());
        let mut client = RawClient::connect(lastcall.address);
        let mut ask = |count: usize| {
            let before = servers.iter().map(|server| server.seen().len());
            let before: Vec<_> = before.collect();
            for _ in 0..count {
                client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            }
            let after = servers.iter().map(|server| server.seen().len());
            after
                .zip(before)
                .map(|(after, before)| after - before)
                .collect::<Vec<_>>()
        };
        // At the start nobody is new.
        let first = ask(200);
        assert!(first[0] > 60 && first[1] > 60, "{policy}: {first:?}");
        lastcall.reload(config.endpoints("web", &all));
        wait_until("the new endpoint to be known", LIMIT, || {
            lastcall.in_flight(all[2]).ok_or("unknown")
        });
        // Its share would be a third; it is a tenth of that of the others, with LeastRequest up to two.
        let second = ask(420);
        let at_most = if policy == "RoundRobin" { 22 } else { 110 };
        assert!(second[2] <= at_most, "{policy}: {second:?}");
        assert!(second[0] > 120 && second[1] > 120, "{policy}: {second:?}");
    }
}
