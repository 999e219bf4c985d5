//! Against an API server of four paths: it knows versions and conflicts, and counts writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::*;

#[derive(Default)]
struct Objects {
    by_path: HashMap<String, Value>,
    version: u64,
    writes: Vec<String>,
    /// What somebody else writes just before our next write.
    meanwhile: Option<Value>,
}

type Shared = Arc<Mutex<Objects>>;

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16()});
    (code, Json(body)).into_response()
}

impl Objects {
    fn put(&mut self, path: &str, mut object: Value) -> Response {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.by_path.insert(path.to_owned(), object.clone());
        Json(object).into_response()
    }

    fn before_a_write(&mut self, path: &str, what: &str) {
        self.writes.push(what.to_owned());
        if let Some(object) = self.meanwhile.take() {
            self.put(path, object);
        }
    }
}

async fn read_one(State(objects): State<Shared>, Path(name): Path<String>) -> Response {
    match objects.lock().unwrap().by_path.get(&name) {
        Some(object) => Json(object.clone()).into_response(),
        None => status(StatusCode::NOT_FOUND, "NotFound"),
    }
}

async fn create(State(objects): State<Shared>, Json(object): Json<Value>) -> Response {
    let mut objects = objects.lock().unwrap();
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    objects.before_a_write(&name, "create");
    if objects.by_path.contains_key(&name) {
        return status(StatusCode::CONFLICT, "AlreadyExists");
    }
    objects.put(&name, object)
}

async fn replace(
    State(objects): State<Shared>,
    Path(name): Path<String>,
    Json(object): Json<Value>,
) -> Response {
    let mut objects = objects.lock().unwrap();
    objects.before_a_write(&name, "replace");
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    match objects.by_path.get(&name) {
        Some(there) if version(there) == version(&object) => objects.put(&name, object),
        _ => status(StatusCode::CONFLICT, "Conflict"),
    }
}

async fn patch(
    State(objects): State<Shared>,
    Path(name): Path<String>,
    Json(patch): Json<json_patch::Patch>,
) -> Response {
    let mut objects = objects.lock().unwrap();
    objects.before_a_write(&name, "patch");
    let mut object = objects.by_path[&name].clone();
    match json_patch::patch(&mut object, &patch) {
        Ok(()) => objects.put(&name, object),
        Err(_) => status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
    }
}

async fn server() -> (Shared, Client) {
    let objects = Shared::default();
    let configurations = "/apis/admissionregistration.k8s.io/v1";
    let router = Router::new()
        .route("/api/v1/namespaces/lastcall/secrets", post(create))
        .route(
            "/api/v1/namespaces/lastcall/secrets/{name}",
            get(read_one).put(replace),
        )
        .route(
            &format!("{configurations}/mutatingwebhookconfigurations/{{name}}"),
            get(read_one).patch(patch),
        )
        .route(
            &format!("{configurations}/validatingwebhookconfigurations/{{name}}"),
            get(read_one).patch(patch),
        )
        .with_state(Arc::clone(&objects));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let uri = format!("http://{address}").parse().unwrap();
    let client = Client::try_from(kube::Config::new(uri)).unwrap();
    (objects, client)
}

fn store(client: &Client) -> CertificateStore {
    CertificateStore {
        client: client.clone(),
        namespace: "lastcall".to_owned(),
        secret: "lastcall-certificates".to_owned(),
        names: vec!["hook.lastcall.svc".to_owned(), "10.96.0.7".to_owned()],
        mutating: vec!["lastcall-pods".to_owned(), "not-there".to_owned()],
        validating: vec!["lastcall-objects".to_owned()],
    }
}

fn at(days: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_hours((20_000 + days) * 24)
}

fn writes(objects: &Shared) -> Vec<String> {
    std::mem::take(&mut objects.lock().unwrap().writes)
}

#[tokio::test]
async fn replicas_that_start_at_once_show_one_certificate() {
    let (objects, client) = server().await;
    let store = store(&client);
    let all = futures_util::future::join_all((0..8).map(|_| store.certificates(at(0)))).await;
    let all: Vec<Certificates> = all.into_iter().map(Result::unwrap).collect();
    assert!(all.iter().all(|one| *one == all[0]));
    assert!(writes(&objects).iter().all(|write| write == "create"));
}

