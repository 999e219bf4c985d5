//! One test for each rule of routes and defaults for connections that are passed on as they are.

use serde_json::{Value, json};

use super::tests::{be, lb};
use super::*;
use crate::model::{LoadBalancer, Protocol, ProxyVersion};

fn listener(name: &str, port: u16, protocol: &str) -> Value {
    let mut listener = json!({"name": name, "port": port, "protocol": protocol});
    if protocol == "TLS" {
        listener["tls"] = json!({"mode": "Passthrough"});
    }
    listener
}

fn backend(name: &str, protocol: &str) -> api::Backend {
    be(
        name,
        json!({"static": [{"address": "10.0.0.1", "port": 80}], "protocol": protocol}),
    )
}

/// Plans one LoadBalancer before the Backends `web`, of HTTP, `rpc`, of gRPC, and `db` and `mq`, of TCP.
#[allow(clippy::needless_pass_by_value)] // a literal, at every call
fn run(spec: Value) -> Plan {
    let objects = Objects {
        load_balancers: vec![lb("shop", spec)],
        backends: vec![
            backend("web", "HTTP"),
            backend("db", "TCP"),
            backend("mq", "TCP"),
            backend("rpc", "GRPC"),
        ],
    };
    plan(&objects, &Facts::default())
}

fn only(plan: &Plan) -> &LoadBalancer {
    &plan.snapshot.load_balancers[0]
}

fn names(plan: &Plan, choices: &[crate::model::WeightedBackend]) -> Vec<String> {
    let backends = &plan.snapshot.backends;
    let name = |at: usize| backends[at].name.name.to_string();
    choices.iter().map(|one| name(one.backend)).collect()
}

/// The reason, and all that is said.
fn refs(plan: &Plan) -> (bool, &'static str, String) {
    let name = ObjectName::new("default", "shop");
    let kind = Kind::LoadBalancer;
    let verdict = &plan.verdicts[&ObjectRef { kind, name }];
    let condition = verdict.get(ConditionKind::ResolvedRefs).unwrap();
    (condition.met, condition.reason, condition.message.clone())
}

#[test]
fn a_tcp_listener_leads_to_the_default_backend() {
    let plan = run(json!({
        "listeners": [listener("db", 5432, "TCP")],
        "defaultBackend": {"name": "db"},
    }));
    let shop = only(&plan);
    assert_eq!(shop.listeners[0].protocol, Protocol::Tcp);
    assert!(!shop.listeners[0].proxy_protocol);
    let default = shop.streams.default_backend.unwrap();
    assert_eq!(names(&plan, &[default]), ["db"]);
    assert_eq!((shop.default_backend, shop.routes.len()), (None, 0));
    assert!(refs(&plan).0, "{:?}", refs(&plan));
}

#[test]
fn requests_and_tls_connections_share_a_load_balancer_by_what_their_backends_speak() {
    let plan = run(json!({
        "listeners": [listener("http", 80, "HTTP"), listener("tls", 443, "TLS")],
        "routes": [
            {"hostnames": ["a.example.com"], "matches": [{"path": {"value": "/x"}}], "backends": [{"name": "web"}]},
            {"hostnames": ["*.example.com"], "backends": [{"name": "db", "weight": 3}, {"name": "mq"}]},
        ],
        "defaultBackend": {"name": "web"},
    }));
    let shop = only(&plan);
    assert_eq!(shop.routes.len(), 1);
    assert_eq!(names(&plan, &shop.routes[0].backends), ["web"]);
    assert_eq!(shop.streams.routes.len(), 1);
    let stream = &shop.streams.routes[0];
    assert_eq!(names(&plan, &stream.backends), ["db", "mq"]);
    assert_eq!(
        stream.hostnames,
        [crate::model::HostPattern::new("*.example.com")]
    );
    assert_eq!(shop.streams.default_backend, None);
    assert!(shop.default_backend.is_some());
    assert!(refs(&plan).0, "{:?}", refs(&plan));
}

