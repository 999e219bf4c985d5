//! The router against one that looks at every match of every route and takes the best.

use proptest::prelude::*;

use super::judge::{Facts, best};
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn the_router_finds_what_a_look_at_every_route_finds(
        routes in routes(),
        requests in prop::collection::vec(request(), 1..8),
    ) {
        let router = router(routes.clone(), None);
        for (host, line, fields) in requests {
            let (found, expected) = asking(host, &line, &fields, |asked| {
                let pair = |field: &Field| (field.name.of(asked.buf), field.value.of(asked.buf));
                let facts = Facts {
                    host: asked.host,
                    path: asked.path,
                    query: asked.query,
                    method: asked.method,
                    fields: asked.fields.iter().map(pair).collect(),
                };
                (router.find(asked), best(&routes, &facts))
            });
            prop_assert_eq!(found.map(|hit| hit.route), expected, "{} {} {:?}", host, line, fields);
        }
    }
}
