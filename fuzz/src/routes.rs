//! LoadBalancers with many routes that nearly fit, made of a fuzzer's choices, and what must hold of a request
//! that they are asked about.

#[path = "../../src/proxy/router/tests/judge.rs"]
mod judge;

use lastcall::model::{
    self, Expression, HostPattern, LoadBalancer, Match, NamedPattern, ObjectName, PathPattern,
    Retry, Route, RouteTimeouts, ValuePattern, WeightedBackend,
};
use lastcall::proxy::http1::{Field, HeadLimits, parse_request};
use lastcall::proxy::router::{Asked, Router};

use crate::Choices;
use judge::{Facts, best};

const HOSTS: &[&str] = &["a", "b.c", "a.b.c", "*.c", "*.b.c", "*.a.b.c", "*.x"];
const PATHS: &[&str] = &[
    "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/%61", "/.",
];
const EXPRESSIONS: &[&str] = &["/a.*", "/[ab]", ".*c", "(?i)/A/B", ".*%..", r"\*", ""];
const NAMES: &[&str] = &["x", "y"];
const VALUES: &[&str] = &["1", "2", "a b"];

/// Requests to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a/b/c?x=1&y=2 HTTP/1.1\r\nHost: x.a.b.c\r\nx: 1\r\nY: a b\r\n\r\n",
        "POST /ab?x=%31&x=2&y=a+b HTTP/1.1\r\nHost: A.B.C:80\r\ny: 2\r\nContent-Length: 0\r\n\r\n",
        "PUT http://b.c/a//b?y HTTP/1.1\r\nHost: b.c\r\nx: 2\r\nx: 1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: y.x.\r\n\r\n",
        "GET /a/?=&&x HTTP/1.0\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Up to a dozen routes; the Backend of each is its own place.
pub fn load_balancer(choices: &mut Choices<'_>) -> LoadBalancer {
    let routes = 0..choices.below(13);
    LoadBalancer {
        routes: routes.map(|at| route(choices, at)).collect(),
        ..LoadBalancer::new(ObjectName::new("default", "lb"))
    }
}

fn route(choices: &mut Choices<'_>, at: usize) -> Route {
    let hosts = 0..choices.below(3);
    let hostnames = hosts.map(|_| HostPattern::new(one(choices, HOSTS)));
    let hostnames = hostnames.collect();
    let matches = 0..choices.below(3) + 1;
    Route {
        hostnames,
        matches: matches.map(|_| one_match(choices)).collect(),
        filters: None,
        backends: vec![WeightedBackend {
            backend: at,
            weight: 1,
            timeouts: RouteTimeouts::default(),
            retry: Retry::default(),
        }],
    }
}

fn one_match(choices: &mut Choices<'_>) -> Match {
    let path = match choices.below(4) {
        0 => PathPattern::Exact(one(choices, PATHS).into()),
        1 => PathPattern::Expression(expression(one(choices, EXPRESSIONS))),
        _ => Match::prefix(one(choices, PATHS)).path,
    };
    let method = (choices.below(4) == 1).then(|| one(choices, &["GET", "PUT"]).into());
    Match {
        path,
        method,
        headers: conditions(choices),
        query: conditions(choices),
    }
}

fn conditions(choices: &mut Choices<'_>) -> Vec<NamedPattern> {
    let count = choices.below(4).saturating_sub(1);
    let condition = |choices: &mut Choices<'_>| NamedPattern {
        name: one(choices, NAMES).into(),
        value: if choices.below(2) == 0 {
            ValuePattern::Exact(one(choices, VALUES).into())
        } else {
            ValuePattern::Expression(expression("[12]|a.b"))
        },
    };
    (0..count).map(|_| condition(choices)).collect()
}

fn one<'a>(choices: &mut Choices<'_>, all: &[&'a str]) -> &'a str {
    all[choices.below(all.len())]
}

fn expression(text: &str) -> Expression {
    Expression::new(text).expect("an expression")
}

/// A request, where `input` begins with one, goes where a look at every route says.
pub fn check(load_balancer: &LoadBalancer, input: &[u8]) {
    let mut fields = Vec::new();
    let limits = HeadLimits::from(&load_balancer.limits);
    let Ok(Some((head, _))) = parse_request(input, &limits, &mut fields) else {
        return;
    };
    let host = head.host_name(input);
    let asked = Asked {
        host: &host,
        path: head.path(input),
        query: head.query(input),
        method: head.method_text.of(input),
        fields: &fields,
        buf: input,
    };
    let pair = |field: &Field| (field.name.of(input), field.value.of(input));
    let facts = Facts {
        host: asked.host,
        path: asked.path,
        query: asked.query,
        method: asked.method,
        fields: fields.iter().map(pair).collect(),
    };
    let router = Router::new(load_balancer, &[], 0);
    let found = router.route(&asked);
    let backend = found.and_then(|found| found.backend());
    let expected = best(&load_balancer.routes, &facts);
    assert_eq!(backend.map(|to| to.backend), expected, "{facts:?}");
}
