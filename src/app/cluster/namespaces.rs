//! What the labels of a pod's namespace say of hooks: read live for each pod that is made, and where the API server does
//! not answer lastcall in time, as they were last read (Law 3). Asked by the webhook.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::Api;

use crate::admission::{LookupError, pod_security};
use crate::api::pods;

/// How long the API server is waited for where it is known what a namespace said last.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The same for a namespace that was never asked for: without an answer its pod would be let in unprotected. Less than
/// the webhook has in all (5 s, the chart's `webhook.timeoutSeconds`), so that there is time for an answer.
const PATIENCE_WITH_NEW_ONES: Duration = Duration::from_secs(4);
/// Namespaces that are remembered; etcd's own limits keep clusters below it.
const REMEMBERED: usize = 20_000;

/// What a namespace's labels say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The value of `lastcall.dev/drain`.
    pub(super) drain: Option<String>,
    /// Its pods' hooks may name no host.
    pub(super) forbids_host: bool,
}

/// The namespaces of the cluster.
pub(super) struct Namespaces {
    client: Client,
    last: Mutex<HashMap<String, Said>>,
}

impl Namespaces {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            last: Mutex::default(),
        }
    }

    /// What it says now; where that cannot be learnt, what it said last.
    ///
    /// # Errors
    ///
    /// The API server did not answer, and the namespace was never asked for before.
    pub(super) async fn said(&self, namespace: &str) -> Result<Said, LookupError> {
        let patience = match self.last_said(namespace) {
            Some(_) => PATIENCE,
            None => PATIENCE_WITH_NEW_ONES,
        };
        let why = match tokio::time::timeout(patience, self.live(namespace)).await {
            Ok(Ok(said)) => return Ok(said),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer in {} ms", patience.as_millis()),
        };
        // It may have been learnt meanwhile, for another pod.
        let known = self.last_said(namespace);
        if known.is_some() {
            tracing::warn!(namespace, %why, "labels of the namespace as they were last read");
        }
        known.ok_or_else(|| LookupError(format!("namespace {namespace}: {why}")))
    }

    fn last_said(&self, namespace: &str) -> Option<Said> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(namespace).cloned()
    }

    async fn live(&self, namespace: &str) -> kube::Result<Said> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let there = namespaces.get_metadata_opt(namespace).await?;
        let labels = there.and_then(|there| there.metadata.labels);
        let labels = labels.unwrap_or_default();
        let said = Said {
            drain: labels.get(pods::DRAIN).cloned(),
            forbids_host: pod_security::forbids_host(&labels),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() < REMEMBERED || last.contains_key(namespace) {
            last.insert(namespace.to_owned(), said.clone());
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// Answers with one namespace's labels, after `delay`, or with nothing while it is away.
    fn api_server(away: &Arc<AtomicBool>, delay: Duration) -> Namespaces {
        let away = Arc::clone(away);
        let service = tower::service_fn(move |_: Request<Body>| {
            let away = Arc::clone(&away);
            async move {
                if away.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(delay).await;
                let body = r#"{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"name":"shop",
                    "labels":{"lastcall.dev/drain":"disabled","pod-security.kubernetes.io/enforce":"baseline"}}}"#;
                Ok::<_, std::io::Error>(Response::new(Body::from(body.as_bytes().to_vec())))
            }
        });
        Namespaces::new(Client::new(service, "default"))
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_api_server_a_namespace_says_what_it_said_last() {
        let away = Arc::new(AtomicBool::new(false));
        let namespaces = api_server(&away, Duration::ZERO);
        let said = namespaces.said("shop").await.unwrap();
        assert_eq!(
            (said.drain.as_deref(), said.forbids_host),
            (Some("disabled"), true)
        );
        away.store(true, Ordering::SeqCst);
        assert_eq!(namespaces.said("shop").await.unwrap(), said);
        let LookupError(why) = namespaces.said("another").await.unwrap_err();
        assert_eq!(why, "namespace another: no answer in 4000 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_waited_for_where_no_other_is_known() {
        let namespaces = api_server(&Arc::default(), Duration::from_secs(3));
        let said = namespaces.said("shop").await.unwrap();
        assert_eq!(said.drain.as_deref(), Some("disabled"));
        // From here on what it said last is good enough.
        let from = tokio::time::Instant::now();
        assert_eq!(namespaces.said("shop").await.unwrap(), said);
        assert_eq!(from.elapsed(), PATIENCE);
    }
}
