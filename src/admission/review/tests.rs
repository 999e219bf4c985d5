//! Questions as an API server sends them, and the answers.

use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::admission::settings::{HookMode, HookService};

/// What the cluster does when it is asked.
enum Says {
    Facts(PodFacts),
    Error,
    Panic,
    Nothing,
}

struct Fake {
    says: Says,
    asked: Mutex<Vec<(String, BTreeMap<String, String>)>>,
}

impl Cluster for Fake {
    fn pod_facts<'a>(
        &'a self,
        namespace: &'a str,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<PodFacts, LookupError>> {
        self.asked
            .lock()
            .unwrap()
            .push((namespace.to_owned(), labels.clone()));
        Box::pin(async {
            match &self.says {
                Says::Facts(facts) => Ok(facts.clone()),
                Says::Error => Err(LookupError("the API server is away".to_owned())),
                Says::Panic => panic!("a bug"),
                Says::Nothing => std::future::pending().await,
            }
        })
    }
}

fn settings() -> Settings {
    Settings {
        mode: HookMode::HttpGet,
        observe_only: false,
        drain_timeout_seconds: 300,
        max_grace_seconds: 3600,
        service: HookService {
            name: "hook.lastcall.svc".to_owned(),
            address: [10, 96, 0, 7].into(),
            port: 443,
            ca_pem: String::new(),
        },
    }
}

fn reviewer(says: Says) -> (Reviewer, Arc<Fake>) {
    let fake = Arc::new(Fake {
        says,
        asked: Mutex::default(),
    });
    let reviewer = Reviewer {
        settings: watch::channel(Arc::new(settings())).1,
        allowed_annotations: AllowedAnnotations::default(),
        cluster: Arc::clone(&fake) as Arc<dyn Cluster>,
        new_id: Box::new(|| "id-1".to_owned()),
        counts: Arc::default(),
    };
    (reviewer, fake)
}

fn selected() -> Says {
    Says::Facts(PodFacts {
        backend_timeout_seconds: Some(60),
        namespace_label: None,
        forbids_host: false,
    })
}

fn question(kind: &str, operation: &str, object: &Value, old: &Value, rest: &Value) -> Vec<u8> {
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "0c9a8d74-9cb7-44dd-b98e-09fd62def2f4",
            "kind": {"group": "", "version": "v1", "kind": kind},
            "resource": {"group": "", "version": "v1", "resource": "things"},
            "namespace": "shop", "operation": operation,
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": object, "oldObject": old, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        }
    });
    for (key, value) in rest.as_object().into_iter().flatten() {
        review["request"][key] = value.clone();
    }
    serde_json::to_vec(&review).unwrap()
}

/// A pod as a `ReplicaSet` makes it: named by the API server later.
fn pod(containers: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "web-5d9c-", "labels": {"app": "web"}, "newField": 1},
        "spec": {"containers": containers, "newField": {"a": []}}})
}

fn new_pod(containers: &Value) -> Vec<u8> {
    question(
        "Pod",
        "CREATE",
        &pod(containers),
        &Value::Null,
        &Value::Null,
    )
}

fn answer(review: AdmissionReview<DynamicObject>) -> AdmissionResponse {
    assert_eq!(review.types.api_version, "admission.k8s.io/v1");
    let response = review.response.unwrap();
    assert_eq!(response.uid, "0c9a8d74-9cb7-44dd-b98e-09fd62def2f4");
    response
}

fn counts(reviewer: &Reviewer) -> [u64; 6] {
    let c = &reviewer.counts;
    [
        &c.injected,
        &c.untouched,
        &c.unprotected,
        &c.failed,
        &c.accepted,
        &c.refused,
    ]
    .map(|counter| counter.load(Ordering::Relaxed))
}

fn patched(object: &Value, response: &AdmissionResponse) -> Value {
    let patch: Patch = serde_json::from_slice(response.patch.as_ref().unwrap()).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}

