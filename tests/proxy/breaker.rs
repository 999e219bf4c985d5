//! How much endpoints take at once: what is over waits for a place, or is told so; and how many of the requests may
//! be sent again. The judge is what the servers have seen.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::LIMIT;
use crate::support::backend::{self, Backend, Gate, Step};
use crate::support::http2::{Client, request};
use crate::support::{Config, Lastcall, RawClient, RawServer, free_port, wait_until};

const WEB: &str = "{namespace=\"default\",backend=\"web\"}";

fn of_web(metric: &str) -> String {
    format!("{metric}{WEB}")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The head of a request with a body.
fn post(length: usize) -> String {
    format!("POST /within HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

/// A server that answers each request with its path once the test says so.
fn held(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |seen| backend::slow(&gate, seen.target()))
}

/// Lastcall before these servers, each of which takes `most`.
fn limited(servers: &[&Backend], most: u32, queue: &str) -> Lastcall {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let limits = format!("limits: {{maxInFlight: {most}{queue}}}");
    Lastcall::start(Config::new(&addresses).backend("web", &limits))
}

#[test]
fn a_full_endpoint_gets_no_more_and_who_comes_then_is_told_at_once() {
    let gate = Gate::new();
    let servers = [held(&gate), held(&gate)];
    let lastcall = limited(&servers.each_ref(), 2, "");
    // One after the other: more at the same moment may be let in.
    let mut clients = Vec::new();
    for at in 0..4 {
        clients.push(RawClient::sending(lastcall.address, get(&format!("/{at}"))));
        wait_until("the request to be in flight", LIMIT, || {
            let seen = servers[0].seen().len() + servers[1].seen().len();
            (seen == at + 1).then_some(()).ok_or(seen)
        });
    }
    for (server, seen) in servers.iter().zip([2, 2]) {
        assert_eq!(server.seen().len(), seen);
    }
    for _ in 0..3 {
        let answer = RawClient::connect(lastcall.address).ask(get("/more"));
        assert_eq!(
            (answer.status(), answer.field("Retry-After")),
            (503, Some("1"))
        );
    }
    lastcall.wait_for_metric(&of_web("lastcall_limit_refused_total"), 3.0);
    gate.open();
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read_response().body_text(), format!("/{at}"));
    }
    assert_eq!(
        RawClient::connect(lastcall.address).ask(get("/x")).status(),
        200
    );
    let seen = servers.iter().flat_map(Backend::seen);
    assert_eq!(seen.filter(|seen| seen.target() == "/more").count(), 0);
}

/// Waits until so many are in the queue.
fn wait_for_queued(lastcall: &Lastcall, count: u32) {
    lastcall.wait_for_metric(&of_web("lastcall_queue_length"), f64::from(count));
}

#[test]
fn what_waits_is_served_in_the_order_in_which_it_came_whatever_worker_it_is_in() {
    let gate = Gate::new();
    let first = gate.clone();
    let server = Backend::start(move |seen| match seen.target() {
        "/first" => backend::slow(&first, "first"),
        path => backend::ok(path),
    });
    let lastcall = limited(&[&server], 1, ", queue: {length: 20, wait: 60s}");
    let mut clients = vec![RawClient::sending(lastcall.address, get("/first"))];
    server.wait_for_requests(1);
    for at in 1..=12 {
        clients.push(RawClient::sending(lastcall.address, get(&format!("/{at}"))));
        wait_for_queued(&lastcall, at);
    }
    assert_eq!(server.seen().len(), 1);
    gate.open();
    for (at, client) in clients.iter_mut().enumerate().skip(1) {
        assert_eq!(client.read_response().body_text(), format!("/{at}"));
    }
    wait_for_queued(&lastcall, 0);
    assert_eq!(
        lastcall.metric(&of_web("lastcall_queued_total")),
        Some(12.0)
    );
    assert!(lastcall.metric(&of_web("lastcall_queue_wait_seconds_total")) > Some(0.0));
    let order: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.target().to_owned())
        .collect();
    // Within a worker always; of two that are woken at the same moment either may be the first.
    for (at, path) in order.iter().enumerate().skip(1) {
        let number: usize = path[1..].parse().unwrap();
        assert!(number.abs_diff(at) <= 2, "{order:?}");
    }
    // Not more than one at once, but for those that were let in at the same moment.
    let connections = server.connections();
    assert!(connections <= 2, "{connections}");
}

