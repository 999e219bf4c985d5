//! Routes: what they match, and their filters.

use super::*;

#[test]
#[rustfmt::skip] // one row a line
fn a_route_that_does_not_fit_is_refused_with_its_field() {
    let to = "backends: [{name: a}]";
    for (text, field, words) in [
        (route("hostnames: [a]"), "spec.routes[0].backends", "a route needs at least one backend, or a redirect"),
        (route("backends: []"), "spec.routes[0].backends", "a route needs at least one backend, or a redirect"),
        (route("backends: [{name: a, weight: 0}]"), "spec.routes[0].backends", "a weight above 0"),
        (route("backends: [{name: a}, {name: a}]"), "spec.routes[0].backends[1]", "twice"),
        (route("backends: [{name: A}]"), "spec.routes[0].backends[0].name", "matches"),
        (route("backends: [{weight: 1}]"), "spec.routes[0].backends[0].name", "missing"),
        (route("backends: [{name: a, weight: -1}]"), "spec.routes[0].backends[0].weight", "from 0 to 1000000"),
        (route(&format!("{{{to}, hostnames: [a, a]}}")), "spec.routes[0].hostnames[1]", "twice"),
        (route(&format!("{{{to}, hostnames: ['http://a']}}")), "spec.routes[0].hostnames[0]", "matches"),
        (route(&format!("{{{to}, matches: [{{}}]}}")), "spec.routes[0].matches[0]", "at least one of path, method, headers and query"),
        (route(&format!("{{{to}, matches: [{{path: {{value: api}}}}]}}")), "spec.routes[0].matches[0].path.value", "must begin with '/'"),
        (route(&format!("{{{to}, matches: [{{path: {{value: /a//b}}}}]}}")), "spec.routes[0].matches[0].path.value", "empty"),
        (route(&format!("{{{to}, matches: [{{path: {{value: /a/../b}}}}]}}")), "spec.routes[0].matches[0].path.value", "'..'"),
        (route(&format!("{{{to}, matches: [{{path: {{value: /a/.}}}}]}}")), "spec.routes[0].matches[0].path.value", "'.'"),
        (route(&format!("{{{to}, matches: [{{path: {{value: '/a?b'}}}}]}}")), "spec.routes[0].matches[0].path.value", "'?'"),
        (route(&format!("{{{to}, matches: [{{path: {{value: /a%2fb}}}}]}}")), "spec.routes[0].matches[0].path.value", "%2F"),
        (route(&format!("{{{to}, matches: [{{path: {{type: Exact, value: '/a#b'}}}}]}}")), "spec.routes[0].matches[0].path.value", "'#'"),
        (route(&format!("{{{to}, matches: [{{path: {{type: exact, value: /a}}}}]}}")), "spec.routes[0].matches[0].path.type", "allowed: Exact, Prefix, RegularExpression"),
        (route(&format!("{{{to}, matches: [{{path: {{value: '/a b'}}}}]}}")), "spec.routes[0].matches[0].path.value", "matches"),
        (route(&format!("{{{to}, matches: [{{path: {{type: RegularExpression, value: '/a('}}}}]}}")), "spec.routes[0].matches[0].path.value", "unclosed group"),
        (route(&format!("{{{to}, matches: [{{path: {{type: RegularExpression, value: '/((a{{100}}){{100}}){{100}}'}}}}]}}")), "spec.routes[0].matches[0].path.value", "too large"),
        (route(&format!("{{{to}, matches: [{{method: get}}]}}")), "spec.routes[0].matches[0].method", "allowed: GET, HEAD, POST"),
        (route(&format!("{{{to}, matches: [{{headers: [{{name: a}}]}}]}}")), "spec.routes[0].matches[0].headers[0].value", "missing"),
        (route(&format!("{{{to}, matches: [{{headers: [{{name: 'a b', value: x}}]}}]}}")), "spec.routes[0].matches[0].headers[0].name", "matches"),
        (route(&format!("{{{to}, matches: [{{headers: [{{name: host, value: x}}]}}]}}")), "spec.routes[0].matches[0].headers[0].name", "use hostnames"),
        (route(&format!("{{{to}, matches: [{{headers: [{{name: a, value: x}}, {{name: a, value: y}}]}}]}}")), "spec.routes[0].matches[0].headers[1]", "twice"),
        (route(&format!("{{{to}, matches: [{{headers: [{{name: a, type: RegularExpression, value: '['}}]}}]}}")), "spec.routes[0].matches[0].headers[0].value", "character class"),
        (route(&format!("{{{to}, matches: [{{query: [{{value: x}}]}}]}}")), "spec.routes[0].matches[0].query[0].name", "missing"),
        (route(&format!("{{{to}, matches: [{{query: [{{name: a, type: Prefix, value: x}}]}}]}}")), "spec.routes[0].matches[0].query[0].type", "allowed: Exact, RegularExpression"),
        (route(&format!("{{{to}, matches: [{{query: [{{name: a, type: RegularExpression, value: '*'}}]}}]}}")), "spec.routes[0].matches[0].query[0].value", "repetition"),
        (route(&format!("{{{to}, timeouts: {{connect: 0s}}}}")), "spec.routes[0].timeouts.connect", "longer than 0s"),
        (route(&format!("{{{to}, timeouts: {{backendIdle: 0s}}}}")), "spec.routes[0].timeouts.backendIdle", "longer than 0s"),
        (route(&format!("{{{to}, retry: {{attempts: 11}}}}")), "spec.routes[0].retry.attempts", "from 0 to 10"),
    ] {
        refused(&text, 7, field, words);
    }
    for ok in [
        "timeouts: {request: 0s, responseHead: 0s}, hostnames: ['*.a.b']",
        "matches: [{path: {type: RegularExpression, value: '(/a|/b//).*'}, method: GET}]",
        "matches: [{headers: [{name: X_a, value: 'x y'}], query: [{name: 'a b', value: ''}]}]",
    ] {
        admit(&route(&format!("{{{to}, {ok}}}"))).unwrap();
    }
}

