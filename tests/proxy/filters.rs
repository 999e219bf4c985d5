//! What routes do with requests beside sending them somewhere, over real sockets.

use lastcall::api::filter::{RESERVED, is_reserved};
use lastcall::proxy::http1::Known;

use crate::support::backend::{self, Backend, Step};
use crate::support::{Config, Lastcall, RawClient, wait_until};

/// A lastcall before one server, with these routes.
fn serve(server: &Backend, routes: &str) -> Lastcall {
    Lastcall::start(Config::new(&[server.address]).load_balancer(&format!("routes:\n{routes}")))
}

#[test]
fn fields_of_requests_and_responses_are_changed_on_their_way() {
    let server = Backend::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nServer: theirs\r\nX-Set: old\r\nContent-Length: 2\r\n\r\nok";
        vec![Step::Send(head.as_bytes().to_vec())]
    });
    let lastcall = serve(
        &server,
        "- matches: [{path: {value: /api}}]\n  \
           filters:\n  \
           - requestHeaders: {set: [{name: X-Set, value: new}], add: [{name: X-Add, value: two}], remove: [Cookie]}\n  \
           - responseHeaders: {set: [{name: X-Set, value: new}], add: [{name: X-Add, value: 'a, b'}], remove: [Server]}\n  \
           backends: [{name: web}]",
    );
    let mut client = RawClient::connect(lastcall.address);
    let request = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nx-set: 1\r\nX-SET: 2\r\nX-Add: one\r\nCookie: a=b\r\n\r\n"
        )
    };
    let answer = client.ask(request("/api"));
    let seen = &server.seen()[0];
    let all = |name| seen.fields(name).collect::<Vec<_>>();
    assert_eq!(all("X-Set"), ["new"]);
    assert_eq!(all("X-Add"), ["one", "two"]);
    assert_eq!(all("Cookie"), [""; 0]);
    assert_eq!(answer.fields("X-Set"), ["new"]);
    assert_eq!(answer.fields("X-Add"), ["a, b"]);
    assert_eq!(answer.fields("Server"), [""; 0]);
    assert_eq!(answer.body_text(), "ok");
    // Another route of the same connection is left as it is.
    let answer = client.ask(request("/"));
    assert_eq!(server.seen()[1].fields("X-Set").count(), 2);
    assert_eq!(answer.fields("X-Set"), ["old"]);
}

#[test]
fn a_rewrite_changes_host_and_path_and_nothing_that_is_told_of_the_client() {
    let server = Backend::echo();
    let lastcall = serve(
        &server,
        "- {hostnames: [old], filters: [{rewrite: {path: {type: ReplaceFullPath, value: /gone}}}], backends: [{name: web}]}\n\
         - matches: [{path: {value: /api/v1/}}, {path: {value: /api}}]\n  \
           filters: [{rewrite: {hostname: inner.example, path: {type: ReplacePrefixMatch, value: /v2/}}}]\n  \
           backends: [{name: web}]",
    );
    for (host, path, target, seen_host) in [
        ("a:81", "/api/v1/x?q=1", "/v2/x?q=1", "inner.example"),
        ("a:81", "/api/v1", "/v2", "inner.example"),
        ("a:81", "/api/v12", "/v2/v12", "inner.example"),
        ("a:81", "/apix", "/apix", "a:81"),
        ("old", "/api/x?q=1", "/gone?q=1", "old"),
    ] {
        let mut client = RawClient::connect(lastcall.address);
        let answer = client.ask(format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi"
        ));
        assert_eq!(answer.body_text(), "hi");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.target(), target, "{path}");
        assert_eq!(seen.field("Host"), Some(seen_host));
        assert_eq!(seen.field("X-Forwarded-Host"), Some(host));
    }
}

#[test]
fn a_redirect_is_answered_without_an_endpoint_and_the_connection_goes_on() {
    let server = Backend::echo();
    let lastcall = serve(
        &server,
        "- {hostnames: [old.example], filters: [{redirect: {hostname: new.example, statusCode: 308}}]}\n\
         - {hostnames: [plain.example], filters: [{redirect: {scheme: https, statusCode: 301}}]}\n\
         - matches: [{path: {value: /docs}}]\n  \
           filters: [{redirect: {port: 8443, scheme: https, path: {type: ReplacePrefixMatch, value: /}}}]",
    );
    let mut client = RawClient::connect(lastcall.address);
    for (host, path, status, location) in [
        (
            "old.example:8080",
            "/a?b=c",
            308,
            "http://new.example:8080/a?b=c",
        ),
        ("plain.example:8080", "/a", 301, "https://plain.example/a"),
        ("PLAIN.example.", "/", 301, "https://plain.example/"),
        ("other", "/docs/x", 302, "https://other:8443/x"),
        (
            "other",
            "/docs//evil.example/",
            302,
            "https://other:8443//evil.example/",
        ),
        ("[::1]:80", "/docs", 302, "https://[::1]:8443/"),
    ] {
        let answer = client.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status(), status, "{host}{path}");
        assert_eq!(answer.field("Location"), Some(location));
        assert_eq!(answer.body_text(), "");
    }
    assert_eq!(server.seen(), []);
    // HTTP/1.0 may name no host.
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask("GET /docs//evil.example HTTP/1.0\r\n\r\n");
    assert_eq!(answer.field("Location"), Some("/.//evil.example"));
    assert_eq!(
        lastcall.count("lastcall_requests_total{status_class=\"3xx\"}"),
        Some(7)
    );
}