#[tokio::test]
async fn certificates_are_made_once_renewed_in_time_and_otherwise_only_read() {
    let (objects, client) = server().await;
    let store = store(&client);
    let first = store.certificates(at(0)).await.unwrap();
    assert_eq!(writes(&objects), ["create"]);
    for day in [0, 10, 50] {
        assert_eq!(store.certificates(at(day)).await.unwrap(), first);
    }
    assert_eq!(writes(&objects), [""; 0]);
    let second = store.certificates(at(70)).await.unwrap();
    assert_eq!(second.ca_pem, first.ca_pem);
    assert_ne!(second.leaf_pem, first.leaf_pem);
    assert_eq!(writes(&objects), ["replace"]);
    assert_eq!(store.certificates(at(71)).await.unwrap(), second);
    let secret = objects.lock().unwrap().by_path["lastcall-certificates"].clone();
    assert_eq!(secret["type"], "Opaque");
}

#[tokio::test]
async fn a_renewal_that_another_replica_was_first_with_is_read() {
    let (objects, client) = server().await;
    let store = store(&client);
    store.certificates(at(0)).await.unwrap();
    let before = objects.lock().unwrap().by_path["lastcall-certificates"].clone();
    let theirs = store.certificates(at(70)).await.unwrap();
    let after = objects.lock().unwrap().by_path["lastcall-certificates"].clone();
    {
        let mut objects = objects.lock().unwrap();
        objects.put("lastcall-certificates", before);
        objects.meanwhile = Some(after);
        objects.writes.clear();
    }
    assert_eq!(store.certificates(at(70)).await.unwrap(), theirs);
    assert_eq!(writes(&objects), ["replace"]);
}

#[tokio::test]
async fn an_empty_secret_is_filled_and_keeps_its_labels() {
    let (objects, client) = server().await;
    let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "lastcall-certificates", "labels": {"a": "b"}}, "type": "Opaque"});
    objects.lock().unwrap().put("lastcall-certificates", empty);
    let made = store(&client).certificates(at(0)).await.unwrap();
    assert_eq!(writes(&objects), ["replace"]);
    let kept = objects.lock().unwrap().by_path["lastcall-certificates"].clone();
    assert_eq!(kept["metadata"]["labels"]["a"], "b");
    assert_eq!(store(&client).certificates(at(1)).await.unwrap(), made);
}

#[tokio::test]
async fn the_ca_is_written_where_it_differs_and_nowhere_else() {
    let (objects, client) = server().await;
    let webhook = |name: &str, bundle: &str| {
        json!({"name": name, "clientConfig": {"service": {"name": "a", "namespace": "b"}, "caBundle": bundle},
            "admissionReviewVersions": ["v1"], "sideEffects": "None"})
    };
    {
        let mut objects = objects.lock().unwrap();
        let (kind, version) = (
            "MutatingWebhookConfiguration",
            "admissionregistration.k8s.io/v1",
        );
        let mutating = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "lastcall-pods"},
            "webhooks": [webhook("a.lastcall.dev", ""), webhook("b.lastcall.dev", "Q0E=")]});
        objects.put("lastcall-pods", mutating);
        let validating = json!({"apiVersion": version, "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "lastcall-objects"}, "webhooks": [webhook("c.lastcall.dev", "Q0E=")]});
        objects.put("lastcall-objects", validating);
    }
    let store = store(&client);
    store.tell("CA").await.unwrap();
    assert_eq!(writes(&objects), ["patch"]);
    let bundles = |name: &str| -> Vec<Value> {
        let object = objects.lock().unwrap().by_path[name].clone();
        let webhooks = object["webhooks"].as_array().unwrap().clone();
        webhooks
            .iter()
            .map(|w| w["clientConfig"]["caBundle"].clone())
            .collect()
    };
    assert_eq!(bundles("lastcall-pods"), ["Q0E=", "Q0E="]);
    store.tell("CA").await.unwrap();
    assert_eq!(writes(&objects), [""; 0]);
    store.tell("CB").await.unwrap();
    assert_eq!(writes(&objects), ["patch", "patch"]);
    assert_eq!(bundles("lastcall-objects"), ["Q0I="]);
}

#[tokio::test]
async fn an_api_server_that_is_away_is_an_error_that_says_what_was_asked() {
    let uri = "http://127.0.0.1:1".parse().unwrap();
    let client = Client::try_from(kube::Config::new(uri)).unwrap();
    let error = store(&client).certificates(at(0)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the Secret lastcall-certificates"),
        "{error}"
    );
}
