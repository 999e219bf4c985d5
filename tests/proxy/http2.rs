//! HTTP/2: clients by prior knowledge, endpoints of protocol `H2C` and `GRPC`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method};
use rustix::process::Signal;

use crate::LIMIT;
use crate::support::backend::{self, Backend, Gate, Step};
use crate::support::http2::{Client, Server, read, request, upload};
use crate::support::{Config, End, Lastcall, RawClient, wait_until_async};

/// Lastcall before an endpoint that speaks HTTP/1.
fn before(server: &Backend) -> Lastcall {
    Lastcall::start(Config::new(&[server.address]))
}

/// Lastcall before endpoints that speak HTTP/2.
fn before_http2(servers: &[&Server]) -> Lastcall {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    Lastcall::start(Config::new(&addresses).backend("web", "protocol: H2C"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http2_is_served_by_an_endpoint_of_http1() {
    let server = Backend::echo();
    let lastcall = before(&server);
    let client = Client::connect(lastcall.address).await;
    let mut get = request(Method::GET, "/a?b");
    get.headers_mut()
        .append("cookie", HeaderValue::from_static("a=1"));
    get.headers_mut()
        .append("cookie", HeaderValue::from_static("b=2"));
    assert_eq!(client.ask(get, "").await.unwrap().status, 200);
    let answer = client.post("/upload", "hello").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert!(answer.field("connection").is_none() && answer.field("transfer-encoding").is_none());

    let seen = server.seen();
    assert_eq!(seen[0].target(), "/a?b");
    for (name, value) in [
        ("Host", "test"),
        ("Cookie", "a=1; b=2"),
        ("Via", "2.0 lastcall"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
    ] {
        let named = seen[0].fields(name).collect::<Vec<_>>();
        assert_eq!(named, [value], "{name}");
    }
    assert_eq!(
        seen[1].fields("Transfer-Encoding").collect::<Vec<_>>(),
        ["chunked"]
    );
    assert!(seen[1].complete && seen[0].connection == seen[1].connection);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_of_one_connection_are_served_at_once() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Backend::start(move |seen| backend::slow(&held, seen.target()));
    let lastcall = before(&server);
    let client = Client::connect(lastcall.address).await;
    let mut asked = tokio::task::JoinSet::new();
    for at in 0..100 {
        let send = client.send.clone();
        asked.spawn(async move {
            let mut send = send.ready().await.unwrap();
            let request = request(Method::GET, &format!("/{at}"));
            let (response, _) = send.send_request(request, true).unwrap();
            (at, read(response.await.unwrap()).await.unwrap())
        });
    }
    wait_until_async("all of them", LIMIT, async || match server.in_flight() {
        100 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(lastcall.in_flight(server.address), Some(100.0));
    gate.open();
    while let Some(done) = asked.join_next().await {
        let (at, answer) = done.unwrap();
        assert_eq!(answer.text(), format!("/{at}"));
    }
    lastcall.wait_for_in_flight(server.address, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_larger_than_any_window_pass_both_ways() {
    let content = Bytes::from(
        (0..3_000_000_u32)
            .map(|n| (n % 251) as u8)
            .collect::<Vec<_>>(),
    );
    let http1 = Backend::echo();
    let http2 = Server::start().await;
    for lastcall in [before(&http1), before_http2(&[&http2])] {
        let client = Client::connect(lastcall.address).await;
        for _ in 0..3 {
            let answer = client.post("/echo", content.clone()).await.unwrap();
            assert!(answer.body == content, "{} bytes", answer.body.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_breaks_off_is_never_a_clean_end() {
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n",
    ] {
        let server = Backend::start(move |_| vec![Step::Send(broken.into()), Step::Close]);
        let lastcall = before(&server);
        let client = Client::connect(lastcall.address).await;
        let error = client.get("/").await.unwrap_err();
        assert_eq!(
            (error.is_reset(), error.reason()),
            (true, Some(Reason::INTERNAL_ERROR))
        );
        // The connection goes on.
        assert!(client.get("/").await.unwrap_err().is_reset());
    }
    // By whatever reason an endpoint resets its stream, NO_ERROR among them (PITFALLS 41).
    let server = Server::start().await;
    let lastcall = before_http2(&[&server]);
    let client = Client::connect(lastcall.address).await;
    for reason in [Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::CANCEL] {
        let path = format!("/cut?{}", u32::from(reason));
        let response = client.send(&path).await.await.unwrap();
        server.cut.notify_one();
        let error = read(response).await.unwrap_err();
        assert_eq!(
            (error.is_reset(), error.reason()),
            (true, Some(Reason::INTERNAL_ERROR))
        );
    }
    // The control: what is whole ends clean, where the end of the connection is the end of the body, too.
    let whole =
        Backend::start(|_| vec![Step::Send("HTTP/1.0 200 OK\r\n\r\nall".into()), Step::Close]);
    let lastcall = before(&whole);
    let client = Client::connect(lastcall.address).await;
    assert_eq!(client.get("/").await.unwrap().text(), "all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways() {
    let mut sent = HeaderMap::new();
    sent.insert("x-sum", HeaderValue::from_static("7"));
    let http1 = Backend::start(|_| {
        let mut steps = vec![Step::ReadBody];
        steps.extend(backend::stream(
            &[b"a", b"b"],
            Duration::ZERO,
            &["X-Sum: 7"],
        ));
        steps
    });
    let http2 = Server::start().await;
    for lastcall in [before(&http1), before_http2(&[&http2])] {
        let client = Client::connect(lastcall.address).await;
        let mut post = request(Method::POST, "/echo");
        post.headers_mut()
            .insert("te", HeaderValue::from_static("trailers"));
        let (response, mut stream) = client.begin(post).await;
        stream.send_data(Bytes::from_static(b"ab"), false).unwrap();
        stream.send_trailers(sent.clone()).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!(
            (answer.text().as_str(), answer.trailers.as_ref()),
            ("ab", Some(&sent))
        );
    }
    assert_eq!(http1.seen()[0].trailers, ["x-sum: 7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_share_connections_to_an_endpoint_that_speaks_http2() {
    let server = Server::start().await;
    let lastcall = Lastcall::start(Config::new(&[server.address]).backend("web", "protocol: H2C"));
    let client = Client::connect(lastcall.address).await;
    let mut pending = Vec::new();
    for _ in 0..50 {
        pending.push(client.begin(request(Method::GET, "/never")).await);
    }
    wait_until_async("all of them", LIMIT, async || match server.seen().len() {
        50 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(client.get("/x").await.unwrap().text(), "/x");
    assert!(server.seen().iter().all(|seen| seen.connection == 0));
    assert_eq!(lastcall.in_flight(server.address), Some(50.0));
    // A client that gives its streams up has its exchanges ended.
    drop(pending);
    lastcall.wait_for_in_flight(server.address, 0);
    let head = &server.seen()[0].head;
    assert_eq!(head.uri.to_string(), "http://test/never");
    assert_eq!(head.headers["via"], "2.0 lastcall");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_allows_few_streams_gets_no_more_on_a_connection() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(4);
    let server = Server::with(builder).await;
    let lastcall = Lastcall::start(Config::new(&[server.address]).backend("web", "protocol: H2C"));
    let client = Client::connect(lastcall.address).await;
    let mut pending = Vec::new();
    for _ in 0..10 {
        pending.push(client.begin(request(Method::POST, "/never")).await);
    }
    wait_until_async("all of them", LIMIT, async || match server.seen().len() {
        10 => Ok(()),
        other => Err(other),
    })
    .await;
    let seen = server.seen();
    for connection in 0..3 {
        let streams = seen
            .iter()
            .filter(|seen| seen.connection == connection)
            .count();
        assert!(
            (2..=4).contains(&streams),
            "{streams} on connection {connection}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_an_endpoint_refuses_is_tried_elsewhere_whatever_it_is() {
    let refusing = Server::start().await;
    let taking = Backend::echo();
    // Both speak HTTP/2 in the end: the one that echoes is behind a second lastcall.
    let second = before(&taking);
    let addresses = [refusing.address, second.address];
    let lastcall = Lastcall::start(Config::new(&addresses).backend("web", "protocol: H2C"));
    let client = Client::connect(lastcall.address).await;
    for _ in 0..6 {
        let answer = client.post("/refuse", "hello").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
    assert!(!refusing.seen().is_empty());
    assert_eq!(taking.seen().len(), 6);
    // The control: one that was cut off without a word may have been acted on.
    let one = Server::start().await;
    let lastcall = before_http2(&[&one]);
    let client = Client::connect(lastcall.address).await;
    let refused = client.post("/refuse", "hello").await.unwrap();
    assert_eq!(
        (refused.status, refused.field("retry-after")),
        (503, Some("1"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_says_goaway_loses_no_request() {
    let server = Server::start().await;
    let lastcall = before_http2(&[&server]);
    let client = Client::connect(lastcall.address).await;
    for at in 0..20 {
        assert_eq!(client.post("/goaway", "x").await.unwrap().text(), "/goaway");
        let path = format!("/{at}");
        assert_eq!(client.post(&path, "x").await.unwrap().text(), path);
    }
    assert_eq!(server.seen().len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lastcalls_own_end_takes_two_steps_and_finishes_what_was_begun() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Backend::start(move |seen| match seen.target() {
        "/held" => backend::slow(&held, "done"),
        target => backend::ok(target),
    });
    let mut lastcall = before(&server);
    let client = Client::connect(lastcall.address).await;
    let (response, mut body) = client.begin(request(Method::POST, "/held")).await;
    body.send_data(Bytes::new(), true).unwrap();
    server.wait_for_requests(1);
    lastcall.signal(Signal::TERM);
    // Told: new streams are not opened any more on this connection, by either side's rules.
    wait_until_async("GOAWAY", LIMIT, async || {
        match client.send.clone().ready().await {
            Err(_) => Ok(()),
            Ok(mut send) => match send.send_request(request(Method::GET, "/new"), true) {
                Err(_) => Ok(()),
                Ok((response, _)) => Err(response.await.map(|r| r.status())),
            },
        }
    })
    .await;
    gate.open();
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(answer.text(), "done");
    // Not an error: the connection was closed when all was said.
    client.driver.await.unwrap().unwrap();
    assert!(lastcall.wait().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_told_and_closed() {
    let server = Backend::echo();
    let lastcall =
        Lastcall::start(Config::new(&[server.address]).load_balancer("timeouts: {idle: 2s}"));
    let client = Client::connect(lastcall.address).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    client.driver.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_only_gives_requests_up_is_disconnected() {
    let server = Backend::start(|_| vec![Step::Await(Gate::new())]);
    let lastcall = before(&server);
    let client = Client::connect(lastcall.address).await;
    let begin = Instant::now();
    let error = loop {
        assert!(begin.elapsed() < LIMIT, "it is still served");
        let sent = match client.send.clone().ready().await {
            Ok(mut send) => send.send_request(request(Method::GET, "/"), true),
            Err(error) => break error,
        };
        match sent {
            Ok((response, mut stream)) => {
                // Once it is out, or it is never seen: on a busy machine one in many is.
                tokio::task::yield_now().await;
                stream.send_reset(Reason::CANCEL);
                drop(response);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{error}");
    // Others are served.
    lastcall.wait_for_in_flight(server.address, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_routed_or_read_is_answered() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]).load_balancer("limits: {bodyBytes: 10}");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let mut twofold = request(Method::GET, "/");
    twofold
        .headers_mut()
        .insert("host", HeaderValue::from_static("other"));
    let answer = client.ask(twofold, "").await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("different hosts"),
        "{}",
        answer.text()
    );
    let answer = client.post("/", vec![b'x'; 11]).await.unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(client.post("/", "fits").await.unwrap().text(), "fits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_endpoint_has_its_streams_cut_and_no_others() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Backend::start(move |seen| match seen.target() {
        "/begun" => vec![
            Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()),
            Step::Await(held.clone()),
        ],
        _ => backend::slow(&held, "late"),
    });
    let other = Backend::echo();
    let config = Config::new(&[server.address])
        .endpoints("other", &[other.address])
        .load_balancer("routes: [{matches: [{path: {value: /other}}], backends: [{name: other}]}]");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let unanswered = client.send("/").await;
    let begun = client.send("/begun").await;
    let (spared, mut upload) = client.begin(request(Method::POST, "/other")).await;
    let begun = begun.await.unwrap();
    server.wait_for_requests(2);
    let target = format!("be/web/{}", server.address);
    assert!(lastcall.cli(&["disable", &target]).status.success());
    let answer = read(unanswered.await.unwrap()).await.unwrap();
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("1"))
    );
    assert!(read(begun).await.unwrap_err().is_reset());
    upload
        .send_data(Bytes::from_static(b"still here"), true)
        .unwrap();
    assert_eq!(
        read(spared.await.unwrap()).await.unwrap().text(),
        "still here"
    );
    gate.open();
}

/// A unary call with one message of gRPC.
async fn call(client: &Client, path: &str, fields: &[(&'static str, &str)]) -> (u16, HeaderMap) {
    let mut call = request(Method::POST, path);
    let headers = call.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    for (name, value) in fields {
        headers.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let (response, mut stream) = client.begin(call).await;
    upload(&mut stream, Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])).await;
    let answer = read(response.await.unwrap()).await.unwrap();
    (answer.status, answer.trailers.unwrap_or(answer.headers))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_grpc_is_answered_in_its_own_words() {
    let server = Server::start().await;
    let config = Config::new(&[server.address])
        .backend("web", "protocol: GRPC")
        .endpoints("none", &[])
        .load_balancer("routes: [{matches: [{path: {value: /none}}], backends: [{name: none}]}]");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let (status, fields) = call(&client, "/none", &[]).await;
    assert_eq!(
        (status, &fields["grpc-status"]),
        (200, &HeaderValue::from_static("14"))
    );
    // Its own deadline holds here, too, and is passed on.
    let (status, fields) = call(&client, "/never", &[("grpc-timeout", "2S")]).await;
    assert_eq!(
        (status, &fields["grpc-status"]),
        (200, &HeaderValue::from_static("4"))
    );
    assert_eq!(server.seen()[0].head.headers["grpc-timeout"], "2S");
    assert_eq!(server.seen()[0].head.headers["te"], "trailers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_of_http2_is_a_tunnel_to_an_endpoint_of_http1() {
    let server = Backend::start(backend::websocket_for);
    let lastcall = before(&server);
    let client = Client::connect(lastcall.address).await;
    // The endpoint's SETTINGS, which allow it, come first.
    assert!(client.get("/").await.is_ok());
    let mut open = request(Method::CONNECT, "/chat");
    open.extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    let headers = open.headers_mut();
    headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
    let (response, mut up) = client.begin(open).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let mut down = response.into_body();
    for word in ["one", "two"] {
        up.send_data(Bytes::from(word), false).unwrap();
        let echoed = down.data().await.unwrap().unwrap();
        assert_eq!(echoed, word);
    }
    lastcall.wait_for_in_flight(server.address, 1);
    let seen = server.seen();
    let opening = seen.last().unwrap();
    assert_eq!(opening.field("upgrade"), Some("websocket"));
    assert_eq!(opening.field("sec-websocket-key").map(str::len), Some(24));
    // Through a second lastcall, whose endpoint speaks HTTP/2, too: the tunnel is streams all the way.
    let first = Lastcall::start(Config::new(&[lastcall.address]).backend("web", "protocol: H2C"));
    let through = Client::connect(first.address).await;
    assert!(through.get("/").await.is_ok());
    let mut open = request(Method::CONNECT, "/chat");
    open.extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    let (response, mut far) = through.begin(open).await;
    let mut back = response.await.unwrap().into_body();
    far.send_data(Bytes::from_static(b"far"), false).unwrap();
    assert_eq!(back.data().await.unwrap().unwrap(), "far");
    drop((far, back));
    lastcall.wait_for_in_flight(server.address, 1);
    // Both sides close, and it is no longer in flight.
    up.send_data(Bytes::new(), true).unwrap();
    assert!(down.data().await.is_none_or(|end| end.unwrap().is_empty()));
    lastcall.wait_for_in_flight(server.address, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http1_is_served_by_an_endpoint_of_http2() {
    let server = Server::start().await;
    let lastcall = before_http2(&[&server]);
    let chunked = "POST /echo HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 7\r\n\r\n";
    let address = lastcall.address;
    let done = tokio::task::spawn_blocking(move || {
        let mut client = RawClient::connect(address);
        for at in 0..3 {
            let path = format!("/{at}");
            let answer = client.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
            assert_eq!((answer.status(), answer.body_text()), (200, path));
        }
        let answer = client.ask(chunked);
        assert_eq!(
            (answer.status(), answer.body_text().as_str()),
            (200, "abcde")
        );
        assert_eq!(answer.trailers, ["x-sum: 7"]);
        // What breaks off ends in a reset, in the middle of its chunks.
        client.send("GET /cut?2 HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.read_head().status(), 200);
        client
    });
    let mut client = done.await.unwrap();
    server.cut.notify_one();
    let end = tokio::task::spawn_blocking(move || client.read_to_end().1);
    assert_eq!(end.await.unwrap(), End::Reset);
    // And what is refused without being looked at may be tried again, a POST, too, where there is another.
    let other = Server::start().await;
    let lastcall = before_http2(&[&other]);
    let mut client = RawClient::connect(lastcall.address);
    let post = "POST /refuse HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";
    let answer = tokio::task::spawn_blocking(move || client.ask(post));
    assert_eq!(answer.await.unwrap().status(), 503);
}

#[test]
fn what_is_not_quite_the_preface_closes_the_connection() {
    let server = Backend::echo();
    let lastcall = before(&server);
    let mut client = RawClient::sending(lastcall.address, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(client.read_to_end().1, End::Fin);
    assert!(server.seen().is_empty());
}
