//! One test for each rule of the plan.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::model::{
    AdminState, DrainPolicy, HostPattern, Listener, LoadBalancer, Match, Member, Policy, Protocol,
    Retry, RouteTimeouts,
};

fn object<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> T {
    serde_json::from_value(json!({
        "apiVersion": api::API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }))
    .expect("the test's own object")
}

#[allow(clippy::needless_pass_by_value)] // a literal, at every call
pub(super) fn lb(name: &str, spec: Value) -> api::LoadBalancer {
    object("LoadBalancer", name, &spec)
}

#[allow(clippy::needless_pass_by_value)] // as above
pub(super) fn be(name: &str, spec: Value) -> api::Backend {
    object("Backend", name, &spec)
}

/// A Backend with one endpoint.
fn one(name: &str) -> api::Backend {
    be(
        name,
        json!({"static": [{"address": "10.0.0.1", "port": 80}]}),
    )
}

/// A LoadBalancer on this port, with `web` as its default Backend.
fn on(name: &str, port: u16) -> api::LoadBalancer {
    lb(
        name,
        json!({"listeners": [{"name": "http", "port": port}], "defaultBackend": {"name": "web"}}),
    )
}

/// A LoadBalancer with these routes.
#[allow(clippy::needless_pass_by_value)] // as above
fn routed(routes: Value) -> api::LoadBalancer {
    lb(
        "shop",
        json!({"listeners": [{"name": "http", "port": 80}], "routes": routes}),
    )
}

fn run(load_balancers: Vec<api::LoadBalancer>, backends: Vec<api::Backend>) -> Plan {
    let objects = Objects {
        load_balancers,
        backends,
    };
    plan(&objects, &Facts::default())
}

fn verdict<'a>(plan: &'a Plan, kind: Kind, name: &str) -> &'a Verdict {
    let name = ObjectName::new("default", name);
    &plan.verdicts[&ObjectRef { kind, name }]
}

fn load_balancer<'a>(plan: &'a Plan, name: &str) -> &'a LoadBalancer {
    let found = plan
        .snapshot
        .load_balancers
        .iter()
        .find(|l| *l.name.name == *name);
    found.expect("planned")
}

#[test]
fn what_resolves_is_planned_whole() {
    let plan = run(
        vec![lb(
            "shop",
            json!({
                "listeners": [{"name": "http", "port": 80, "hostname": "*.Example.com"}],
                "routes": [{
                    "hostnames": ["shop.example.com"],
                    "matches": [{"path": {"value": "/api/"}}, {"path": {"value": "/"}}],
                    "backends": [{"name": "web", "weight": 9}, {"name": "api"}],
                }],
                "defaultBackend": {"name": "web"},
                "limits": {"bodyBytes": 5},
                "timeouts": {"idle": "3s"},
                "allowedSources": ["10.0.0.0/8"],
                "trustedProxies": ["::1/128"],
            }),
        )],
        vec![one("web"), one("api")],
    );
    let shop = load_balancer(&plan, "shop");
    assert_eq!(
        shop.listeners,
        [Listener {
            name: "http".into(),
            port: 80,
            protocol: Protocol::Http,
            hostname: Some(HostPattern::Suffix(".example.com".into())),
            tls: None,
            proxy_protocol: false,
        }]
    );
    let route = &shop.routes[0];
    assert_eq!(
        route.hostnames,
        [HostPattern::Exact("shop.example.com".into())]
    );
    assert_eq!(route.matches, [Match::prefix("/api"), Match::all()]);
    let chosen: Vec<(&str, u32)> = route
        .backends
        .iter()
        .map(|b| (&*plan.snapshot.backends[b.backend].name.name, b.weight))
        .collect();
    assert_eq!(chosen, [("web", 9), ("api", 1)]);
    let default = shop.default_backend.expect("resolved");
    assert_eq!(&*plan.snapshot.backends[default.backend].name.name, "web");
    assert_eq!(shop.limits.body_bytes, Some(5));
    assert_eq!(shop.timeouts.idle, Duration::from_secs(3));
    assert!(shop.allows("10.1.1.1".parse().unwrap()) && !shop.allows("11.1.1.1".parse().unwrap()));
    assert_eq!(shop.trusted_proxies.len(), 1);
    assert!(
        plan.verdicts.values().all(|v| v.faults().next().is_none()),
        "{:?}",
        plan.verdicts
    );
}