/// Law 4.
#[test]
fn what_its_listeners_cannot_use_is_out_of_service_and_named() {
    let to = |name: &str| json!([{"hostnames": ["a"], "backends": [{"name": name}]}]);
    let http = || json!([listener("http", 80, "HTTP")]);
    let tls = || json!([listener("tls", 443, "TLS")]);
    let tcp = || json!([listener("tcp", 1, "TCP")]);
    let rows = [
        (
            json!({"listeners": http(), "routes": to("db")}),
            "spec.routes[0].backends: Backend default/db speaks TCP, and no listener here speaks TLS",
        ),
        (
            json!({"listeners": tls(), "routes": to("web")}),
            "spec.routes[0].backends: Backend default/web speaks HTTP, and no listener here speaks HTTP",
        ),
        (
            json!({"listeners": tcp(), "defaultBackend": {"name": "web"}}),
            "spec.defaultBackend.name: Backend default/web speaks HTTP: a listener of protocol TCP needs",
        ),
        (
            json!({"listeners": http(), "defaultBackend": {"name": "db"}}),
            "spec.routes: no route, and no defaultBackend, is of protocol HTTP",
        ),
        (
            json!({"listeners": tls(), "defaultBackend": {"name": "web"}}),
            "spec.routes: no route, and no defaultBackend, is of protocol TCP",
        ),
        (
            json!({"listeners": tls(), "routes": [{"backends": [{"name": "db"}], "retry": {"attempts": 2}}]}),
            "spec.routes[0].retry: is for HTTP",
        ),
        (
            json!({"listeners": tls(), "routes": [{"backends": [{"name": "db"}], "timeouts": {"responseHead": "2s"}}]}),
            "spec.routes[0].timeouts.responseHead: is for HTTP",
        ),
        (
            json!({"listeners": tls(), "routes": [{"backends": [{"name": "db"}, {"name": "web"}]}]}),
            "spec.routes[0].backends: Backend default/web does not speak TCP",
        ),
    ];
    for (spec, words) in rows {
        let plan = run(spec.clone());
        let (met, reason, message) = refs(&plan);
        assert_eq!((met, reason), (false, "ProtocolMismatch"), "{spec}");
        assert!(message.contains(words), "{message}\nfor {spec}");
        assert_eq!(only(&plan).listeners.len(), 1, "it keeps its port");
        assert_eq!(
            only(&plan).streams.default_backend.is_some(),
            words.contains("HTTP") && spec["defaultBackend"]["name"] == "db"
        );
        let routes = only(&plan).routes.iter().chain(&only(&plan).streams.routes);
        let left: Vec<_> = routes
            .flat_map(|route| names(&plan, &route.backends))
            .collect();
        let kept: &[&str] = if words.contains("does not speak") {
            &["db"]
        } else {
            &[]
        };
        assert_eq!(left, kept, "{spec}");
    }
}

/// Law 4.
#[test]
fn a_default_backend_that_is_not_there_takes_tls_out_of_service_too() {
    let plan = run(json!({
        "listeners": [listener("tls", 443, "TLS"), listener("tcp", 1, "TCP")],
        "defaultBackend": {"name": "gone"},
    }));
    let (met, reason, _) = refs(&plan);
    assert_eq!((met, reason), (false, "BackendNotFound"));
    let streams = &only(&plan).streams;
    assert_eq!((streams.routes.len(), streams.default_backend), (1, None));
    assert!(streams.routes[0].hostnames.is_empty() && streams.routes[0].backends.is_empty());
}

#[test]
fn the_proxy_protocol_is_planned_both_ways() {
    let objects = Objects {
        load_balancers: vec![lb(
            "shop",
            json!({
                "listeners": [{"name": "http", "port": 80, "proxyProtocol": true}],
                "defaultBackend": {"name": "web"},
            }),
        )],
        backends: ["V1", "V2"]
            .iter()
            .map(|version| {
                be(
                    &format!("web-{version}"),
                    json!({"static": [], "sendProxyProtocol": version}),
                )
            })
            .collect(),
    };
    let plan = plan(&objects, &Facts::default());
    assert!(only(&plan).listeners[0].proxy_protocol);
    let sent: Vec<_> = plan
        .snapshot
        .backends
        .iter()
        .map(|one| one.send_proxy)
        .collect();
    assert_eq!(sent, [Some(ProxyVersion::V1), Some(ProxyVersion::V2)]);
}

