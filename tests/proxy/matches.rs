//! Which request goes where by more than host and prefix: exact paths, regular expressions, methods, fields,
//! the query, and what a listener's hostname narrows.

use crate::support::backend::{self, Backend};
use crate::support::{Config, Lastcall, RawClient};

/// Servers that answer with their names, as Backends of the same names.
fn named(names: &[&'static str], load_balancer: &str) -> (Vec<Backend>, Config) {
    let mut config = Config::new(&[]).load_balancer(load_balancer);
    let mut servers = Vec::new();
    for &name in names {
        let server = Backend::start(move |_| backend::ok(name));
        config.set_endpoints(name, &[server.address]);
        servers.push(server);
    }
    (servers, config)
}

/// The name of the server that answers a request with these field lines, each with its end.
fn answers(lastcall: &Lastcall, line: &str, fields: &str) -> String {
    let mut client = RawClient::connect(lastcall.address);
    let answer = client.ask(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    answer.body_text()
}

#[test]
fn an_exact_path_then_an_expression_then_a_prefix() {
    let (_servers, config) = named(
        &["web", "exact", "expression", "prefix"],
        "routes:\n\
         - {matches: [{path: {value: /users}}], backends: [{name: prefix}]}\n\
         - {matches: [{path: {type: RegularExpression, value: '/users/[0-9]+'}}], backends: [{name: expression}]}\n\
         - {matches: [{path: {type: Exact, value: /users/0}}], backends: [{name: exact}]}",
    );
    let lastcall = Lastcall::start(config);
    for (path, expected) in [
        ("/users/0", "exact"),
        ("/users/0?x=1", "exact"),
        ("/users/00", "expression"),
        ("/users/17", "expression"),
        ("/users/17/", "prefix"),
        ("/users/seventeen", "prefix"),
        ("/users", "prefix"),
        ("/user", "web"),
        ("/Users/0", "web"),
        ("/users/%30", "prefix"),
    ] {
        let found = answers(&lastcall, &format!("GET {path}"), "");
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn methods_fields_and_the_query_tell_requests_apart() {
    let (_servers, config) = named(
        &["web", "post", "canary", "beta", "both", "version"],
        "routes:\n\
         - {matches: [{path: {value: /}, method: POST}], backends: [{name: post}]}\n\
         - {matches: [{headers: [{name: X-Canary, value: 'yes'}]}], backends: [{name: canary}]}\n\
         - {matches: [{headers: [{name: X-Canary, value: 'yes'}], query: [{name: beta, value: '1'}]}], backends: [{name: both}]}\n\
         - {matches: [{query: [{name: beta, value: '1'}]}], backends: [{name: beta}]}\n\
         - {matches: [{query: [{name: v, type: RegularExpression, value: '2[.][0-9]+'}]}, {headers: [{name: Accept, type: RegularExpression, value: '.*version=2.*'}]}], backends: [{name: version}]}",
    );
    let lastcall = Lastcall::start(config);
    for (line, fields, expected) in [
        ("GET /", "", "web"),
        ("POST /", "Content-Length: 0\r\n", "post"),
        ("POST /", "Content-Length: 0\r\nX-Canary: yes\r\n", "post"),
        ("GET /", "x-canary: yes\r\n", "canary"),
        ("GET /", "X-Canary: no\r\nX-Canary: yes\r\n", "canary"),
        ("GET /", "X-Canary: yes, no\r\n", "web"),
        ("GET /?beta=1", "X-Canary: yes\r\n", "both"),
        ("GET /?a=b&beta=1", "", "beta"),
        ("GET /?beta=%31", "", "beta"),
        ("GET /?beta=2&beta=1", "", "web"),
        ("GET /?v=2.7", "", "version"),
        ("GET /?v=12.7", "", "web"),
        ("GET /", "Accept: text/plain;version=2;q=1\r\n", "version"),
    ] {
        let found = answers(&lastcall, line, fields);
        assert_eq!(found, expected, "{line} {fields:?}");
    }
}

#[test]
fn a_listeners_hostname_narrows_what_its_routes_are_for() {
    let (_servers, config) = named(
        &["web", "shop"],
        "routes: [{hostnames: [a.b, shop.example.com], backends: [{name: shop}]}]",
    );
    let lastcall = Lastcall::start(config);
    let narrowed = lastcall.config().yaml().replace(
        "protocol: HTTP}",
        "protocol: HTTP, hostname: '*.example.com'}",
    );
    lastcall.folder.write("test.yaml", &narrowed);
    lastcall.wait_for_metric("lastcall_config_reloads_total{result=\"ok\"}", 2.0);
    for (host, status) in [
        ("shop.example.com", 200),
        ("other.example.com", 200),
        ("a.b", 404),
        ("example.com", 404),
    ] {
        let mut client = RawClient::connect(lastcall.address);
        let answer = client.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status(), status, "{host}");
    }
}

#[test]
fn a_configuration_with_an_expression_that_is_none_changes_nothing_that_runs() {
    let (_servers, config) = named(&["web"], "routes: []");
    let mut lastcall = Lastcall::start(config);
    let bad = lastcall.config().load_balancer(
        "routes: [{matches: [{path: {type: RegularExpression, value: '/('}}], backends: [{name: web}]}]",
    );
    lastcall.reload(bad);
    lastcall.wait_for_metric("lastcall_config_reloads_total{result=\"failed\"}", 1.0);
    lastcall.wait_for_log("spec.routes[0].matches[0].path.value");
    lastcall.wait_for_log("unclosed group");
    assert_eq!(answers(&lastcall, "GET /", ""), "web");
}
