//! Answers the API server's `AdmissionReview`s (`admission.k8s.io/v1`). Called by [`super::routes`].
//!
//! The mutating side never stands in the way of a pod: whatever goes wrong here, the pod is admitted as it
//! is, with a warning, and counted (PITFALLS 27; status reports the pod as unprotected). The validating
//! side refuses what it finds wrong, and says which field.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::watch;

use super::grace::annotation_faults;
use super::settings::{InjectRequest, PodFacts, Settings};
use super::validate::{AllowedAnnotations, faults};
use super::{inject, patch};
use crate::api::protection::{NotProtected, Protection, protection};

/// Kubernetes shows warnings up to this many bytes.
const WARNING_BYTES: usize = 250;
/// The longest that a pod waits for what the cluster says of it; the API server itself waits 10 s, or what
/// the webhook's configuration says.
const LOOKUP_TAKES: Duration = Duration::from_secs(2);

/// What the webhooks must know of the cluster.
pub trait Cluster: Send + Sync {
    /// What it says of a pod with these labels that is about to be made.
    fn pod_facts<'a>(
        &'a self,
        namespace: &'a str,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<PodFacts, LookupError>>;
}

/// The cluster could not be asked. The pod is admitted as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(pub String);

/// Both webhooks.
pub struct Reviewer {
    /// The installation's settings; a certificate that is renewed changes them.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Annotations that a LoadBalancer may put on its Service.
    pub allowed_annotations: AllowedAnnotations,
    /// What the cluster says.
    pub cluster: Arc<dyn Cluster>,
    /// Random ids for pods in `HTTPGet` mode: DNS labels of at most 63 characters.
    pub new_id: Box<dyn Fn() -> String + Send + Sync>,
    /// What came of the reviews.
    pub counts: Arc<ReviewCounts>,
}

/// How many reviews ended how, since the process began.
#[derive(Debug, Default)]
pub struct ReviewCounts {
    /// Pods that got the hook, in all or some of their containers.
    pub injected: AtomicU64,
    /// Pods that were to have no hook, or have it already.
    pub untouched: AtomicU64,
    /// Pods that were to have the hook and cannot.
    pub unprotected: AtomicU64,
    /// Pods that were admitted as they were because of an error of ours.
    pub failed: AtomicU64,
    /// LoadBalancers and Backends that passed.
    pub accepted: AtomicU64,
    /// LoadBalancers and Backends that were refused.
    pub refused: AtomicU64,
}

impl ReviewCounts {
    /// Each of them by its name, for the metrics.
    pub fn by_result(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("injected", &self.injected),
            ("untouched", &self.untouched),
            ("unprotected", &self.unprotected),
            ("failed", &self.failed),
            ("accepted", &self.accepted),
            ("refused", &self.refused),
        ];
        all.map(|(result, count)| (result, count.load(Ordering::Relaxed)))
            .into()
    }
}

/// The body is no `AdmissionReview`, so there is nothing that could be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It cannot be read.
    #[error("not an AdmissionReview of admission.k8s.io/v1: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It is an answer, not a question.
    #[error("an AdmissionReview without a request")]
    NoRequest,
}

/// A question, its objects as they were sent: kube's type for any object forgets fields of metadata that
/// it does not know.
struct Question {
    request: AdmissionRequest<DynamicObject>,
    object: Option<Value>,
    old: Option<Value>,
}

/// What is done with a pod.
#[derive(Debug)]
enum Verdict {
    Untouched,
    Injected(Patch, Vec<NotProtected>),
    NotProtected(Vec<NotProtected>),
}

impl Reviewer {
    /// Answers about a pod that is being made.
    pub async fn mutate(&self, body: &[u8]) -> Result<AdmissionReview<DynamicObject>, ReviewError> {
        let question = Question::read(body)?;
        let request = &question.request;
        let response = AdmissionResponse::from(request);
        let response = match self.pod(&question).await {
            Ok(Some((pod, verdict))) => self.answer(response, &pod, verdict),
            Ok(None) => {
                count(&self.counts.untouched);
                response
            }
            Err(error) => {
                count(&self.counts.failed);
                tracing::error!(
                    pod = name(request),
                    namespace = request.namespace,
                    error,
                    "pod admitted without the hook"
                );
                let text = format!("this pod will not be held when it stops: {error}");
                warn(response, [text])
            }
        };
        Ok(response.into_review())
    }

    /// Answers about a LoadBalancer or a Backend that is being made or changed.
    pub fn validate(&self, body: &[u8]) -> Result<AdmissionReview<DynamicObject>, ReviewError> {
        let question = Question::read(body)?;
        let response = AdmissionResponse::from(&question.request);
        let found = match self.faults(&question) {
            Ok(found) => found,
            Err(error) => vec![format!("lastcall could not check it: {error}")],
        };
        if found.is_empty() {
            count(&self.counts.accepted);
            return Ok(response.into_review());
        }
        count(&self.counts.refused);
        Ok(response.deny(found.join("; ")).into_review())
    }

    fn faults(&self, question: &Question) -> Result<Vec<String>, String> {
        let request = &question.request;
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        let Some(object) = question
            .object
            .as_ref()
            .filter(|_| writes && is_whole(request))
        else {
            return Ok(Vec::new());
        };
        // What is on its way out can no longer be mended, and must be able to lose its finalizers.
        if request
            .object
            .as_ref()
            .is_some_and(|o| o.metadata.deletion_timestamp.is_some())
        {
            return Ok(Vec::new());
        }
        let (kind, old) = (&request.kind.kind, question.old.as_ref());
        let faults = caught(|| faults(kind, object, old, &self.allowed_annotations))?;
        Ok(faults.iter().map(ToString::to_string).collect())
    }