#[test]
fn the_order_of_the_objects_makes_no_difference() {
    let (mut lbs, mut bes) = (
        vec![on("b", 2), on("a", 1)],
        vec![one("web"), one("api"), one("x")],
    );
    let first = run(lbs.clone(), bes.clone());
    lbs.reverse();
    bes.rotate_left(1);
    assert_eq!(first, run(lbs, bes));
    let names: Vec<&str> = first
        .snapshot
        .backends
        .iter()
        .map(|b| &*b.name.name)
        .collect();
    assert_eq!(names, ["api", "web", "x"]);
    assert_eq!(&*first.snapshot.load_balancers[0].name.name, "a");
}

/// Law 4.
#[test]
fn a_missing_backend_takes_only_its_own_route_out_of_service() {
    let plan = run(
        vec![routed(json!([
            {"backends": [{"name": "gone"}]},
            {"backends": [{"name": "web", "weight": 3}, {"name": "gone", "weight": 7}]},
            {"backends": [{"name": "web", "weight": 0}, {"name": "gone", "weight": 7}]},
        ]))],
        vec![one("web")],
    );
    let routes = &load_balancer(&plan, "shop").routes;
    assert!(routes[0].backends.is_empty(), "it stays, and answers 503");
    let weights: Vec<u32> = routes[1].backends.iter().map(|b| b.weight).collect();
    assert_eq!(weights, [3], "those that resolve go on");
    assert!(routes[2].backends.is_empty(), "what is left takes nothing");
    let verdict = verdict(&plan, Kind::LoadBalancer, "shop");
    assert!(verdict.get(ConditionKind::Accepted).unwrap().met);
    let refs = verdict.get(ConditionKind::ResolvedRefs).unwrap();
    assert_eq!((refs.met, refs.reason), (false, "BackendNotFound"));
    assert_eq!(
        refs.field.as_deref(),
        Some("spec.routes[0].backends[0].name")
    );
    assert!(
        refs.message
            .contains("spec.routes[1].backends[1].name: there is no Backend default/gone")
    );
}

/// Law 4.
#[test]
fn a_missing_default_backend_leaves_a_route_that_answers_503() {
    let plan = run(vec![on("shop", 80)], vec![]);
    let shop = load_balancer(&plan, "shop");
    assert_eq!(shop.default_backend, None);
    assert_eq!(shop.routes.len(), 1);
    let last = &shop.routes[0];
    assert!(last.hostnames.is_empty() && last.backends.is_empty());
    assert_eq!(last.matches, [Match::all()]);
    let refs = verdict(&plan, Kind::LoadBalancer, "shop")
        .get(ConditionKind::ResolvedRefs)
        .unwrap();
    assert_eq!(refs.field.as_deref(), Some("spec.defaultBackend.name"));
    assert_eq!(shop.listeners.len(), 1, "the listener serves on");
}

#[test]
fn a_backend_of_another_namespace_is_not_found() {
    let mut other = one("web");
    other.metadata.namespace = Some("other".to_owned());
    let plan = run(vec![on("shop", 80)], vec![other]);
    assert_eq!(load_balancer(&plan, "shop").default_backend, None);
}

/// Law 4.
#[test]
fn a_port_that_two_want_stays_with_the_older_then_with_the_first_by_name() {
    let aged = |mut object: api::LoadBalancer, time: &str| {
        object.metadata.creation_timestamp = Some(serde_json::from_value(json!(time)).unwrap());
        object
    };
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    for (objects, owner, loser) in [
        (vec![on("a", 80), on("b", 80)], "a", "b"),
        (vec![on("b", 80), on("a", 80)], "a", "b"),
        (
            vec![aged(on("a", 80), new), aged(on("b", 80), old)],
            "b",
            "a",
        ),
        (
            vec![aged(on("a", 80), old), aged(on("b", 80), old)],
            "a",
            "b",
        ),
        (vec![on("a", 80), aged(on("b", 80), new)], "b", "a"),
    ] {
        let plan = run(objects, vec![one("web")]);
        assert_eq!(load_balancer(&plan, owner).listeners.len(), 1);
        assert!(load_balancer(&plan, loser).listeners.is_empty());
        let verdict = verdict(&plan, Kind::LoadBalancer, loser);
        let (name, conditions) = &verdict.listeners[0];
        assert_eq!(
            (name.as_str(), conditions[0].reason),
            ("http", "PortUnavailable")
        );
        assert_eq!(
            conditions[0].field.as_deref(),
            Some("spec.listeners[0].port")
        );
        assert!(
            conditions[0]
                .message
                .contains(&format!("LoadBalancer default/{owner}'s"))
        );
        let accepted = verdict.get(ConditionKind::Accepted).unwrap();
        assert_eq!(
            (accepted.met, accepted.reason),
            (false, "ListenersNotValid")
        );
    }
}

