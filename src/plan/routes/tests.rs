//! What becomes of routes, by examples.

use serde_json::{Value, json};

use super::*;
use crate::model::{
    FieldEdits, Filters, LimitPer, PathChange, RateLimit, Redirect, Rewrite, Scheme,
};

/// Plans these routes beside a Backend called `web`.
fn planned(routes: &Value) -> Routes {
    let spec = json!({"listeners": [{"name": "http", "port": 80}], "routes": routes});
    let spec: api::LoadBalancerSpec = serde_json::from_value(spec).unwrap();
    let web = json!({
        "apiVersion": api::API_VERSION, "kind": "Backend", "metadata": {"name": "web"},
        "spec": {"static": []},
    });
    let web: api::Backend = serde_json::from_value(web).unwrap();
    let name = |name| ObjectName::new("default", name);
    plan(&name("shop"), &spec, &[(name("web"), &web)])
}

fn expression(text: &str) -> Expression {
    Expression::new(text).unwrap()
}

#[test]
fn the_schemas_defaults_are_the_models() {
    assert_eq!(route_timeouts([None, None]), RouteTimeouts::default());
}

#[test]
fn what_a_route_matches_is_planned_as_it_is_written() {
    let planned = planned(&json!([{
        "matches": [
            {"path": {"type": "Exact", "value": "/a/"}, "method": "PATCH"},
            {"path": {"type": "RegularExpression", "value": "/[ab]"}},
            {"headers": [{"name": "X-A", "value": "1"}],
             "query": [{"name": "q", "type": "RegularExpression", "value": "[0-9]+"}]},
        ],
        "backends": [{"name": "web"}],
    }]));
    let exact = Match {
        path: PathPattern::Exact("/a/".into()),
        method: Some("PATCH".into()),
        ..Match::all()
    };
    let by_expression = Match {
        path: PathPattern::Expression(expression("/[ab]")),
        ..Match::all()
    };
    let named = |name: &str, value| NamedPattern {
        name: name.into(),
        value,
    };
    let conditions = Match {
        headers: vec![named("X-A", ValuePattern::Exact("1".into()))],
        query: vec![named("q", ValuePattern::Expression(expression("[0-9]+")))],
        ..Match::all()
    };
    assert_eq!(planned.all[0].matches, [exact, by_expression, conditions]);
    assert_eq!(planned.invalid, []);
}

/// Law 4: the doors do not let it through; a webhook that was away would have.
#[test]
fn a_match_that_is_none_takes_only_itself_out_of_service() {
    let bad = json!({"path": {"type": "RegularExpression", "value": "/("}});
    let worse = json!({
        "path": {"value": "/b"},
        "headers": [{"name": "a", "type": "RegularExpression", "value": "["}],
    });
    let planned = planned(&json!([
        {"matches": [bad, {"path": {"value": "/a"}}], "backends": [{"name": "web"}]},
        {"matches": [worse], "backends": [{"name": "web"}]},
    ]));
    assert_eq!(planned.all[0].matches, [Match::prefix("/a")]);
    assert_eq!(planned.all[1].matches, [], "and not everything");
    let fields: Vec<&str> = planned.invalid.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.routes[0].matches[0].path.value",
            "spec.routes[1].matches[0].headers[0].value"
        ]
    );
    assert!(planned.resolved.met);
}

