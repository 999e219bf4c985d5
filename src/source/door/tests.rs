//! One table for each kind of fault: the object, the field that is named, and what the message says.

mod balancing;
mod routes;

use super::*;
use crate::source::yaml;

mod streams;

/// Puts an object through the door.
fn admit(text: &str) -> Result<Admitted, Vec<Violation>> {
    let documents = yaml::parse(text).expect("YAML");
    assert_eq!(documents.len(), 1);
    thread_local!(static DOOR: Door = Door::new());
    DOOR.with(|door| door.admit(&documents[0]))
}

fn lb(spec: &str) -> String {
    format!(
        "apiVersion: lastcall.dev/v1alpha1\nkind: LoadBalancer\nmetadata: {{name: shop}}\nspec:\n{spec}"
    )
}

fn be(spec: &str) -> String {
    format!(
        "apiVersion: lastcall.dev/v1alpha1\nkind: Backend\nmetadata: {{name: web}}\nspec:\n{spec}"
    )
}

const LISTENER: &str = "  listeners: [{name: http, port: 80}]\n";

/// A LoadBalancer with a listener and a default Backend, and this besides.
fn with(spec: &str) -> String {
    lb(&format!(
        "{LISTENER}  defaultBackend: {{name: web}}\n{spec}"
    ))
}

/// A LoadBalancer with this route.
fn route(route: &str) -> String {
    lb(&format!("{LISTENER}  routes:\n  - {route}\n"))
}

/// A Backend with an endpoint, and this besides.
fn static_and(spec: &str) -> String {
    be(&format!(
        "  static: [{{address: 10.0.0.7, port: 80}}]\n{spec}"
    ))
}

fn refused(text: &str, line: usize, field: &str, words: &str) {
    let Err(violations) = admit(text) else {
        panic!("passed, though {field} is wrong:\n{text}")
    };
    let found = violations
        .iter()
        .any(|v| v.line == line && v.field == field && v.message.contains(words));
    assert!(
        found,
        "wanted line {line}, {field:?}, {words:?}; found {violations:#?} in\n{text}"
    );
    assert!(violations.iter().all(|v| !v.message.is_empty()));
}

