//! The router by examples, and against one that looks at every route.

mod judge;
mod reference;

use super::*;
use crate::model;
use crate::model::{
    Expression, Match, NamedPattern, PathPattern, Retry, RouteTimeouts, ValuePattern,
};
use crate::proxy::http1::{HeadLimits, parse_request};
use crate::proxy::samples;

fn to(backend: usize, weight: u32) -> WeightedBackend {
    WeightedBackend {
        backend,
        weight,
        timeouts: RouteTimeouts::default(),
        retry: Retry::default(),
    }
}

fn matching(hosts: &[&str], matches: Vec<Match>, backends: Vec<WeightedBackend>) -> Route {
    Route {
        hostnames: hosts.iter().map(|h| HostPattern::new(h)).collect(),
        matches,
        filters: None,
        backends,
    }
}

/// A route for these prefixes.
fn route(hosts: &[&str], prefixes: &[&str], backends: Vec<WeightedBackend>) -> Route {
    matching(
        hosts,
        prefixes.iter().map(|p| Match::prefix(p)).collect(),
        backends,
    )
}

fn load_balancer(routes: Vec<Route>, default: Option<usize>) -> LoadBalancer {
    LoadBalancer {
        routes,
        default_backend: default.map(|b| to(b, 1)),
        ..samples::load_balancer(&[])
    }
}

fn router(routes: Vec<Route>, default: Option<usize>) -> Router {
    Router::new(&load_balancer(routes, default), &[], 0)
}

