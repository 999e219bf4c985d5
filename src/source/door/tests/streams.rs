//! What is written of TCP, of TLS whose inside is passed on, or all of it, and of the PROXY protocol.

use super::*;

#[test]
#[rustfmt::skip] // one row a line
fn what_is_no_way_to_pass_connections_on_is_refused_with_its_field() {
    let to = |rest: &str| format!("  defaultBackend: {{name: db}}\n{rest}");
    let listener = |fields: &str, rest: &str| lb(&format!("  listeners: [{{name: a, port: 1, {fields}}}]\n{rest}"));
    let tls = "protocol: TLS, tls: {mode: Passthrough}";
    let (route, path) = ("  routes: [{backends: [{name: db}]}]\n", "  routes: [{matches: [{path: {value: /}}], backends: [{name: db}]}]\n");
    for (text, line, field, words) in [
        (listener("protocol: TCP", route), 4, "spec.defaultBackend", "name one"),
        (listener("protocol: TCP", &to(route)), 7, "spec.routes", "routes are for HTTP and TLS"),
        (listener("protocol: TCP, hostname: a.b", &to("")), 5, "spec.listeners[0].hostname", "names no host"),
        (listener("protocol: TCP, tls: {mode: Passthrough}", &to("")), 5, "spec.listeners[0].tls", "tls goes only with"),
        (listener("tls: {mode: Passthrough}", &to("")), 5, "spec.listeners[0].tls", "tls goes only with"),
        (listener("protocol: TLS", &to("")), 5, "spec.listeners[0].tls", "needs certificateRefs"),
        (listener("protocol: TLS, tls: {}", &to("")), 5, "spec.listeners[0].tls.certificateRefs", "at least one certificate"),
        (listener("protocol: UDP", &to("")), 5, "spec.listeners[0].protocol", "HTTP, HTTPS, TCP, TLS"),
        (listener(tls, path), 6, "spec.routes", "chosen by hostnames"),
        (listener("proxyProtocol: V2", &to("")), 5, "spec.listeners[0].proxyProtocol", "true or false"),
        (static_and("  sendProxyProtocol: V3\n"), 6, "spec.sendProxyProtocol", "allowed: V1, V2"),
        (static_and("  protocol: TCP\n  retry: {attempts: 1}\n"), 7, "spec.retry", "retry is for HTTP"),
        (static_and("  protocol: TCP\n  timeouts: {responseHead: 1s}\n"), 7, "spec.timeouts", "only connect and tunnelIdle"),
        (static_and("  protocol: TCP\n  timeouts: {request: 0s}\n"), 7, "spec.timeouts", "only connect and tunnelIdle"),
    ] {
        refused(&text, line, field, words);
    }
    for text in [
        listener("protocol: TCP, proxyProtocol: true", &to("")),
        listener(tls, route),
        listener(tls, &to("")),
        listener("protocol: TLS, tls: {mode: Passthrough}, hostname: '*.a.b'", route),
        listener("protocol: TLS, tls: {certificateRefs: [{name: a}], clientCARef: {name: b}, minVersion: TLS1.3}", route),
        lb(&format!("  listeners: [{{name: a, port: 1}}, {{name: b, port: 2, {tls}}}]\n{path}")),
        static_and("  protocol: TCP\n  sendProxyProtocol: V2\n  timeouts: {connect: 1s, tunnelIdle: 0s}\n"),
    ] {
        if let Err(violations) = admit(&text) {
            panic!("{violations:#?}\n{text}");
        }
    }
}

#[test]
fn what_the_pages_about_it_show_passes() {
    let mut objects = 0;
    let pages = [
        include_str!("../../../../docs/tcp.md"),
        include_str!("../../../../docs/tls.md"),
    ];
    let blocks = pages
        .iter()
        .flat_map(|page| page.split("```yaml\n").skip(1));
    for block in blocks.filter_map(|rest| rest.split("```").next()) {
        let objects_of_it = block.split("---\n");
        // Endpoints of a Service are for a cluster, and refused at this door.
        for object in objects_of_it.filter(|object| !object.contains("service:")) {
            if let Err(violations) = admit(object) {
                panic!("{violations:#?}\n{object}");
            }
            objects += 1;
        }
    }
    assert_eq!(objects, 5);
    for object in include_str!("../../../../docs/examples/tls.yaml").split("---\n") {
        if let Err(violations) = admit(object) {
            panic!("{violations:#?}\n{object}");
        }
    }
}