#[test]
fn what_the_page_on_routes_shows_passes() {
    let page = include_str!("../../../../docs/routes.md");
    let shown: Vec<&str> = page.split("```yaml\n").skip(1).collect();
    assert!(!shown.is_empty());
    for text in shown {
        let (yaml, _) = text.split_once("```").expect("an end");
        admit(yaml).unwrap();
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn a_filter_that_does_not_fit_is_refused_with_its_field() {
    let filters = |filters: &str| route(&format!("{{backends: [{{name: a}}], filters: [{filters}]}}"));
    let only = |filters: &str| route(&format!("{{filters: [{filters}]}}"));
    let first = "spec.routes[0].filters[0]";
    for (text, field, words) in [
        (filters("{}"), first.to_owned(), "exactly one of"),
        (filters("{requestHeaders: {remove: [A]}, rewrite: {hostname: a}}"), first.to_owned(), "exactly one of"),
        (filters("{setHeaders: {}}"), format!("{first}.setHeaders"), "no such field"),
        (filters("{requestHeaders: {}}"), format!("{first}.requestHeaders"), "at least one of set, add and remove"),
        (filters("{requestHeaders: {remove: []}}"), format!("{first}.requestHeaders"), "at least one of set, add and remove"),
        (filters("{requestHeaders: {set: [{name: A}]}}"), format!("{first}.requestHeaders.set[0].value"), "missing"),
        (filters("{requestHeaders: {set: [{name: 'A B', value: x}]}}"), format!("{first}.requestHeaders.set[0].name"), "matches"),
        (filters("{requestHeaders: {set: [{name: 'A:', value: x}]}}"), format!("{first}.requestHeaders.set[0].name"), "matches"),
        (filters("{requestHeaders: {set: [{name: A, value: \"x\\r\\nB: y\"}]}}"), format!("{first}.requestHeaders.set[0].value"), "matches"),
        (filters("{requestHeaders: {set: [{name: A, value: ' x'}]}}"), format!("{first}.requestHeaders.set[0].value"), "matches"),
        (filters("{requestHeaders: {set: [{name: A, value: ''}]}}"), format!("{first}.requestHeaders.set[0].value"), "matches"),
        (filters("{requestHeaders: {set: [{name: A, value: x}, {name: A, value: y}]}}"), format!("{first}.requestHeaders.set[1]"), "twice"),
        (filters("{requestHeaders: {set: [{name: Host, value: x}]}}"), format!("{first}.requestHeaders.set[0].name"), "must not touch"),
        (filters("{requestHeaders: {set: [{name: content-LENGTH, value: '1'}]}}"), format!("{first}.requestHeaders.set[0].name"), "must not touch"),
        (filters("{requestHeaders: {add: [{name: Transfer_Encoding, value: chunked}]}}"), format!("{first}.requestHeaders.add[0].name"), "must not touch"),
        (filters("{requestHeaders: {add: [{name: X-Forwarded-For, value: '1'}]}}"), format!("{first}.requestHeaders.add[0].name"), "must not touch"),
        (filters("{requestHeaders: {remove: [x_forwarded_anything]}}"), format!("{first}.requestHeaders.remove[0]"), "must not touch"),
        (filters("{responseHeaders: {remove: [Via]}}"), format!("{first}.responseHeaders.remove[0]"), "must not touch"),
        (filters("{responseHeaders: {set: [{name: Connection, value: close}]}}"), format!("{first}.responseHeaders.set[0].name"), "must not touch"),
        (filters("{responseHeaders: {remove: [A]}}, {responseHeaders: {remove: [B]}}"), "spec.routes[0].filters".to_owned(), "at most once"),
        (filters("{rewrite: {}}"), format!("{first}.rewrite"), "at least one of hostname and path"),
        (filters("{rewrite: {hostname: '*.a'}}"), format!("{first}.rewrite.hostname"), "matches"),
        (filters("{rewrite: {hostname: 'a:80'}}"), format!("{first}.rewrite.hostname"), "matches"),
        (filters("{rewrite: {path: {value: /a}}}"), format!("{first}.rewrite.path.type"), "missing"),
        (filters("{rewrite: {path: {type: ReplaceFullPath, value: a}}}"), format!("{first}.rewrite.path.value"), "matches"),
        (filters("{rewrite: {path: {type: ReplaceFullPath, value: '/a?b'}}}"), format!("{first}.rewrite.path.value"), "'?'"),
        (filters("{rewrite: {path: {type: ReplaceFullPath, value: '//a'}}}"), format!("{first}.rewrite.path.value"), "empty"),
        (filters("{rewrite: {path: {type: ReplaceFullPath, value: '/a b'}}}"), format!("{first}.rewrite.path.value"), "matches"),
        (filters("{mirror: {}}"), format!("{first}.mirror.backend"), "missing"),
        (filters("{mirror: {backend: {name: A}}}"), format!("{first}.mirror.backend.name"), "matches"),
        (filters("{mirror: {backend: {name: a}, percent: 0}}"), format!("{first}.mirror.percent"), "from 1 to 100"),
        (filters("{mirror: {backend: {name: a}}}, {mirror: {backend: {name: b}}}"), "spec.routes[0].filters".to_owned(), "at most once"),
        (filters("{rateLimit: {}}"), format!("{first}.rateLimit.requests"), "missing"),
        (filters("{rateLimit: {requests: 0}}"), format!("{first}.rateLimit.requests"), "from 1 to 1000000"),
        (filters("{rateLimit: {requests: 1, burst: 0}}"), format!("{first}.rateLimit.burst"), "from 1 to 1000000"),
        (filters("{rateLimit: {requests: 1, interval: 0s}}"), format!("{first}.rateLimit.interval"), "longer than 0s and at most 1h"),
        (filters("{rateLimit: {requests: 1, interval: 61m}}"), format!("{first}.rateLimit.interval"), "longer than 0s and at most 1h"),
        (filters("{rateLimit: {requests: 1, interval: 1}}"), format!("{first}.rateLimit.interval"), "a duration such as"),
        (filters("{rateLimit: {requests: 1, per: IP}}"), format!("{first}.rateLimit.per"), "allowed: Client, Route"),
        (filters("{redirect: {scheme: https}}"), "spec.routes[0].backends".to_owned(), "a redirect has none"),
        (only("{redirect: {}}"), format!("{first}.redirect"), "leads back to itself"),
        (only("{redirect: {statusCode: 301}}"), format!("{first}.redirect"), "leads back to itself"),
        (only("{redirect: {scheme: ftp}}"), format!("{first}.redirect.scheme"), "allowed: http, https"),
        (only("{redirect: {scheme: https, statusCode: 304}}"), format!("{first}.redirect.statusCode"), "301, 302, 303, 307 or 308"),
        (only("{redirect: {scheme: https, statusCode: 200}}"), format!("{first}.redirect.statusCode"), "from 301 to 308"),
        (only("{redirect: {port: 0}}"), format!("{first}.redirect.port"), "from 1 to 65535"),
        (only("{redirect: {hostname: a/b}}"), format!("{first}.redirect.hostname"), "matches"),
        (only("{redirect: {scheme: https}}, {rewrite: {hostname: a}}"), "spec.routes[0].filters".to_owned(), "beside a redirect"),
        (only("{rewrite: {hostname: a}}"), "spec.routes[0].backends".to_owned(), "at least one backend, or a redirect"),
        (route("{backends: [{name: a}], matches: [{path: {type: Exact, value: /a}}], filters: [{rewrite: {path: {type: ReplacePrefixMatch, value: /b}}}]}"),
            "spec.routes[0].filters".to_owned(), "needs matches by Prefix only"),
        (route("{matches: [{path: {type: RegularExpression, value: /a}}], filters: [{redirect: {path: {type: ReplacePrefixMatch, value: /b}}}]}"),
            "spec.routes[0].filters".to_owned(), "needs matches by Prefix only"),
    ] {
        refused(&text, 7, &field, words);
    }
    for ok in [
        filters(""),
        filters("{requestHeaders: {set: [{name: X_a, value: 'a, b'}], add: [{name: X_a, value: c}], remove: [Cookie]}}, {rewrite: {path: {type: ReplacePrefixMatch, value: /}}}"),
        filters("{mirror: {backend: {name: b}, percent: 1}}"),
        only("{redirect: {scheme: https}}, {rateLimit: {requests: 5, interval: 1h, burst: 2, per: Route}}"),
        only("{redirect: {scheme: https, hostname: a.b, port: 444, statusCode: 308, path: {type: ReplaceFullPath, value: /}}}"),
        route("{backends: [{name: a}], matches: [{method: GET}, {path: {value: /a}}], filters: [{rewrite: {path: {type: ReplacePrefixMatch, value: /b}}}]}"),
    ] {
        admit(&ok).unwrap();
    }
}
