//! What `drain`, `enable` and `disable` write to an API server, and what they make of its refusals.

use super::*;
use crate::cli::cluster::test_server::{Asked, Seen, cluster, refusal};
use serde_json::Value;

const BACKEND: &str = "/apis/lastcall.dev/v1alpha1/namespaces/shop/backends/web";
const POD: &str = "/api/v1/namespaces/shop/pods/web-1";

/// A Backend with a static endpoint, and one that is a pod.
fn backend(admin_state: &str) -> Value {
    json!({
        "apiVersion": "lastcall.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "adminState": admin_state,
            "static": [{"address": "10.9.0.1", "port": 80}, {"address": "10.9.0.2", "port": 80}],
        },
        "status": {"total": 1, "endpoints": [
            {"address": "10.0.0.7:8080", "pod": "web-1", "state": "InService", "description": "N/A"},
        ]},
    })
}

fn pod(ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "uid-1"},
        "status": {"podIP": ip, "podIPs": [{"ip": ip}]},
    })
}

/// Everything is there and allowed.
fn willing(asked: &Asked) -> (u16, Value) {
    match asked.path.split('?').next().unwrap() {
        BACKEND => (200, backend("Enabled")),
        POD => (200, pod("10.0.0.7")),
        path => refusal(404, path),
    }
}

async fn set(
    target: &str,
    state: AdminState,
    answer: impl FnMut(&Asked) -> (u16, Value) + Send + 'static,
) -> (Result<AdminStateSet, Failure>, Seen) {
    let (cluster, seen) = cluster(answer);
    let lastcall = Client::new(cluster.way());
    let target = Target::parse(target, "shop").unwrap();
    let result = cluster.set_admin_state(&lastcall, &target, state).await;
    (result, seen)
}

#[tokio::test]
async fn a_backends_state_is_written_in_its_spec() {
    for (state, text) in [
        (AdminState::Draining, "Draining"),
        (AdminState::Disabled, "Disabled"),
        (AdminState::Enabled, "Enabled"),
    ] {
        let (result, seen) = set("be/web", state, willing).await;
        assert_eq!(result.unwrap().endpoints[0].endpoint, "10.0.0.7:8080");
        let line = format!("PATCH {BACKEND}");
        assert_eq!(seen.lines(), [line.as_str()]);
        assert_eq!(seen.bodies(&line), [json!({"spec": {"adminState": text}})]);
    }
}

#[tokio::test]
async fn a_static_endpoints_state_is_written_beside_its_address() {
    let (result, seen) = set("be/web/10.9.0.2:80", AdminState::Draining, willing).await;
    result.unwrap();
    let written = json!([
        {"op": "test", "path": "/spec/static/1/address", "value": "10.9.0.2"},
        {"op": "test", "path": "/spec/static/1/port", "value": 80},
        {"op": "add", "path": "/spec/static/1/adminState", "value": "Draining"},
    ]);
    assert_eq!(seen.bodies(&format!("PATCH {BACKEND}")), [written]);
}

#[tokio::test]
async fn a_pods_state_is_its_annotation_and_enabled_is_none() {
    for (state, value) in [
        (AdminState::Draining, json!("Draining")),
        (AdminState::Disabled, json!("Disabled")),
        (AdminState::Enabled, Value::Null),
    ] {
        let (result, seen) = set("be/web/10.0.0.7:8080", state, willing).await;
        result.unwrap();
        let written = json!({"metadata": {
            "uid": "uid-1",
            "annotations": {"lastcall.dev/admin-state": value},
        }});
        assert_eq!(seen.bodies(&format!("PATCH {POD}")), [written]);
    }
}

#[tokio::test]
async fn what_would_not_be_so_afterwards_is_refused_and_changes_nothing() {
    // Its Backend stays Draining; the address is another pod's by now.
    let whole = |asked: &Asked| match asked.path.split('?').next().unwrap() {
        BACKEND => (200, backend("Draining")),
        _ => willing(asked),
    };
    let moved = |asked: &Asked| match asked.path.split('?').next().unwrap() {
        POD => (200, pod("10.0.0.8")),
        _ => willing(asked),
    };
    let one = "be/web/10.0.0.7:8080";
    let (result, seen) = set(one, AdminState::Enabled, whole).await;
    assert_eq!(result.as_ref().unwrap_err().exit_code(), 1, "{result:?}");
    assert!(!seen.lines().concat().contains("PATCH"));
    let (result, seen) = set(one, AdminState::Draining, moved).await;
    assert_eq!(result.as_ref().unwrap_err().exit_code(), 2, "{result:?}");
    assert!(!seen.lines().concat().contains("PATCH"));
}

#[tokio::test]
async fn what_is_forbidden_names_verb_resource_and_namespace() {
    let no_patch = |asked: &Asked| match asked.method.as_str() {
        "PATCH" => refusal(403, "User \"ann\" cannot patch"),
        _ => willing(asked),
    };
    for (target, resource) in [
        ("be/web", "backends"),
        ("be/web/10.9.0.2:80", "backends"),
        ("be/web/10.0.0.7:8080", "pods"),
    ] {
        let (result, _) = set(target, AdminState::Draining, no_patch).await;
        let failure = result.unwrap_err();
        let text = failure.to_string();
        let expected = format!("not allowed to patch {resource} in namespace shop: User");
        assert!(text.starts_with(&expected), "{text}");
        assert_eq!(failure.exit_code(), 4);
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_an_unknown_target() {
    let none = |asked: &Asked| match asked.path.split('?').next().unwrap() {
        "/apis/lastcall.dev/v1alpha1/namespaces/shop/backends" => {
            let list = json!({
                "apiVersion": "lastcall.dev/v1alpha1", "kind": "BackendList", "metadata": {},
                "items": [backend("Enabled")],
            });
            (200, list)
        }
        _ => refusal(404, "not found"),
    };
    for target in ["be/wep", "be/wep/10.0.0.7:8080"] {
        let (result, _) = set(target, AdminState::Draining, none).await;
        let failure = result.unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(
            failure.to_string().contains("no Backend shop/wep"),
            "{failure}"
        );
        assert!(failure.to_string().contains("there are: web"), "{failure}");
    }
}

#[tokio::test]
async fn an_endpoint_that_the_status_does_not_list_is_asked_of_lastcall() {
    let (result, seen) = set("be/web/10.0.0.9:8080", AdminState::Draining, willing).await;
    // Nobody runs there; that lastcall was looked for is what counts.
    assert_eq!(result.unwrap_err().exit_code(), 1);
    assert_eq!(seen.lines().last().unwrap(), "GET /api/v1/pods");
}