#[test]
fn a_queue_that_is_full_and_a_wait_that_is_over_are_answered_503() {
    let gate = Gate::new();
    let server = held(&gate);
    let lastcall = limited(&[&server], 1, ", queue: {length: 1, wait: 3s}");
    let mut first = RawClient::sending(lastcall.address, get("/first"));
    server.wait_for_requests(1);
    let began = Instant::now();
    let mut waits = RawClient::sending(lastcall.address, get("/waits"));
    wait_for_queued(&lastcall, 1);
    let over = RawClient::connect(lastcall.address).ask(get("/over"));
    assert_eq!((over.status(), over.field("Retry-After")), (503, Some("1")));
    let late = waits.read_response();
    assert_eq!((late.status(), late.field("Retry-After")), (503, Some("1")));
    assert!(began.elapsed() >= Duration::from_secs(3));
    wait_for_queued(&lastcall, 0);
    lastcall.wait_for_metric(&of_web("lastcall_limit_refused_total"), 2.0);
    gate.open();
    assert_eq!(first.read_response().status(), 200);
    // The connection goes on: nothing of it was lost.
    assert_eq!(waits.ask(get("/again")).body_text(), "/again");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_client_that_goes_away_leaves_the_queue() {
    let gate = Gate::new();
    let server = held(&gate);
    let lastcall = limited(&[&server], 1, ", queue: {length: 10, wait: 60s}");
    let mut first = RawClient::sending(lastcall.address, get("/first"));
    server.wait_for_requests(1);
    let gone = [
        RawClient::sending(lastcall.address, get("/gone")),
        RawClient::sending(lastcall.address, get("/reset")),
    ];
    let mut half = RawClient::sending(lastcall.address, get("/half"));
    let mut stays = RawClient::sending(lastcall.address, get("/stays"));
    wait_for_queued(&lastcall, 4);
    let [closes, resets] = gone;
    drop(closes);
    resets.reset();
    wait_for_queued(&lastcall, 2);
    half.half_close();
    assert_eq!(half.read_response().status(), 503);
    // One whose request was never whole may read what it is told, too.
    let body = format!("{}{}", post(100_000), "x".repeat(1000));
    let mut within = RawClient::sending(lastcall.address, body);
    wait_for_queued(&lastcall, 2);
    within.half_close();
    assert_eq!(within.read_response().status(), 503);
    wait_for_queued(&lastcall, 1);
    gate.open();
    assert_eq!(first.read_response().status(), 200);
    assert_eq!(stays.read_response().body_text(), "/stays");
    let seen: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.target().to_owned())
        .collect();
    assert_eq!(seen, ["/first", "/stays"]);
    let log = lastcall.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

#[test]
fn an_endpoint_that_comes_serves_who_waits_and_a_drain_waits_for_nobody_in_the_queue() {
    let gate = Gate::new();
    let (server, other) = (
        held(&gate),
        Backend::start(|seen| backend::ok(seen.target())),
    );
    let mut lastcall = limited(&[&server], 1, ", queue: {length: 10, wait: 60s}");
    let mut first = RawClient::sending(lastcall.address, get("/first"));
    server.wait_for_requests(1);
    let mut waiting: Vec<_> = (0..4)
        .map(|at| RawClient::sending(lastcall.address, get(&format!("/{at}"))))
        .collect();
    wait_for_queued(&lastcall, 4);
    // Leaves its Backend, for one that serves.
    let config = lastcall.config().endpoints("web", &[other.address]);
    lastcall.reload(config);
    for (at, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.read_response().body_text(), format!("/{at}"));
    }
    assert_eq!(other.seen().len(), 4);
    assert_eq!(server.seen().len(), 1);
    gate.open();
    assert_eq!(first.read_response().body_text(), "/first");
}