#[test]
fn filters_are_planned_as_they_are_written() {
    let planned = planned(&json!([
        {
            "filters": [
                {"requestHeaders": {
                    "set": [{"name": "X-Set", "value": "1"}],
                    "add": [{"name": "X-Add", "value": "a b"}],
                    "remove": ["X-Gone"],
                }},
                {"rewrite": {"hostname": "inner", "path": {"type": "ReplaceFullPath", "value": "/x"}}},
                {"responseHeaders": {"remove": ["Server"]}},
                {"rateLimit": {"requests": 60, "interval": "1m", "per": "Route"}},
            ],
            "backends": [{"name": "web"}],
        },
        {"filters": [{"redirect": {"scheme": "https", "statusCode": 308,
            "path": {"type": "ReplacePrefixMatch", "value": "/v2/"}}}]},
        {"backends": [{"name": "web"}]},
    ]));
    let pair = |name: &str, value: &str| (name.into(), value.into());
    let first = planned.all[0].filters.as_deref().unwrap();
    assert_eq!(
        *first,
        Filters {
            request: Some(FieldEdits {
                dropped: vec!["x-set".into(), "x-gone".into()],
                written: vec![pair("X-Set", "1"), pair("X-Add", "a b")],
            }),
            response: Some(FieldEdits {
                dropped: vec!["server".into()],
                written: vec![],
            }),
            redirect: None,
            rewrite: Some(Rewrite {
                hostname: Some("inner".into()),
                path: Some(PathChange::Full("/x".into())),
            }),
            rate_limit: Some(RateLimit {
                requests: 60,
                interval: Duration::from_mins(1),
                burst: 60,
                per: LimitPer::Route,
            }),
            mirror: None,
        }
    );
    let redirect = planned.all[1].filters.as_ref().unwrap();
    assert_eq!(
        redirect.redirect,
        Some(Redirect {
            scheme: Some(Scheme::Https),
            hostname: None,
            port: None,
            path: Some(PathChange::Prefix("/v2".into())),
            status: 308,
        })
    );
    assert_eq!(planned.all[2].filters, None);
    assert_eq!(planned.invalid, []);
}

/// The schema does not let it through; what is written to a socket is not left to one door alone.
#[test]
fn a_filter_that_would_break_a_message_takes_its_route_out_of_service() {
    for (edits, field) in [
        (json!({"set": [{"name": "A\r\nB", "value": "1"}]}), "set"),
        (json!({"set": [{"name": "A", "value": "1\r\nB: 2"}]}), "set"),
        (json!({"add": [{"name": "A", "value": " 1"}]}), "add"),
        (
            json!({"add": [{"name": "Content-Length", "value": "1"}]}),
            "add",
        ),
        (json!({"remove": ["X_Forwarded_For"]}), "remove"),
        (json!({"remove": [""]}), "remove"),
    ] {
        let planned = planned(&json!([
            {"filters": [{"requestHeaders": edits}], "backends": [{"name": "web"}]}
        ]));
        let route = &planned.all[0];
        assert!(route.backends.is_empty() && route.filters.is_none());
        let field = format!("spec.routes[0].filters[0].requestHeaders.{field}");
        assert_eq!(planned.invalid[0].field, field);
    }
}

/// Law 4.
#[test]
fn a_route_goes_on_without_a_mirror_that_is_not_there() {
    let planned = planned(&json!([
        {"filters": [{"mirror": {"backend": {"name": "web"}, "percent": 5}}], "backends": [{"name": "web"}]},
        {"filters": [{"mirror": {"backend": {"name": "gone"}}}], "backends": [{"name": "web"}]},
    ]));
    let mirror = |at: usize| planned.all[at].filters.as_ref().unwrap().mirror.clone();
    let there = mirror(0).unwrap();
    assert_eq!((there.backend.backend, there.percent), (0, 5));
    assert_eq!(mirror(1), None);
    assert_eq!(planned.all[1].backends.len(), 1);
    assert_eq!(
        planned.resolved.field.as_deref(),
        Some("spec.routes[1].filters[0].mirror.backend.name")
    );
}

#[test]
fn more_regular_expressions_than_workers_should_carry_are_refused() {
    let faults = |count: usize| {
        let header = json!({"name": "A", "type": "RegularExpression", "value": "1"});
        let path = json!({"type": "RegularExpression", "value": "/a"});
        let both = json!({"path": path, "headers": [header], "query": []});
        let only = json!({"headers": [header]});
        let mut matches = vec![both; count / 2];
        matches.extend(vec![only; count % 2]);
        let route = json!({"matches": matches, "backends": [{"name": "web"}]});
        let spec = json!({"listeners": [{"name": "http", "port": 80}], "routes": [route]});
        route_faults(&serde_json::from_value(spec).unwrap())
    };
    assert_eq!(faults(128), []);
    let found = faults(129);
    assert_eq!(found[0].field, "spec.routes");
    assert!(found[0].message.contains("found 129"), "{found:?}");
}
