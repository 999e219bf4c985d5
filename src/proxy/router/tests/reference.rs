//! The router against one that looks at every match of every route and takes the best.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;

const HOSTS: &[&str] = &[
    "a.b.c", "b.c", "x.a.b.c", "c", "*.b.c", "*.c", "*.a.b.c", "*.d",
];
const ASKED_HOSTS: &[&str] = &[
    "", "a.b.c", "b.c", "x.a.b.c", "y.a.b.c", "c", "d", "x.d", "x.c", "x.y.d", ".c", "a..c",
];
const PATHS: &[&str] = &["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/a/bc", "/b"];
const ASKED_PATHS: &[&str] = &[
    "/", "/a", "/a/", "/a//b", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/d", "/ab", "/a/bc", "/b/a", "/c",
];
const EXPRESSIONS: &[&str] = &["/a.*", "/[ab]", ".*c", "/a/b"];
const METHODS: &[&str] = &["GET", "POST", "PURGE"];

fn conditions() -> impl Strategy<Value = Vec<NamedPattern>> {
    let one = (prop::sample::select(vec!["x", "y"]), "[12]");
    let one = one.prop_map(|(name, value)| NamedPattern {
        name: name.into(),
        value: if value == "2" {
            ValuePattern::Expression(Expression::new("[23]").unwrap())
        } else {
            ValuePattern::Exact(value.into())
        },
    });
    prop::collection::vec(one, 0..3)
}

fn one_match() -> impl Strategy<Value = Match> {
    let path = prop_oneof![
        3 => prop::sample::select(PATHS).prop_map(|p| Match::prefix(p).path),
        2 => prop::sample::select(PATHS).prop_map(|p| PathPattern::Exact(p.into())),
        1 => prop::sample::select(EXPRESSIONS)
            .prop_map(|e| PathPattern::Expression(Expression::new(e).unwrap())),
    ];
    let method = prop::option::weighted(0.3, prop::sample::select(METHODS));
    (path, method, conditions(), conditions()).prop_map(|(path, method, headers, query)| Match {
        path,
        method: method.map(Into::into),
        headers,
        query,
    })
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let hosts = prop::collection::vec(prop::sample::select(HOSTS), 0..3);
    let matches = prop::collection::vec(one_match(), 0..3);
    let route = (hosts, matches).prop_map(|(hosts, matches)| matching(&hosts, matches, vec![]));
    prop::collection::vec(route, 0..12)
}

/// Of a request: host, method, target, field lines.
fn request() -> impl Strategy<Value = (&'static str, String, String)> {
    let pairs = || prop::collection::vec(("[xyz]", "[123]"), 0..3);
    let (hosts, paths) = (
        prop::sample::select(ASKED_HOSTS),
        prop::sample::select(ASKED_PATHS),
    );
    (
        hosts,
        prop::sample::select(METHODS),
        paths,
        pairs(),
        pairs(),
    )
        .prop_map(|(host, method, path, headers, query)| {
            let fields = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n"));
            let query: Vec<_> = query.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let line = format!("{method} {path}?{}", query.join("&"));
            (host, line, fields.collect())
        })
}

fn value_fits(pattern: &ValuePattern, value: &str) -> bool {
    match pattern {
        ValuePattern::Exact(text) => **text == *value,
        ValuePattern::Expression(e) => e.for_worker().is_match(value.as_bytes()),
    }
}

/// How specific a match is for the request: the greatest is the best. `None` where it does not fit.
fn rank(one: &Match, path: &str, line: &str, fields: &str) -> Option<impl Ord + use<>> {
    let path_rank = match &one.path {
        PathPattern::Exact(exact) => (**exact == *path).then_some((2, 0)),
        PathPattern::Expression(e) => e.for_worker().is_match(path.as_bytes()).then_some((1, 0)),
        PathPattern::Prefix(prefix) => {
            let covers = *path == **prefix || path.starts_with(&format!("{prefix}/"));
            covers.then_some((0, prefix.len()))
        }
    }?;
    let method = line.split(' ').next().unwrap();
    let (_, query) = line.split_once('?').unwrap();
    let header_fits = |pattern: &NamedPattern| {
        let mut pairs = fields.lines().filter_map(|line| line.split_once(": "));
        pairs.any(|(name, value)| *name == *pattern.name && value_fits(&pattern.value, value))
    };
    let parameter_fits = |pattern: &NamedPattern| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let first = pairs.find(|(name, _)| **name == *pattern.name);
        first.is_some_and(|(_, value)| value_fits(&pattern.value, value))
    };
    let fits = one.method.as_deref().is_none_or(|name| name == method)
        && one.headers.iter().all(header_fits)
        && one.query.iter().all(parameter_fits);
    fits.then_some((
        path_rank,
        one.method.is_some(),
        one.headers.len(),
        one.query.len(),
    ))
}

/// The route that serves the request, as its place.
fn best(routes: &[Route], host: &str, line: &str, fields: &str) -> Option<usize> {
    let (_, target) = line.split_once(' ').unwrap();
    let (path, _) = target.split_once('?').unwrap();
    let mut all = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        let hosts = route
            .hostnames
            .iter()
            .filter(|pattern| pattern.matches(host));
        let host_rank = hosts.map(|pattern| match pattern {
            HostPattern::Exact(_) => (2, 0),
            HostPattern::Suffix(suffix) => (1, suffix.len()),
        });
        let none = route.hostnames.is_empty().then_some((0, 0));
        let Some(host_rank) = host_rank.max().or(none) else {
            continue;
        };
        for one in &route.matches {
            if let Some(rank) = rank(one, path, line, fields) {
                all.push(((host_rank, rank, Reverse(at)), at));
            }
        }
    }
    all.into_iter()
        .max_by(|a, b| a.0.cmp(&b.0))
        .map(|(_, at)| at)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn the_router_finds_what_a_look_at_every_route_finds(
        routes in routes(),
        requests in prop::collection::vec(request(), 1..8),
    ) {
        let router = router(routes.clone(), None);
        for (host, line, fields) in requests {
            let found = asking(host, &line, &fields, |asked| router.find(asked));
            let expected = best(&routes, host, &line, &fields);
            prop_assert_eq!(found.map(|hit| hit.route), expected, "{} {} {:?}", host, line, fields);
        }
    }
}
