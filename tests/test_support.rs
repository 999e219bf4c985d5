//! The tests' own tools are right: a tool that cannot see a fault proves nothing. Client and server are
//! put against each other, with no lastcall between.

#[path = "proxy/support/mod.rs"]
mod support;

use std::time::Duration;

use support::backend::{self, Backend, Gate, Step};
use support::client::{End, RawClient};
use support::{App, Config, wait_until};

const POST: &str = "POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello";
const GET: &str = "GET /b?c HTTP/1.1\r\nHost: t\r\nX-A: 1\r\nx-a: 2\r\n\r\n";

#[test]
fn a_server_records_requests_and_keeps_connections() {
    let server = Backend::echo();
    let mut client = RawClient::sending(server.address, POST);
    assert_eq!(client.read_response().body_text(), "hello");
    client.send(GET);
    assert_eq!(client.read_response().status(), 200);
    let chunked = "POST /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n1;x\r\nd\r\n0\r\nT: v\r\n\r\n";
    client.send(chunked);
    assert_eq!(client.read_response().body_text(), "abcd");

    let seen = server.seen();
    let targets: Vec<_> = seen.iter().map(backend::Seen::target).collect();
    assert_eq!(targets, ["/a", "/b?c", "/c"]);
    assert!(seen.iter().all(|one| one.complete && one.connection == 0));
    assert_eq!(seen[1].fields("X-A").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(seen[2].trailers, ["T: v"]);
    let raw = [POST, GET, chunked].concat();
    assert_eq!(server.raw_received(), [raw.as_bytes()]);
}

#[test]
fn a_request_that_ends_early_is_recorded_as_incomplete() {
    let server = Backend::echo();
    let mut client = RawClient::sending(server.address, &POST[..POST.len() - 1]);
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
    let seen = server.wait_for_requests(1);
    assert!(!seen[0].complete);
}

#[test]
fn a_fin_and_a_reset_are_told_apart() {
    for (step, end) in [(Step::Close, End::Fin), (Step::Reset, End::Reset)] {
        let server = Backend::start(move |_| vec![Step::Send(b"x".to_vec()), step.clone()]);
        let mut client = RawClient::sending(server.address, GET);
        assert_eq!(client.read_to_end().1, end);
    }
    let gate = Gate::new();
    let held = gate.clone();
    let server = Backend::start(move |_| vec![Step::Await(held.clone())]);
    let mut client = RawClient::sending(server.address, GET);
    server.wait_for_requests(1);
    let (_, end) = client.read_to_end_within(Duration::from_millis(50));
    assert_eq!(end, End::Open);
    assert_eq!(server.in_flight(), 1);
    gate.open();
    wait_until(
        "the request to be over",
        Duration::from_secs(5),
        || match server.in_flight() {
            0 => Ok(()),
            more => Err(more),
        },
    );
}

#[test]
fn a_client_that_resets_is_seen_by_the_server() {
    let server = Backend::echo();
    let client = RawClient::sending(server.address, &POST[..10]);
    wait_until("bytes", Duration::from_secs(5), || {
        let raw = server.raw_received();
        raw.first()
            .is_some_and(|raw| raw.len() == 10)
            .then_some(())
            .ok_or(raw)
    });
    client.reset();
    assert!(server.seen().is_empty());
}

#[test]
fn streams_trailers_continues_and_tunnels_are_served() {
    let server = Backend::at_head(|seen| match seen.target() {
        "/stream" => backend::stream(&[b"ab", b"c"], Duration::from_millis(5), &["T: v"]),
        "/a" => backend::continues(backend::ok("done")),
        _ => backend::websocket(),
    });
    let mut client = RawClient::sending(server.address, "GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    let answer = client.read_response();
    assert_eq!(
        (answer.body_text(), answer.trailers),
        ("abc".to_owned(), vec!["T: v".to_owned()])
    );

    let (head, body) = POST.split_at(POST.len() - 5);
    client.send(head);
    client.read_until("100 Continue\r\n\r\n");
    client.send(body);
    assert_eq!(client.read_response().body_text(), "done");

    client.send("GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(client.read_response().status(), 101);
    client.send("frames");
    assert_eq!(client.read_until("frames"), b"frames");
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
}

#[test]
#[should_panic(expected = "seen last: 3")]
fn waiting_in_vain_says_what_was_seen_last() {
    wait_until::<(), _>("nothing", Duration::from_millis(20), || Err(3));
}

#[test]
fn an_app_exits_at_once_and_its_record_says_what_it_lost() {
    let mut app = App::start("web-0");
    let path = "/answer?id=1&bytes=2&millis=60000";
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut client = RawClient::sending(app.address, request);
    wait_until("the request", Duration::from_secs(5), || match app.seen() {
        seen if seen.in_flight == 1 => Ok(()),
        seen => Err(seen),
    });
    let seen = app.terminate();
    assert_eq!(seen.in_flight_at_sigterm, Some(1));
    assert_eq!(seen.ended, 0);
    assert!(client.read_to_end().0.is_empty());
}

#[test]
fn a_configuration_is_the_yaml_that_a_user_writes() {
    let config = Config::new(&["127.0.0.1:81".parse().unwrap(), "[::1]:82".parse().unwrap()])
        .load_balancer("connectionDraining: {enabled: true}")
        .load_balancer("connectionDraining: {enabled: false}")
        .backend("web", "balance: {policy: LeastRequest}");
    let expected = format!(
        "apiVersion: lastcall.dev/v1alpha1\nkind: LoadBalancer\nmetadata: {{name: test}}\nspec:\n  \
         listeners: [{{name: http, port: {}, protocol: HTTP}}]\n  \
         defaultBackend: {{name: web}}\n  connectionDraining: {{enabled: false}}\n---\n\
         apiVersion: lastcall.dev/v1alpha1\nkind: Backend\nmetadata: {{name: web}}\nspec:\n  static:\n  \
         - {{address: \"127.0.0.1\", port: 81}}\n  - {{address: \"::1\", port: 82}}\n  \
         balance: {{policy: LeastRequest}}\n",
        config.port
    );
    assert_eq!(config.yaml(), expected);
}