#[test]
fn how_long_a_tunnel_may_be_idle_is_the_routes_then_the_backends_word() {
    let spec = json!({
        "listeners": [listener("tls", 443, "TLS"), listener("tcp", 1, "TCP")],
        "routes": [{"backends": [{"name": "db"}], "timeouts": {"tunnelIdle": "0s"}}],
        "defaultBackend": {"name": "db"},
    });
    let db = json!({
        "static": [], "protocol": "TCP", "timeouts": {"tunnelIdle": "5m", "connect": "1s"},
    });
    let objects = Objects {
        load_balancers: vec![lb("shop", spec)],
        backends: vec![be("db", db)],
    };
    let plan = plan(&objects, &Facts::default());
    let streams = &only(&plan).streams;
    let default = streams.default_backend.unwrap().timeouts;
    let minutes = std::time::Duration::from_mins;
    assert_eq!(default.tunnel_idle, Some(minutes(5)));
    assert_eq!(streams.routes[0].backends[0].timeouts.tunnel_idle, None);
    assert_eq!(default.connect, std::time::Duration::from_secs(1));
}

#[test]
fn filters_are_for_requests() {
    let limit = json!([{"rateLimit": {"requests": 1}}]);
    let plan = run(json!({
        "listeners": [listener("tls", 443, "TLS"), listener("http", 80, "HTTP")],
        "routes": [
            {"hostnames": ["db.a"], "filters": limit, "backends": [{"name": "db"}]},
            {"hostnames": ["web.a"], "filters": limit, "backends": [{"name": "web"}]},
        ],
    }));
    let (met, reason, message) = refs(&plan);
    assert_eq!((met, reason), (false, "ProtocolMismatch"));
    assert!(message.contains("is for HTTP"), "{message}");
    let streams = &only(&plan).streams;
    assert_eq!(streams.routes.len(), 1);
    assert!(streams.routes[0].backends.is_empty() && streams.routes[0].filters.is_none());
    assert!(only(&plan).routes[0].filters.is_some());
}

/// The names that it sends elsewhere are those of connections, too, as where HTTP leads to a TLS listener.
#[test]
fn a_redirect_is_for_requests_and_takes_no_connections() {
    let plan = run(json!({
        "listeners": [listener("tls", 443, "TLS"), listener("http", 80, "HTTP")],
        "routes": [
            {"hostnames": ["db.a"], "filters": [{"redirect": {"scheme": "https"}}]},
            {"hostnames": ["db.a"], "backends": [{"name": "db"}]},
        ],
    }));
    assert!(refs(&plan).0, "{:?}", refs(&plan));
    assert_eq!(only(&plan).routes.len(), 1);
    let streams = &only(&plan).streams.routes;
    assert_eq!(streams.len(), 1);
    assert_eq!(names(&plan, &streams[0].backends), ["db"]);
}

#[test]
fn a_mirror_that_does_not_speak_http1_is_left_out_and_its_route_goes_on() {
    for name in ["rpc", "db"] {
        let plan = run(json!({
            "listeners": [listener("http", 80, "HTTP")],
            "routes": [{
                "filters": [{"mirror": {"backend": {"name": name}}}],
                "backends": [{"name": "web"}],
            }],
        }));
        let (met, reason, message) = refs(&plan);
        assert_eq!((met, reason), (false, "ProtocolMismatch"));
        assert!(message.contains("HTTP/1"), "{message}");
        let route = &only(&plan).routes[0];
        assert_eq!(names(&plan, &route.backends), ["web"]);
        assert_eq!(route.filters.as_ref().unwrap().mirror, None);
    }
}