/// Law 4.
#[test]
fn a_taken_port_leaves_the_other_listeners_in_service() {
    let two = lb(
        "b",
        json!({
            "listeners": [{"name": "x", "port": 80}, {"name": "y", "port": 81}],
            "defaultBackend": {"name": "web"},
        }),
    );
    let plan = run(vec![on("a", 80), two], vec![one("web")]);
    let kept: Vec<u16> = load_balancer(&plan, "b")
        .listeners
        .iter()
        .map(|l| l.port)
        .collect();
    assert_eq!(kept, [81]);
    let verdict = verdict(&plan, Kind::LoadBalancer, "b");
    assert!(verdict.get(ConditionKind::Accepted).unwrap().met);
    let faults: Vec<Option<&str>> = verdict.faults().map(|(listener, _)| listener).collect();
    assert_eq!(faults, [Some("x")]);
}

#[test]
fn sources_that_cannot_be_read_let_nobody_in() {
    let mut shop = on("shop", 80);
    shop.spec.allowed_sources = vec![api::load_balancer::Cidr("everyone".to_owned())];
    let plan = run(vec![shop], vec![one("web")]);
    assert!(load_balancer(&plan, "shop").listeners.is_empty());
    let accepted = verdict(&plan, Kind::LoadBalancer, "shop")
        .get(ConditionKind::Accepted)
        .unwrap();
    assert_eq!(
        (accepted.met, accepted.field.as_deref()),
        (false, Some("spec.allowedSources[0]"))
    );
}

#[test]
fn timeouts_and_retries_are_the_routes_then_the_backends_then_the_defaults() {
    let web = be(
        "web",
        json!({
            "static": [],
            "timeouts": {"request": "9s", "connect": "1s", "responseHead": "0s"},
            "retry": {"attempts": 3},
        }),
    );
    let shop = lb(
        "shop",
        json!({
            "listeners": [{"name": "http", "port": 80}],
            "routes": [
                {"backends": [{"name": "web"}], "timeouts": {"request": "0s", "connect": "2s"}, "retry": {"attempts": 0}},
                {"backends": [{"name": "web"}], "timeouts": {"responseHead": "5s"}, "retry": {}},
            ],
            "defaultBackend": {"name": "plain"},
        }),
    );
    let plan = run(vec![shop], vec![web, one("plain")]);
    let shop = load_balancer(&plan, "shop");
    let seconds = Duration::from_secs;
    let default = RouteTimeouts::default();
    let first = shop.routes[0].backends[0];
    assert_eq!(
        first.timeouts,
        RouteTimeouts {
            request: None,
            connect: seconds(2),
            response_head: None,
            ..default
        }
    );
    assert_eq!((first.retry.attempts, first.retry.budget), (0, None));
    let second = shop.routes[1].backends[0];
    assert_eq!(
        second.timeouts,
        RouteTimeouts {
            request: Some(seconds(9)),
            connect: seconds(1),
            response_head: Some(seconds(5)),
            ..default
        }
    );
    assert_eq!((second.retry.attempts, second.retry.budget), (3, None));
    let unsaid = shop.default_backend.unwrap();
    assert_eq!((unsaid.timeouts, unsaid.retry), (default, Retry::default()));
}

#[test]
fn endpoints_are_sorted_and_each_is_there_once() {
    let web = be(
        "web",
        json!({
            "static": [
                {"address": "10.0.0.2", "port": 80, "weight": 5, "adminState": "Draining"},
                {"address": "10.0.0.1", "port": 81},
                {"address": "10.0.0.1", "port": 80, "adminState": "Disabled"},
                {"address": "10.0.0.1", "port": 80},
                {"address": "localhost", "port": 80},
            ],
            "adminState": "Draining",
            "balance": {"policy": "LeastRequest"},
        }),
    );
    let plan = run(vec![], vec![web]);
    let web = &plan.snapshot.backends[0];
    let found: Vec<(String, u32, AdminState)> = web
        .endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.weight, e.admin_state))
        .collect();
    assert_eq!(
        found,
        [
            ("10.0.0.1:80".to_owned(), 1, AdminState::Disabled),
            ("10.0.0.1:81".to_owned(), 1, AdminState::Enabled),
            ("10.0.0.2:80".to_owned(), 5, AdminState::Draining),
        ]
    );
    assert!(
        web.endpoints
            .iter()
            .all(|e| e.id.member == Member::Static(e.address))
    );
    assert_eq!(
        (web.policy.clone(), web.admin_state),
        (Policy::LeastRequest, AdminState::Draining)
    );
    let accepted = verdict(&plan, Kind::Backend, "web")
        .get(ConditionKind::Accepted)
        .unwrap();
    assert_eq!(
        (accepted.met, accepted.field.as_deref()),
        (false, Some("spec.static[4].address"))
    );
}