/// Every field that the proxy treats specially is one that filters may not touch.
#[test]
fn what_is_reserved_is_what_the_proxy_treats_specially() {
    for name in RESERVED {
        assert_ne!(Known::of(name.as_bytes()), Known::Other, "{name}");
    }
    for name in [
        "X-Forwarded-For",
        "x_forwarded_port",
        "HOST",
        "Content_Length",
        "Te",
    ] {
        assert!(is_reserved(name), "{name}");
    }
    for name in [
        "Cookie",
        "Content-Type",
        "Content-Encoding",
        "Forwarded-By",
        "Set-Cookie",
    ] {
        assert!(!is_reserved(name), "{name}");
    }
}

#[test]
fn a_client_over_its_limit_is_told_when_to_come_again_and_others_are_not() {
    let server = Backend::start(|_| backend::ok("web"));
    // One an hour: no machine is so slow that the second comes in time.
    let config = Config::new(&[server.address])
        .load_balancer(
            "routes: [{filters: [{rateLimit: {requests: 1, interval: 1h, burst: 3}}], backends: [{name: web}]}]",
        );
    let mut lastcall = Lastcall::start(config);
    let ask = |lastcall: &Lastcall, last: u8| {
        let from = std::net::Ipv4Addr::new(127, 0, 0, last).into();
        // Connections of their own, so that more than one worker gets them.
        let mut client = RawClient::connect_from(from, lastcall.address);
        client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    for _ in 0..3 {
        assert_eq!(ask(&lastcall, 8).status(), 200);
    }
    for _ in 0..5 {
        let answer = ask(&lastcall, 8);
        assert_eq!(answer.status(), 429);
        let seconds: u32 = answer.field("Retry-After").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&seconds), "{seconds}");
    }
    assert_eq!(ask(&lastcall, 9).status(), 200);
    assert_eq!(server.seen().len(), 4);
    lastcall.wait_for_metric("lastcall_refused_total{reason=\"rate_limit\"}", 5.0);

    // Another Backend is nothing to the limit.
    let other = Backend::start(|_| backend::ok("other"));
    let mut config = lastcall.config();
    config.set_endpoints("web", &[other.address]);
    lastcall.reload(config);
    // A client of its own each time: it is not to use up its own limit.
    let mut strangers = (10..=254).cycle();
    wait_until("the other server", crate::LIMIT, || {
        let stranger = strangers.next().unwrap();
        match ask(&lastcall, stranger).body_text() {
            body if body == "other" => Ok(()),
            body => Err(body),
        }
    });
    assert_eq!(ask(&lastcall, 8).status(), 429);
    // Another limit counts anew.
    let config = lastcall.config().load_balancer(
        "routes: [{filters: [{rateLimit: {requests: 1, interval: 1h, burst: 1}}], backends: [{name: web}]}]",
    );
    lastcall.reload(config);
    wait_until("the other limit", crate::LIMIT, || {
        match ask(&lastcall, 8).status() {
            200 => Ok(()),
            status => Err(status),
        }
    });
    assert_eq!(ask(&lastcall, 8).status(), 429);
}

#[test]
fn a_limit_of_the_route_counts_all_clients_and_only_its_own_requests() {
    let server = Backend::start(|_| backend::ok("web"));
    let lastcall = serve(
        &server,
        "- matches: [{path: {value: /slow}}]\n  \
           filters: [{rateLimit: {requests: 2, interval: 1h, per: Route}}]\n  \
           backends: [{name: web}]",
    );
    let statuses = |path: &str| -> Vec<u16> {
        (8..12)
            .map(|last| {
                let from = std::net::Ipv4Addr::new(127, 0, 0, last).into();
                let mut client = RawClient::connect_from(from, lastcall.address);
                client
                    .ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
                    .status()
            })
            .collect()
    };
    assert_eq!(statuses("/slow"), [200, 200, 429, 429]);
    assert_eq!(statuses("/fast"), [200; 4]);
}

#[test]
fn behind_a_trusted_proxy_the_client_that_it_names_is_limited() {
    let server = Backend::start(|_| backend::ok("web"));
    let config = Config::new(&[server.address])
        .load_balancer("trustedProxies: [127.0.0.9/32]")
        .load_balancer(
            "routes: [{filters: [{rateLimit: {requests: 1, interval: 1h}}], backends: [{name: web}]}]",
        );
    let lastcall = Lastcall::start(config);
    let ask = |last: u8, named: &str| {
        let from = std::net::Ipv4Addr::new(127, 0, 0, last).into();
        let mut client = RawClient::connect_from(from, lastcall.address);
        let fields = format!("X-Forwarded-For: {named}\r\n");
        let answer = client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        answer.status()
    };
    assert_eq!(ask(9, "192.0.2.1"), 200);
    assert_eq!(ask(9, "6.6.6.6, 192.0.2.1"), 429);
    assert_eq!(ask(9, "192.0.2.2"), 200);
    // Nobody else is believed.
    assert_eq!(ask(8, "192.0.2.3"), 200);
    assert_eq!(ask(8, "192.0.2.4"), 429);
}