#[tokio::test]
async fn a_pod_without_a_name_gets_the_hook_and_keeps_what_we_do_not_know() {
    let (reviewer, fake) = reviewer(selected());
    let containers = json!([{"name": "web"}]);
    let response = answer(reviewer.mutate(&new_pod(&containers)).await.unwrap());
    assert!(response.allowed && response.warnings.is_none());
    let after = patched(&pod(&containers), &response);
    assert_eq!(after["metadata"]["newField"], 1);
    assert_eq!(after["spec"]["newField"], json!({"a": []}));
    let path = &after["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]["path"];
    assert_eq!(path, "/v1/prestop/shop/id-1/web");
    assert_eq!(counts(&reviewer), [1, 0, 0, 0, 0, 0]);
    let asked = fake.asked.lock().unwrap();
    assert_eq!(
        *asked,
        [(
            "shop".to_owned(),
            [("app".to_owned(), "web".to_owned())].into()
        )]
    );
}

#[tokio::test]
async fn a_container_that_cannot_be_held_is_told_to_who_makes_the_pod() {
    let (reviewer, _) = reviewer(selected());
    let own = json!({"preStop": {"exec": {"command": ["/quit"]}}});
    let containers = json!([{"name": "web"}, {"name": "own", "lifecycle": own}]);
    let response = answer(reviewer.mutate(&new_pod(&containers)).await.unwrap());
    assert!(response.allowed && response.patch.is_some());
    let warning = &response.warnings.unwrap()[0];
    assert!(
        warning.starts_with("lastcall: not held when it stops: container own has a preStop hook")
    );
    let containers = json!([{"name": "own".repeat(100), "lifecycle": own}]);
    let response = answer(reviewer.mutate(&new_pod(&containers)).await.unwrap());
    assert!(response.allowed && response.patch.is_none());
    let warning = &response.warnings.unwrap()[0];
    assert!(
        warning.len() <= WARNING_BYTES && warning.ends_with('…'),
        "{warning}"
    );
    assert_eq!(counts(&reviewer), [1, 0, 1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_the_pod_is_admitted_as_it_is_and_it_is_told() {
    for (says, told) in [
        (Says::Error, "the API server is away"),
        (Says::Panic, "internal error: a bug"),
        (Says::Nothing, "did not say within 2s"),
    ] {
        let (reviewer, _) = reviewer(says);
        let response = answer(
            reviewer
                .mutate(&new_pod(&json!([{"name": "web"}])))
                .await
                .unwrap(),
        );
        assert!(response.allowed && response.patch.is_none());
        let warning = &response.warnings.unwrap()[0];
        assert!(warning.contains(told), "{warning}");
        assert_eq!(counts(&reviewer), [0, 0, 0, 1, 0, 0]);
    }
    let (mut reviewer, _) = reviewer(selected());
    reviewer.new_id = Box::new(|| panic!("no randomness"));
    for body in [
        new_pod(&json!([{"name": "web"}])),
        new_pod(&json!("not a list")),
    ] {
        let response = answer(reviewer.mutate(&body).await.unwrap());
        assert!(response.allowed && response.patch.is_none() && response.warnings.is_some());
    }
    assert_eq!(counts(&reviewer), [0, 0, 0, 2, 0, 0]);
}

#[tokio::test]
async fn only_a_pod_that_is_being_made_is_touched() {
    let (reviewer, fake) = reviewer(selected());
    let pod = pod(&json!([{"name": "web"}]));
    for body in [
        question("Pod", "UPDATE", &pod, &pod, &Value::Null),
        question("Pod", "DELETE", &Value::Null, &pod, &Value::Null),
        question(
            "Pod",
            "CREATE",
            &pod,
            &Value::Null,
            &json!({"subResource": "status"}),
        ),
        question("Binding", "CREATE", &pod, &Value::Null, &Value::Null),
    ] {
        let response = answer(reviewer.mutate(&body).await.unwrap());
        assert!(response.allowed && response.patch.is_none() && response.warnings.is_none());
    }
    assert_eq!(counts(&reviewer), [0, 4, 0, 0, 0, 0]);
    assert!(fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_pod_that_has_the_hook_is_left_alone_and_bad_annotations_are_told() {
    let (reviewer, _) = reviewer(selected());
    let mut pod = pod(&json!([{"name": "web"}]));
    pod["metadata"]["annotations"] = json!({"lastcall.dev/max-grace-seconds": "soon"});
    let body = question("Pod", "CREATE", &pod, &Value::Null, &Value::Null);
    let response = answer(reviewer.mutate(&body).await.unwrap());
    let warning = &response.warnings.as_ref().unwrap()[0];
    assert!(
        warning.contains("lastcall.dev/max-grace-seconds: \"soon\""),
        "{warning}"
    );
    let body = question(
        "Pod",
        "CREATE",
        &patched(&pod, &response),
        &Value::Null,
        &Value::Null,
    );
    let response = answer(reviewer.mutate(&body).await.unwrap());
    assert!(response.allowed && response.patch.is_none());
    assert_eq!(counts(&reviewer), [1, 1, 0, 0, 0, 0]);
}

#[test]
fn a_load_balancer_with_a_fault_is_refused_and_the_field_is_named() {
    let (reviewer, _) = reviewer(selected());
    let with = |annotation: &str, metadata: &Value| {
        json!({"apiVersion": "lastcall.dev/v1alpha1", "kind": "LoadBalancer", "metadata": metadata,
            "spec": {"listeners": [{"name": "http", "port": 80}], "defaultBackend": {"name": "web"},
                "service": {"annotations": {"a.example.com/b": annotation}}}})
    };
    let (bad, worse) = (
        with("x", &json!({"name": "a"})),
        with("y", &json!({"name": "a"})),
    );
    let leaving = with(
        "z",
        &json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
    );
    for (operation, object, old, refused) in [
        ("CREATE", &bad, &Value::Null, true),
        ("UPDATE", &bad, &bad, false),
        ("UPDATE", &worse, &bad, true),
        ("UPDATE", &leaving, &bad, false),
        ("DELETE", &Value::Null, &bad, false),
    ] {
        let body = question("LoadBalancer", operation, object, old, &Value::Null);
        let response = answer(reviewer.validate(&body).unwrap());
        assert_eq!(response.allowed, !refused, "{operation} {object}");
        if refused {
            let expected = "spec.service.annotations[a.example.com/b]: not allowed by this installation, which allows: none";
            assert_eq!(response.result.message, expected);
        }
    }
    assert_eq!(counts(&reviewer), [0, 0, 0, 0, 3, 2]);
}

#[tokio::test]
async fn what_is_no_question_is_an_error() {
    let (reviewer, _) = reviewer(selected());
    for body in [
        "",
        "{}",
        "[]",
        r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#,
    ] {
        assert!(reviewer.mutate(body.as_bytes()).await.is_err(), "{body}");
        assert!(reviewer.validate(body.as_bytes()).is_err(), "{body}");
    }
}