#[test]
fn a_backend_that_nobody_uses_is_there_and_can_be_drained() {
    let plan = run(vec![], vec![one("web")]);
    assert_eq!(plan.snapshot.backends[0].draining, DrainPolicy::default());
    assert_eq!(plan.snapshot.backends[0].endpoints.len(), 1);
}

#[test]
fn how_endpoints_leave_comes_from_every_load_balancer_that_uses_them() {
    let draining = |name: &str, port: u16, seconds: u32, uses: Value| {
        let mut object = on(name, port);
        object.spec.connection_draining.timeout_seconds = seconds;
        object.spec.default_backend = None;
        object.spec.routes = serde_json::from_value(json!([{"backends": [uses]}])).unwrap();
        object
    };
    // References stay in the namespace: this one's `web` is another.
    let mut stranger = draining("d", 4, 600, json!({"name": "web"}));
    stranger.metadata.namespace = Some("elsewhere".to_owned());
    let plan = run(
        vec![
            draining("a", 1, 60, json!({"name": "web"})),
            draining("b", 2, 90, json!({"name": "web", "weight": 0})),
            draining("c", 3, 20, json!({"name": "other"})),
            stranger,
        ],
        vec![one("web"), one("other")],
    );
    let timeout = |name| {
        let backend = plan.snapshot.backend(&ObjectName::new("default", name));
        backend.expect("planned").draining.timeout.as_secs()
    };
    assert_eq!((timeout("web"), timeout("other")), (90, 20));
    let accepted = verdict(&plan, Kind::Backend, "web")
        .get(ConditionKind::Accepted)
        .unwrap();
    assert!(
        accepted.met && accepted.message.contains("a, b"),
        "{}",
        accepted.message
    );
    let other = verdict(&plan, Kind::Backend, "other")
        .get(ConditionKind::Accepted)
        .unwrap();
    assert_eq!(other.message, "");
}

#[test]
fn a_minimum_over_the_timeout_is_advice_and_not_a_refusal() {
    let web = be(
        "web",
        json!({"static": [], "connectionDraining": {"minSeconds": 600}}),
    );
    let plan = run(vec![on("shop", 80)], vec![web]);
    let policy = plan.snapshot.backends[0].draining;
    assert_eq!(
        (policy.min, policy.timeout),
        (policy.timeout, Duration::from_mins(5))
    );
    let verdict = verdict(&plan, Kind::Backend, "web");
    let advice = verdict.get(ConditionKind::DrainTimeoutTooShort).unwrap();
    assert!(advice.met && advice.is_fault() && advice.message.contains("600"));
    assert!(verdict.get(ConditionKind::Accepted).unwrap().met);
}

#[test]
fn endpoints_of_a_service_are_what_the_cluster_knows() {
    let web = be("web", json!({"service": {"name": "web", "port": "http"}}));
    let name = ObjectName::new("default", "web");
    let objects = Objects {
        load_balancers: vec![],
        backends: vec![web],
    };
    let nothing = plan(&objects, &Facts::default());
    let refs = verdict(&nothing, Kind::Backend, "web")
        .get(ConditionKind::ResolvedRefs)
        .unwrap();
    assert_eq!(
        (refs.met, refs.field.as_deref()),
        (false, Some("spec.service.name"))
    );

    let endpoints = run(vec![], vec![one("web")]).snapshot.backends[0]
        .endpoints
        .clone();
    let facts = Facts {
        endpoints: BTreeMap::from([(name, endpoints.clone())]),
        ..Facts::default()
    };
    let known = plan(&objects, &facts);
    assert_eq!(known.snapshot.backends[0].endpoints, endpoints);
    assert!(
        verdict(&known, Kind::Backend, "web")
            .faults()
            .next()
            .is_none()
    );
}