#[test]
fn what_the_readme_shows_passes() {
    let Ok(Admitted::LoadBalancer(shop)) =
        admit(&lb("  listeners: [{name: http, port: 80, protocol: HTTP}]
  routes:
  - hostnames: [shop.example.com]
    matches: [{path: {type: Prefix, value: /api}}]
    backends: [{name: api, weight: 9}, {name: api-next, weight: 1}]
  defaultBackend: {name: web}
  connectionDraining: {timeoutSeconds: 60}
"))
    else {
        panic!("refused")
    };
    assert_eq!(shop.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(shop.spec.connection_draining.timeout_seconds, 60);
    assert_eq!(shop.spec.connection_draining.restart_timeout_seconds, 10);
    assert_eq!(shop.spec.limits, api::load_balancer::Limits::default());
    let Ok(Admitted::Backend(web)) = admit(&be("  static:
  - {address: 127.0.0.1, port: 8080}
  - {address: '::1', port: 8080, weight: 0, adminState: Draining}
  balance: {policy: LeastRequest}
  timeouts: {request: 0s, connect: 250ms}
  retry: {attempts: 0}
"))
    else {
        panic!("refused")
    };
    assert_eq!(web.spec.fixed.as_ref().unwrap()[0].weight, 1);
    assert_eq!(web.spec.connection_draining, None);
}

#[test]
#[rustfmt::skip] // one row a line
fn what_is_no_object_of_ours_is_refused() {
    let whole = with("");
    for (text, line, field, words) in [
        ("just text", 1, "", "allowed: apiVersion"),
        ("- a\n", 1, "", "allowed: apiVersion"),
        ("kind: Backend\n", 1, "apiVersion", "lastcall.dev/v1alpha1"),
        (&*whole.replace("v1alpha1", "v1"), 1, "apiVersion", "allowed: lastcall.dev/v1alpha1"),
        (&*whole.replace("LoadBalancer", "Service"), 2, "kind", "allowed: LoadBalancer, Backend"),
        (&*whole.replace("kind: LoadBalancer\n", ""), 1, "kind", "LoadBalancer, Backend"),
        (&*whole.replace("metadata: {name: shop}\n", ""), 1, "metadata", "missing"),
        (&*whole.replace("{name: shop}", "{}"), 3, "metadata.name", "missing"),
        (&*whole.replace("name: shop", "name: Shop"), 3, "metadata.name", "\"Shop\""),
        (&*whole.replace("name: shop", "name: a_b"), 3, "metadata.name", "matches"),
        (&*whole.replace("{name: shop}", "{name: shop, namespace: A.b}"), 3, "metadata.namespace", "matches"),
        (&*whole.replace("{name: shop}", "{name: shop, uid: x}"), 3, "metadata.uid", "allowed here: annotations, labels, name, namespace"),
        (&*format!("{whole}status: {{}}\n"), 7, "status", "no such field"),
        ("apiVersion: lastcall.dev/v1alpha1\nkind: Backend\nmetadata: {name: a}\n", 1, "spec", "missing"),
    ] {
        refused(text, line, field, words);
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn a_load_balancer_that_does_not_fit_is_refused_with_its_field() {
    for (text, line, field, words) in [
        (lb("  defaultBackend: {name: web}\n"), 5, "spec.listeners", "missing"),
        (lb("  listeners: []\n  defaultBackend: {name: web}\n"), 5, "spec.listeners", "1 to 16 entries"),
        (lb(LISTENER), 4, "spec.routes", "routes or defaultBackend is needed"),
        (with("  listener: []\n"), 7, "spec.listener", "allowed here"),
        (with("  allowedsources: []\n"), 7, "spec.allowedsources", "allowedSources is meant"),
        (with("").replace("port: 80", "port: 0"), 5, "spec.listeners[0].port", "found 0; allowed: a whole number from 1 to 65535"),
        (with("").replace("port: 80", "port: 65536"), 5, "spec.listeners[0].port", "65535"),
        (with("").replace("port: 80", "port: '80'"), 5, "spec.listeners[0].port", "found \"80\""),
        (with("").replace("port: 80", "port: 80.5"), 5, "spec.listeners[0].port", "whole number"),
        (with("").replace("port: 80", "port: 80, protocol: SMTP"), 5, "spec.listeners[0].protocol", "found \"SMTP\"; allowed: HTTP"),
        (with("").replace("name: http", "name: HTTP"), 5, "spec.listeners[0].name", "matches"),
        (with("").replace("port: 80", "port: 80, hostname: Shop.example.com"), 5, "spec.listeners[0].hostname", "matches"),
        (with("").replace("port: 80", "port: 80, hostname: 'a.*.b'"), 5, "spec.listeners[0].hostname", "matches"),
        (with("").replace("port: 80}", "port: 80}, {name: http, port: 81}"), 5, "spec.listeners[1]", "name \"http\" is here twice"),
        (with("").replace("port: 80}", "port: 80}, {name: b, port: 80}"), 5, "spec.listeners", "same port"),
        (with("  connectionDraining: {timeoutSeconds: 0}\n"), 7, "spec.connectionDraining.timeoutSeconds", "from 1 to 3600"),
        (with("  connectionDraining: {timeoutSeconds: 3601}\n"), 7, "spec.connectionDraining.timeoutSeconds", "from 1 to 3600"),
        (with("  connectionDraining: {timeoutSeconds: 60s}\n"), 7, "spec.connectionDraining.timeoutSeconds", "found \"60s\""),
        (with("  connectionDraining: {minSeconds: 301}\n"), 7, "spec.connectionDraining.minSeconds", "minSeconds must not be more than timeoutSeconds"),
        (with("  connectionDraining: {lastEndpoint: Keep}\n"), 7, "spec.connectionDraining.lastEndpoint", "KeepServing, Drain"),
        (with("  connectionDraining: {enabled: 1}\n"), 7, "spec.connectionDraining.enabled", "true or false"),
        (with("  connectionDraining: {scope: Sessions}\n"), 7, "spec.connectionDraining.scope", "no such field"),
        (with("  allowedSources: [10.0.0.0/33]\n"), 7, "spec.allowedSources[0]", "CIDR"),
        (with("  allowedSources: [10.0.0.0/08]\n"), 7, "spec.allowedSources[0]", "CIDR"),
        (with("  allowedSources: [10.0.0.1]\n"), 7, "spec.allowedSources[0]", "CIDR"),
        (with("  trustedProxies:\n  - 10.0.0.0/8\n  - proxy\n"), 9, "spec.trustedProxies[1]", "CIDR"),
        (with("  trustedProxies: [10.0.0.0/8, 10.0.0.0/8]\n"), 7, "spec.trustedProxies[1]", "twice"),
        (with("  timeouts: {idle: 10}\n"), 7, "spec.timeouts.idle", "a duration such as 250ms"),
        (with("  timeouts: {idle: 1.5s}\n"), 7, "spec.timeouts.idle", "a duration such as 250ms"),
        (with("  timeouts: {requestHead: 0s}\n"), 7, "spec.timeouts.requestHead", "longer than 0s"),
        (with("  timeouts: {requestBody: 0s}\n"), 7, "spec.timeouts.requestBody", "longer than 0s"),
        (with("  timeouts: {idle: 0s}\n"), 7, "spec.timeouts.idle", "longer than 0s"),
        (with("  timeouts: {write: 0m}\n"), 7, "spec.timeouts.write", "longer than 0s"),
        (with("  limits: {headBytes: 4096}\n"), 7, "spec.limits.uriBytes", "uriBytes must not be more than headBytes"),
        (with("  limits: {headBytes: 10}\n"), 7, "spec.limits.headBytes", "from 1024"),
        (with("  defaultBackend: {name: web, weight: 1}\n").replace("  defaultBackend: {name: web}\n", ""), 6, "spec.defaultBackend.weight", "allowed here: name"),
        (with("  service: {type: LoadBalancer}\n"), 7, "spec.service", "leave it out"),
    ] {
        refused(&text, line, field, words);
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn a_listeners_tls_that_does_not_fit_is_refused_with_its_field() {
    let https = |tls: &str| with("").replace("port: 80", &format!("port: 443, protocol: HTTPS{tls}"));
    for (text, field, words) in [
        (https(""), "spec.listeners[0].tls", "protocol HTTPS needs a certificate"),
        (with("").replace("port: 80", "port: 80, tls: {certificateRefs: [{name: a}]}"), "spec.listeners[0].tls", "only with protocol HTTPS"),
        (https(", tls: {}"), "spec.listeners[0].tls.certificateRefs", "at least one certificate"),
        (https(", tls: {certificateRefs: []}"), "spec.listeners[0].tls.certificateRefs", "at least one certificate"),
        (https(", tls: {certificateRefs: [{name: a/b}]}"), "spec.listeners[0].tls.certificateRefs[0].name", "matches"),
        (https(", tls: {certificateRefs: [{name: ..}]}"), "spec.listeners[0].tls.certificateRefs[0].name", "matches"),
        (https(", tls: {certificateRefs: [{name: a}, {name: a}]}"), "spec.listeners[0].tls.certificateRefs[1]", "twice"),
        (https(", tls: {certificateRefs: [{name: a}], clientCARef: {}}"), "spec.listeners[0].tls.clientCARef.name", "missing"),
        (https(", tls: {certificateRefs: [{name: a}], minVersion: TLS1.1}"), "spec.listeners[0].tls.minVersion", "allowed: TLS1.2, TLS1.3"),
        (https(", tls: {mode: Passthrough}"), "spec.listeners[0].tls", "protocol HTTPS ends TLS"),
        (https(", tls: {mode: Passthrough, minVersion: TLS1.3}").replace("HTTPS", "TLS"), "spec.listeners[0].tls.mode", "only with mode Terminate"),
        (https(", tls: {mode: Passthrough, certificateRefs: [{name: a}]}").replace("HTTPS", "TLS"), "spec.listeners[0].tls.mode", "only with mode Terminate"),
        (https(", tls: {certificateRefs: [{name: a}], ciphers: x}"), "spec.listeners[0].tls.ciphers", "no such field"),
    ] {
        refused(&text, 5, field, words);
    }
    admit(&https(", tls: {certificateRefs: [{name: a}, {name: b.c}], clientCARef: {name: d}, minVersion: TLS1.3}")).unwrap();
}

#[test]
#[rustfmt::skip] // one row a line
fn a_backend_that_does_not_fit_is_refused_with_its_field() {
    for (text, line, field, words) in [
        (be("  balance: {}\n"), 4, "spec", "exactly one of service, pods and static"),
        (be("  service: {name: a, port: 80}\n"), 5, "spec.service", "write static"),
        (be("  pods: {selector: {matchLabels: {a: b}}, port: 80}\n"), 5, "spec.pods", "write static"),
        (be("  static: [{address: web.example.com, port: 80}]\n"), 5, "spec.static[0].address", "names are not looked up"),
        (be("  static: [{address: 10.0.0.07, port: 80}]\n"), 5, "spec.static[0].address", "IP address"),
        (be("  static: [{address: '2001:DB8::1', port: 80}]\n"), 5, "spec.static[0].address", "canonical"),
        (be("  static: [{address: '::ffff:10.0.0.1', port: 80}]\n"), 5, "spec.static[0].address", "IP address"),
        (be("  static: [{port: 80}]\n"), 5, "spec.static[0].address", "missing"),
        (be("  static: [{address: 10.0.0.7}]\n"), 5, "spec.static[0].port", "missing"),
        (be("  static:\n  - {address: 10.0.0.7, port: 80}\n  - {address: 10.0.0.7, port: 80}\n"), 7, "spec.static[1]", "first is at line 6"),
        (static_and("  protocol: SMTP\n"), 6, "spec.protocol", "allowed: HTTP"),
        (static_and("  protocol: HTTPS\n"), 4, "spec.tls", "protocol HTTPS needs the name"),
        (static_and("  tls: {serverName: web}\n"), 6, "spec.tls", "only with protocol HTTPS, GRPC or TCP"),
        (static_and("  protocol: H2C\n  tls: {serverName: web}\n"), 7, "spec.tls", "HTTP and H2C are in clear text"),
        (static_and("  protocol: HTTPS\n  tls: {}\n"), 7, "spec.tls.serverName", "missing"),
        (static_and("  protocol: HTTPS\n  tls: {serverName: '*.web'}\n"), 7, "spec.tls.serverName", "matches"),
        (static_and("  protocol: HTTPS\n  tls: {serverName: web, caRef: {name: A}}\n"), 7, "spec.tls.caRef.name", "matches"),
        (static_and("  protocol: HTTPS\n  tls: {serverName: web, insecure: true}\n"), 7, "spec.tls.insecure", "no such field"),
        (static_and("  adminState: draining\n"), 6, "spec.adminState", "allowed: Enabled, Draining, Disabled"),
        (static_and("  balance: {policy: Hash}\n"), 6, "spec.balance.hash", "hash goes with policy Hash"),
        (static_and("  connectionDraining: {timeoutSeconds: 9, minSeconds: 10}\n"), 6, "spec.connectionDraining.minSeconds", "minSeconds must not"),
        (static_and("  connectionDraining: {timeoutSeconds: 4000}\n"), 6, "spec.connectionDraining.timeoutSeconds", "from 1 to 3600"),
        (static_and("  timeouts: {connect: 0s}\n"), 6, "spec.timeouts.connect", "longer than 0s"),
        (static_and("  healthCheck: {}\n"), 6, "spec.healthCheck", "no such field"),
    ] {
        refused(&text, line, field, words);
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let text = lb("  listeners: [{name: http, port: 0}]\n  routes: 1\n  timeouts: {idle: x}\n");
    let fields: Vec<String> = admit(&text)
        .unwrap_err()
        .into_iter()
        .map(|v| v.field)
        .collect();
    assert_eq!(
        fields,
        [
            "spec.listeners[0].port",
            "spec.routes",
            "spec.timeouts.idle"
        ]
    );
}

#[test]
fn null_is_as_if_it_were_not_written() {
    let text = with("  routes: ~\n  limits: null\n  service: ~\n");
    // `service` is there, even if it says nothing: told, and not passed over.
    refused(&text, 9, "spec.service", "leave it out");
    admit(&with("  routes: ~\n  limits: null\n")).unwrap();
    refused(
        &with("").replace("port: 80", "port: ~"),
        5,
        "spec.listeners[0].port",
        "missing",
    );
}

/// What a cluster's users write is held to the same rules by the API server; here the parts that a
/// folder refuses before they are looked at.
#[test]
#[rustfmt::skip] // one row a line
fn the_rules_of_sources_in_a_cluster_hold() {
    let [load_balancer, backend] = api::crds();
    let check = |kind: &KindDoor, object: Value| -> Vec<String> {
        match Validator::new().validate_compiled(&kind.rules, &object, None) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.into_vec().into_iter().map(|e| e.to_string()).collect(),
        }
    };
    let be = KindDoor::new(&backend, "Backend");
    assert!(!be.rules.has_errors());
    let one = |spec: Value| {
        let head = json!({"apiVersion": API_VERSION, "kind": "Backend", "metadata": {"name": "a"}});
        let mut object = head;
        object["spec"] = spec;
        let text = object.to_string();
        let documents = yaml::parse(&text).unwrap();
        let mut violations = Vec::new();
        let checked = schema::check(&be.schema, &documents[0], "", &mut violations);
        let mut errors: Vec<String> =
            violations.into_iter().map(|v| format!("{}: {}", v.field, v.message)).collect();
        if errors.is_empty() {
            errors = check(&be, checked.unwrap());
        }
        errors
    };
    assert_eq!(one(json!({"service": {"name": "a", "port": 80}})), [""; 0]);
    assert_eq!(one(json!({"service": {"name": "a", "port": "http"}})), [""; 0]);
    assert_eq!(one(json!({"pods": {"selector": {"matchLabels": {"a": "b"}}, "port": 80}})), [""; 0]);
    for (spec, words) in [
        (json!({"service": {"name": "a", "port": 0}}), "spec.service.port: found 0; allowed: a whole number from 1 to 65535, or a string"),
        (json!({"service": {"name": "a", "port": "HTTP"}}), "spec.service.port: found \"HTTP\""),
        (json!({"service": {"name": "a", "port": "80"}}), "spec.service.port: found \"80\""),
        (json!({"pods": {"selector": {}, "port": 80}}), "spec.pods.selector: selector must not be empty"),
        (json!({"pods": {"selector": {"matchLabels": {"a": "b"}}, "port": 70000}}), "spec.pods.port: found 70000"),
        (json!({"service": {"name": "a", "port": 1}, "static": []}), "spec: exactly one"),
        (json!({}), "exactly one"),
    ] {
        let errors = one(spec.clone());
        assert!(errors.iter().any(|e| e.contains(words)), "{spec}: {errors:?}");
    }
    let lb = KindDoor::new(&load_balancer, "LoadBalancer");
    assert!(!lb.rules.has_errors());
    let service = |service: Value| {
        let listeners = json!([{"name": "a", "port": 1}]);
        let default = json!({"name": "a"});
        check(&lb, json!({"spec": {"listeners": listeners, "defaultBackend": default, "service": service}}))
    };
    assert_eq!(service(json!({})), [""; 0]);
    assert_eq!(service(json!({"type": "LoadBalancer", "loadBalancerClass": "x"})), [""; 0]);
    for (block, words) in [
        (json!({"type": "ClusterIP", "loadBalancerClass": "x"}), "loadBalancerClass goes only"),
        (json!({"type": "ClusterIP", "externalTrafficPolicy": "Local"}), "externalTrafficPolicy goes only"),
    ] {
        let errors = service(block.clone());
        assert!(errors.iter().any(|e| e.contains(words)), "{block}: {errors:?}");
    }
}

#[test]
fn the_class_of_a_service_cannot_be_changed() {
    let [load_balancer, _] = api::crds();
    let lb = KindDoor::new(&load_balancer, "LoadBalancer");
    let object = |service: Value| json!({"spec": {"listeners": [{"name": "a", "port": 1}], "defaultBackend": {"name": "a"}, "service": service}});
    let classed = |class: &str| object(json!({"type": "LoadBalancer", "loadBalancerClass": class}));
    let bare = object(json!({"type": "LoadBalancer"}));
    let inner = object(json!({"type": "ClusterIP"}));
    for (old, new, allowed) in [
        (classed("x"), classed("x"), true),
        (classed("x"), classed("y"), false),
        (classed("x"), bare.clone(), false),
        (bare.clone(), classed("x"), false),
        (bare.clone(), bare.clone(), true),
        (inner.clone(), classed("x"), true),
        (classed("x"), inner, true),
    ] {
        let outcome = Validator::new().validate_compiled(&lb.rules, &new, Some(&old));
        assert_eq!(outcome.is_ok(), allowed, "{old} -> {new}: {outcome:?}");
    }
}

/// The printed YAML is read back by the reader of our own files as the same schema.
#[test]
fn the_printed_yaml_is_the_schema() {
    fn json(node: &Node) -> Value {
        match &node.content {
            Content::Scalar(value) => value.clone(),
            Content::Sequence(items) => items.iter().map(json).collect(),
            Content::Mapping(entries) => entries
                .iter()
                .map(|e| (e.key.clone(), json(&e.value)))
                .collect(),
        }
    }
    for (crd, (_, text)) in api::crds().iter().zip(api::crds_yaml()) {
        assert_eq!(json(&yaml::parse(&text).unwrap()[0]), *crd);
    }
}

/// What a person's editor may put around the text.
#[test]
fn byte_order_marks_and_line_ends_of_windows_are_read() {
    let text = static_and("").replace('\n', "\r\n");
    admit(&text).unwrap();
    admit(&format!("\u{feff}{text}")).unwrap();
}

#[test]
fn a_thousand_endpoints_pass_and_one_more_than_allowed_does_not() {
    let endpoints = |count: usize| {
        let lines: Vec<String> = (0..count)
            .map(|at| format!("  - {{address: 10.0.{}.{}, port: 80}}", at / 256, at % 256))
            .collect();
        be(&format!("  static:\n{}\n", lines.join("\n")))
    };
    admit(&endpoints(1024)).unwrap();
    refused(
        &endpoints(1025),
        6,
        "spec.static",
        "found 1025 entries; allowed: a list of at most 1024",
    );
}