#[test]
fn an_endpoint_that_is_enabled_again_serves_who_waits() {
    let gate = Gate::new();
    let (server, other) = (
        held(&gate),
        Backend::start(|seen| backend::ok(seen.target())),
    );
    let lastcall = limited(&[&server, &other], 1, ", queue: {length: 10, wait: 60s}");
    let target = format!("be/web/{}", other.address);
    assert!(lastcall.cli(&["drain", "--wait", &target]).status.success());
    let _first = RawClient::sending(lastcall.address, get("/first"));
    server.wait_for_requests(1);
    let mut waits = RawClient::sending(lastcall.address, get("/waits"));
    wait_for_queued(&lastcall, 1);
    assert!(lastcall.cli(&["enable", &target]).status.success());
    assert_eq!(waits.read_response().body_text(), "/waits");
    gate.open();
}

#[test]
fn what_could_not_be_sent_waits_for_the_endpoint_that_is_full_and_holds_up_nobody() {
    let gate = Gate::new();
    let server = held(&gate);
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = Config::new(&[server.address, nobody]).backend(
        "web",
        "limits: {maxInFlight: 1, queue: {length: 10, wait: 60s}}",
    );
    let lastcall = Lastcall::start(config);
    let mut first = RawClient::sending(lastcall.address, get("/first"));
    server.wait_for_requests(1);
    let mut waits: Vec<_> = (0..3)
        .map(|at| RawClient::sending(lastcall.address, get(&format!("/{at}"))))
        .collect();
    wait_for_queued(&lastcall, 3);
    // Each was tried where nobody is, perhaps the first one too, and is still there.
    wait_until("three connections to fail", LIMIT, || {
        match lastcall.count("lastcall_upstream_connect_failures_total") {
            Some(3..) => Ok(()),
            count => Err(count),
        }
    });
    gate.open();
    for client in [&mut first].into_iter().chain(&mut waits) {
        assert_eq!(client.read_response().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_http2_wait_too_and_grpc_is_told_in_its_own_words() {
    let gate = Gate::new();
    let server = held(&gate);
    let lastcall = limited(&[&server], 1, ", queue: {length: 2, wait: 60s}");
    let client = Client::connect(lastcall.address).await;
    let first = client.send("/first").await;
    tokio::task::block_in_place(|| server.wait_for_requests(1));
    let waits = client.send("/waits").await;
    let gone = client.send("/gone").await;
    tokio::task::block_in_place(|| wait_for_queued(&lastcall, 2));
    // The queue is full.
    assert_eq!(client.get("/over").await.unwrap().status, 503);
    let mut call = request(http::Method::POST, "/pkg.Service/Call");
    let grpc = http::HeaderValue::from_static("application/grpc");
    call.headers_mut().insert("content-type", grpc);
    let answer = client.ask(call, "").await.unwrap();
    assert_eq!(
        (answer.status, answer.field("grpc-status")),
        (200, Some("14"))
    );
    // One gives up.
    drop(gone);
    tokio::task::block_in_place(|| wait_for_queued(&lastcall, 1));
    gate.open();
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(waits.await.unwrap().status(), 200);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn tcp_connections_wait_for_one_another() {
    let server = RawServer::start();
    let config = Config::new(&[server.address]).tcp().backend(
        "web",
        "limits: {maxInFlight: 1, queue: {length: 1, wait: 60s}}",
    );
    let lastcall = Lastcall::start(config);
    let first = RawClient::connect(lastcall.address);
    let at_server = server.accept();
    let mut waits = RawClient::sending(lastcall.address, "hello");
    wait_for_queued(&lastcall, 1);
    assert!(RawClient::is_reset_at_once(lastcall.address));
    lastcall.wait_for_metric(&of_web("lastcall_limit_refused_total"), 1.0);
    drop((first, at_server));
    let mut second = server.accept();
    assert_eq!(second.read_until("hello"), b"hello");
    // One that goes away leaves the queue.
    let gone = RawClient::connect(lastcall.address);
    wait_for_queued(&lastcall, 1);
    drop(gone);
    wait_for_queued(&lastcall, 0);
    second.send("bye");
    waits.read_until("bye");
}

#[test]
fn lastcalls_own_end_waits_for_nobody_in_the_queue() {
    let gate = Gate::new();
    let server = held(&gate);
    let config = Config::new(&[server.address])
        .backend(
            "web",
            "limits: {maxInFlight: 1, queue: {length: 9, wait: 60s}}",
        )
        .flag("--shutdown-delay=0s")
        .flag("--shutdown-timeout=1s");
    let mut lastcall = Lastcall::start(config);
    let _first = RawClient::sending(lastcall.address, get("/first"));
    server.wait_for_requests(1);
    let mut waits = RawClient::sending(lastcall.address, get("/waits"));
    wait_for_queued(&lastcall, 1);
    lastcall.signal(rustix::process::Signal::TERM);
    assert_eq!(waits.read_response().status(), 503);
    lastcall.wait();
    gate.open();
}

/// A server that takes requests and then breaks off without an answer, but for those at `/ok`.
fn breaking() -> Backend {
    Backend::start(|seen| match seen.target() {
        "/ok" => backend::ok("ok"),
        _ => vec![Step::Reset],
    })
}

#[test]
fn retries_are_no_more_than_the_budget_has_and_the_last_answer_is_passed_on() {
    let servers = [breaking(), breaking()];
    let config = Config::new(&servers.each_ref().map(|server| server.address)).backend(
        "web",
        "retry: {attempts: 1, budget: {percent: 10, minPerSecond: 0, interval: 1h}}",
    );
    let lastcall = Lastcall::start(config);
    for _ in 0..40 {
        let answer = RawClient::connect(lastcall.address).ask(get("/ok"));
        assert_eq!(answer.status(), 200);
    }
    for _ in 0..10 {
        let answer = RawClient::connect(lastcall.address).ask(get("/broken"));
        assert_eq!(answer.status(), 502);
    }
    // Of 41 requests 4, of 50 one more.
    let seen = servers.iter().flat_map(Backend::seen);
    let sent = seen.filter(|seen| seen.target() == "/broken").count();
    assert_eq!(sent, 15);
    assert_eq!(lastcall.metric("lastcall_retries_total"), Some(5.0));
    assert_eq!(
        lastcall.metric(&of_web("lastcall_retries_denied_total")),
        Some(5.0)
    );
}

#[test]
fn what_was_never_sent_is_tried_elsewhere_whatever_the_budget_says() {
    let server = Backend::start(|seen| backend::ok(seen.target()));
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = Config::new(&[nobody, server.address])
        .backend("web", "retry: {budget: {percent: 0, minPerSecond: 0}}");
    let lastcall = Lastcall::start(config);
    let mut client = RawClient::connect(lastcall.address);
    for at in 0..12 {
        assert_eq!(client.ask(get(&format!("/{at}"))).status(), 200);
    }
    assert!(lastcall.metric("lastcall_retries_total") > Some(3.0));
    assert_eq!(
        lastcall.metric(&of_web("lastcall_retries_denied_total")),
        Some(0.0)
    );
}

/// Under a crowd no request is lost, and no more are with a server at once than the limit, and one for the other
/// worker.
#[test]
fn a_crowd_is_served_a_few_at_a_time() {
    let now_and_most = Arc::new(Mutex::new((0, 0)));
    let counted = Arc::clone(&now_and_most);
    let server = Backend::start(move |_| {
        {
            let mut counted = counted.lock().unwrap();
            counted.0 += 1;
            counted.1 = counted.1.max(counted.0);
        }
        std::thread::sleep(Duration::from_millis(1));
        counted.lock().unwrap().0 -= 1;
        backend::ok("ok")
    });
    let lastcall = limited(&[&server], 3, ", queue: {length: 100, wait: 60s}");
    let address = lastcall.address;
    let crowd = (0..16).map(|_| {
        std::thread::spawn(move || {
            let mut client = RawClient::connect(address);
            (0..25)
                .filter(|_| client.ask(get("/")).status() == 200)
                .count()
        })
    });
    let crowd: Vec<_> = crowd.collect();
    let served: usize = crowd.into_iter().map(|one| one.join().unwrap()).sum();
    assert_eq!(served, 16 * 25);
    let most = now_and_most.lock().unwrap().1;
    assert!((1..=4).contains(&most), "{most} at once");
    assert!(lastcall.metric(&of_web("lastcall_queued_total")) > Some(0.0));
    wait_for_queued(&lastcall, 0);
}