    /// What is to be done with the pod that the request is about; `None` where it is about none.
    async fn pod(&self, question: &Question) -> Result<Option<(Pod, Verdict)>, String> {
        let request = &question.request;
        let made = request.kind.kind == "Pod" && request.operation == Operation::Create;
        let Some(sent) = question
            .object
            .as_ref()
            .filter(|_| made && is_whole(request))
        else {
            return Ok(None);
        };
        let pod = Pod::deserialize(sent).map_err(|error| error.to_string())?;
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let none = BTreeMap::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
        let facts = self.ask(namespace, labels).await?;
        let settings = Arc::clone(&self.settings.borrow());
        let verdict = caught(|| {
            let request = InjectRequest {
                namespace,
                settings: &settings,
                facts: &facts,
                hook_id: &(self.new_id)(),
            };
            decide(sent, &pod, &request)
        })??;
        Ok(Some((pod, verdict)))
    }

    async fn ask(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<PodFacts, String> {
        let asked = AssertUnwindSafe(async { self.cluster.pod_facts(namespace, labels).await });
        match tokio::time::timeout(LOOKUP_TAKES, asked.catch_unwind()).await {
            Ok(Ok(answer)) => answer.map_err(|error| error.to_string()),
            Ok(Err(panic)) => Err(format!("internal error: {}", said(&*panic))),
            Err(_) => Err(format!(
                "the cluster did not say within {LOOKUP_TAKES:?} whether a Backend selects it"
            )),
        }
    }

    fn answer(
        &self,
        response: AdmissionResponse,
        pod: &Pod,
        verdict: Verdict,
    ) -> AdmissionResponse {
        let (response, why) = match verdict {
            Verdict::Untouched => {
                count(&self.counts.untouched);
                return response;
            }
            Verdict::NotProtected(why) => {
                count(&self.counts.unprotected);
                (response, why)
            }
            // It has the hook already, where it can.
            Verdict::Injected(patch, why) if patch.0.is_empty() => {
                count(&self.counts.untouched);
                (response, why)
            }
            Verdict::Injected(patch, why) => match response.clone().with_patch(patch) {
                Ok(patched) => {
                    count(&self.counts.injected);
                    (patched, why)
                }
                Err(error) => {
                    count(&self.counts.failed);
                    tracing::error!(%error, "pod admitted without the hook");
                    (response, Vec::new())
                }
            },
        };
        let why = why
            .iter()
            .map(|why| format!("not held when it stops: {why}"));
        warn(response, why.chain(annotation_faults(pod)))
    }
}

fn decide(sent: &Value, pod: &Pod, request: &InjectRequest) -> Result<Verdict, String> {
    let after = match inject(pod, request) {
        Ok(None) => return Ok(Verdict::Untouched),
        Ok(Some(after)) => after,
        Err(why) => return Ok(Verdict::NotProtected(why)),
    };
    let gaps = match protection(&after) {
        Protection::Protected => Vec::new(),
        Protection::PartlyProtected(gaps) | Protection::Unprotected(gaps) => gaps,
    };
    let patch = patch::between(sent, pod, &after).map_err(|error| error.to_string())?;
    Ok(Verdict::Injected(patch, gaps))
}

impl Question {
    fn read(body: &[u8]) -> Result<Self, ReviewError> {
        let review: Value = serde_json::from_slice(body)?;
        let sent = |path| {
            review
                .pointer(path)
                .filter(|object| !object.is_null())
                .cloned()
        };
        let (object, old) = (sent("/request/object"), sent("/request/oldObject"));
        let review: AdmissionReview<DynamicObject> = serde_json::from_value(review)?;
        let request = review.try_into().map_err(|_| ReviewError::NoRequest)?;
        Ok(Self {
            request,
            object,
            old,
        })
    }
}

/// Whether it is about the object itself and not a part of it, such as its status.
fn is_whole(request: &AdmissionRequest<DynamicObject>) -> bool {
    request
        .sub_resource
        .as_deref()
        .unwrap_or_default()
        .is_empty()
}

/// The object's name, or the beginning of the name that it will be given.
fn name(request: &AdmissionRequest<DynamicObject>) -> &str {
    let metadata = request.object.as_ref().map(|object| &object.metadata);
    let name = metadata.and_then(|m| m.name.as_deref().or(m.generate_name.as_deref()));
    name.unwrap_or(&request.name)
}

/// Runs a decision; a panic in it is an error like any other.
fn caught<T>(decide: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decide))
        .map_err(|panic| format!("internal error: {}", said(&*panic)))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Adds warnings, which the API server shows to whoever makes the object.
fn warn(
    mut response: AdmissionResponse,
    texts: impl IntoIterator<Item = String>,
) -> AdmissionResponse {
    let texts = texts
        .into_iter()
        .map(|text| shortened(format!("lastcall: {text}")));
    let texts: Vec<String> = texts.collect();
    response.warnings = Some(texts).filter(|texts| !texts.is_empty());
    response
}

fn shortened(mut text: String) -> String {
    if text.len() > WARNING_BYTES {
        text.truncate(text.floor_char_boundary(WARNING_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
