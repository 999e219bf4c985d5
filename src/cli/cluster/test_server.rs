//! An API server for tests: says what a test tells it to, and remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::Cluster;

/// One request: method, path with query, body.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Asked {
    pub(in crate::cli) method: String,
    pub(in crate::cli) path: String,
    pub(in crate::cli) body: Value,
}

impl Asked {
    /// `PATCH /api/v1/…`, without the query.
    pub(in crate::cli) fn line(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}

/// What a test says to a request: a code and a body.
pub(in crate::cli) type Answer = dyn FnMut(&Asked) -> (u16, Value) + Send;

/// The server's memory.
#[derive(Clone, Default)]
pub(in crate::cli) struct Seen(Arc<Mutex<VecDeque<Asked>>>);

impl Seen {
    /// All of them, so far.
    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(Asked::line).collect()
    }

    /// The bodies of requests with that line.
    pub(in crate::cli) fn bodies(&self, line: &str) -> Vec<Value> {
        let all = self.0.lock().unwrap();
        all.iter()
            .filter(|asked| asked.line() == line)
            .map(|asked| asked.body.clone())
            .collect()
    }
}

/// A cluster whose API server answers so.
pub(in crate::cli) fn cluster(
    answer: impl FnMut(&Asked) -> (u16, Value) + Send + 'static,
) -> (Cluster, Seen) {
    let seen = Seen::default();
    let remembered = seen.clone();
    let answer: Arc<Mutex<Box<Answer>>> = Arc::new(Mutex::new(Box::new(answer)));
    let service = service_fn(move |request: Request<Body>| {
        let (remembered, answer) = (remembered.clone(), Arc::clone(&answer));
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let asked = Asked {
                method: parts.method.to_string(),
                path: parts.uri.to_string(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            remembered.0.lock().unwrap().push_back(asked.clone());
            let (code, body) = (answer.lock().unwrap())(&asked);
            let body = serde_json::to_vec(&body).unwrap();
            let response = Response::builder().status(code).body(Body::from(body));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    let cluster = Cluster {
        client: kube::Client::new(service, "shop"),
        namespace: "shop".to_owned(),
        name: "context test".to_owned(),
        lastcall_namespace: None,
    };
    (cluster, seen)
}

/// A refusal as an API server writes it.
pub(in crate::cli) fn refusal(code: u16, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "code": code, "message": message, "reason": "",
    });
    (code, status)
}