/// Calls `with` with what a request is matched by: `GET /path?query` and its field lines, each with its end.
fn asking<T>(host: &str, line: &str, fields: &str, with: impl FnOnce(&Asked<'_>) -> T) -> T {
    let host_line = if host.is_empty() { "a" } else { host };
    let text = format!("{line} HTTP/1.1\r\nHost: {host_line}\r\n{fields}\r\n");
    let (buf, mut parsed) = (text.as_bytes(), Vec::new());
    let limits = HeadLimits::from(&crate::model::Limits::default());
    let head = parse_request(buf, &limits, &mut parsed);
    let (head, _) = head.expect("valid").expect("whole");
    with(&Asked {
        host,
        path: head.path(buf),
        query: head.query(buf),
        method: head.method_text.of(buf),
        fields: &parsed,
        buf,
    })
}

fn goes(router: &Router, host: &str, path: &str) -> Option<usize> {
    let method = if path == "*" { "OPTIONS" } else { "GET" };
    sent(router, host, &format!("{method} {path}"), "")
}

fn sent(router: &Router, host: &str, line: &str, fields: &str) -> Option<usize> {
    let found = asking(host, line, fields, |asked| router.route(asked));
    found?.backend().map(|choice| choice.backend)
}

fn exact(path: &str) -> Match {
    Match {
        path: PathPattern::Exact(path.into()),
        ..Match::all()
    }
}

fn expression(path: &str) -> Match {
    Match {
        path: PathPattern::Expression(Expression::new(path).unwrap()),
        ..Match::all()
    }
}

fn named(name: &str, value: &str) -> NamedPattern {
    NamedPattern {
        name: name.into(),
        value: ValuePattern::Exact(value.into()),
    }
}

#[test]
fn the_most_specific_match_wins() {
    let router = router(
        vec![
            route(&[], &["/"], vec![to(0, 1)]),
            route(&["*.example.com"], &["/"], vec![to(1, 1)]),
            route(&["*.b.example.com"], &["/api/"], vec![to(2, 1)]),
            route(&["a.b.example.com"], &["/x"], vec![to(3, 1)]),
            route(&["a.b.example.com"], &["/x/y"], vec![to(4, 1)]),
        ],
        Some(9),
    );
    let rows = [
        ("other.org", "/", 0),
        ("example.com", "/", 0),
        ("c.example.com", "/api", 1),
        ("c.b.example.com", "/api", 2),
        ("c.b.example.com", "/api/z", 2),
        ("c.b.example.com", "/apiz", 1),
        ("a.b.example.com", "/x", 3),
        ("a.b.example.com", "/x/yy", 3),
        ("a.b.example.com", "/x/y/z", 4),
        ("a.b.example.com", "/api", 2),
        ("", "/", 0),
        ("", "*", 0),
    ];
    for (host, path, backend) in rows {
        assert_eq!(goes(&router, host, path), Some(backend), "{host}{path}");
    }
}

#[test]
fn an_exact_path_comes_before_an_expression_and_that_before_a_prefix() {
    let router = router(
        vec![
            matching(&["a"], vec![Match::prefix("/users/17")], vec![to(0, 1)]),
            matching(&["a"], vec![expression("/users/[0-9]+")], vec![to(1, 1)]),
            matching(&["a"], vec![exact("/users/18")], vec![to(2, 1)]),
            matching(&[], vec![exact("/users/19")], vec![to(3, 1)]),
        ],
        Some(9),
    );
    for (path, backend) in [
        ("/users/17", 1),
        ("/users/17/", 0),
        ("/users/17/x", 0),
        ("/users/18", 2),
        ("/users/18?x", 2),
        ("/users/18/", 9),
        // Of another host's routes even the exact one comes later.
        ("/users/19", 1),
    ] {
        assert_eq!(goes(&router, "a", path), Some(backend), "{path}");
    }
    assert_eq!(goes(&router, "b", "/users/19"), Some(3));
}

#[test]
fn of_one_path_the_method_counts_most_then_headers_then_the_query_then_the_order() {
    let with = |method: Option<&str>, headers: &[&str], query: &[&str]| Match {
        method: method.map(Into::into),
        headers: headers.iter().map(|name| named(name, "1")).collect(),
        query: query.iter().map(|name| named(name, "1")).collect(),
        ..Match::prefix("/p")
    };
    let matches = [
        with(None, &[], &[]),
        with(None, &[], &["q"]),
        with(None, &[], &["q"]),
        with(None, &["X-A"], &[]),
        with(None, &["X-A", "X-B"], &[]),
        with(Some("POST"), &[], &[]),
        with(Some("POST"), &[], &["q"]),
    ];
    let routes = matches.into_iter().enumerate();
    let routes = routes.map(|(at, one)| matching(&[], vec![one], vec![to(at, 1)]));
    let router = router(routes.collect(), None);
    for (line, fields, backend) in [
        ("GET /p", "", 0),
        ("GET /p?q=1", "", 1),
        ("GET /p?q=2", "", 0),
        ("GET /p?q=1", "x-a: 1\r\n", 3),
        ("GET /p?q=1", "X-A: 2\r\nx-A: 1\r\n", 3),
        ("GET /p", "X-A: 1\r\nX-B: 1\r\n", 4),
        ("GET /p", "X-A: 11\r\nX-B: 1\r\n", 0),
        ("POST /p", "X-A: 1\r\nX-B: 1\r\n", 5),
        ("POST /p/x?q=1", "X-A: 1\r\nX-B: 1\r\n", 6),
        ("post /p", "", 0),
    ] {
        let found = sent(&router, "a", line, fields);
        assert_eq!(found, Some(backend), "{line} {fields:?}");
    }
}

#[test]
fn where_the_conditions_of_the_longest_prefix_do_not_fit_a_shorter_one_is_looked_at() {
    let post = Match {
        method: Some("POST".into()),
        ..Match::prefix("/a/b")
    };
    let router = router(
        vec![
            matching(&["h"], vec![Match::prefix("/a")], vec![to(0, 1)]),
            matching(&["h"], vec![post], vec![to(1, 1)]),
            matching(&[], vec![Match::prefix("/a/b/c")], vec![to(2, 1)]),
        ],
        None,
    );
    assert_eq!(sent(&router, "h", "POST /a/b/c", ""), Some(1));
    assert_eq!(sent(&router, "h", "GET /a/b/c", ""), Some(0));
    assert_eq!(sent(&router, "i", "GET /a/b/c", ""), Some(2));
}

#[test]
fn what_a_prefix_matched_is_known() {
    let router = router(
        vec![
            route(&[], &["/"], vec![to(0, 1)]),
            route(&[], &["/a/b/"], vec![to(0, 1)]),
            matching(&[], vec![expression("/e.*")], vec![to(0, 1)]),
        ],
        None,
    );
    let prefix = |path| {
        let line = format!("GET {path}");
        asking("h", &line, "", |asked| {
            router.find(asked).map(|hit| hit.prefix)
        })
    };
    assert_eq!(prefix("/"), Some(0));
    assert_eq!(prefix("/a/c"), Some(0));
    assert_eq!(prefix("/a/b"), Some(4));
    assert_eq!(prefix("/a/b/c"), Some(4));
    assert_eq!(prefix("/e/f"), Some(0));
}

#[test]
fn what_nothing_matches_goes_to_the_default_or_nowhere() {
    let only = || vec![route(&["a"], &["/"], vec![to(0, 1)])];
    assert_eq!(goes(&router(only(), Some(7)), "b", "/"), Some(7));
    let router = router(only(), None);
    let found = asking("b", "GET /", "", |asked| router.route(asked));
    assert!(found.is_none());
}

#[test]
fn a_route_without_matches_is_for_nothing() {
    let router = router(vec![matching(&[], vec![], vec![to(0, 1)])], Some(7));
    assert_eq!(goes(&router, "a", "/"), Some(7));
}

#[test]
fn a_route_whose_backends_are_unresolved_does_not_fall_to_the_default() {
    let router = router(vec![route(&["a"], &["/"], vec![])], Some(7));
    let found = asking("a", "GET /", "", |asked| router.route(asked));
    assert_eq!(found.expect("the route").backend(), None);
}

#[test]
fn weights_divide_a_route() {
    let router = router(
        vec![route(&[], &["/"], vec![to(0, 9), to(1, 1), to(2, 0)])],
        None,
    );
    let picks: Vec<_> = (0..100).filter_map(|_| goes(&router, "x", "/")).collect();
    let count = |b| picks.iter().filter(|p| **p == b).count();
    assert_eq!((count(0), count(1), count(2)), (90, 10, 0));
}

#[test]
fn a_host_is_looked_for_no_deeper_than_wildcards_are_configured() {
    let router = router(vec![route(&["*.b.c"], &["/"], vec![to(0, 1)])], None);
    let suffixes = |host| router.suffixes(host).collect::<Vec<_>>();
    assert_eq!(suffixes("x.y.z.b.c"), [".b.c", ".c"]);
    assert_eq!(suffixes("b.c"), [".c"]);
    assert_eq!(suffixes(".b.c"), [".c"]);
    assert!(suffixes("c").is_empty() && suffixes("").is_empty());
}
