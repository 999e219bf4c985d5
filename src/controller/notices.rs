//! What happened to pods, for people: Events that name the pod, the number and the next step, and the pod's
//! own condition `lastcall.dev/drained`, by which `kubectl wait` works for one pod.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;

use super::FIELD_MANAGER;
use crate::model::ObjectName;

/// The condition's type.
pub const DRAINED: &str = "lastcall.dev/drained";

/// Something to be told of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which pod.
    pub pod: ObjectName,
    /// Its UID.
    pub uid: Arc<str>,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What happened and what to do next.
    pub note: String,
    /// Somebody should look at it.
    pub warning: bool,
    /// What it means for the pod's condition, where it means anything.
    pub drained: Option<bool>,
}

/// Writes what comes, in order, until nobody can send any more.
pub async fn publish(client: Client, mut notices: mpsc::UnboundedReceiver<Notice>) {
    let reporter = Reporter {
        controller: FIELD_MANAGER.to_owned(),
        instance: std::env::var("POD_NAME").ok(),
    };
    let recorder = Recorder::new(client.clone(), reporter);
    while let Some(notice) = notices.recv().await {
        // A pod that is gone meanwhile needs neither.
        if let Err(error) = tell(&recorder, &notice).await {
            tracing::debug!(pod = %notice.pod, reason = notice.reason, %error, "no Event");
        }
        if let Some(drained) = notice.drained
            && let Err(error) = set_condition(&client, &notice, drained).await
        {
            tracing::debug!(pod = %notice.pod, %error, "no condition");
        }
    }
}

async fn tell(recorder: &Recorder, notice: &Notice) -> Result<(), kube::Error> {
    let pod = ObjectReference {
        api_version: Some(Pod::api_version(&()).into_owned()),
        kind: Some(Pod::kind(&()).into_owned()),
        namespace: Some(notice.pod.namespace.to_string()),
        name: Some(notice.pod.name.to_string()),
        uid: Some(notice.uid.to_string()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: if notice.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: notice.reason.to_owned(),
        note: Some(notice.note.clone()),
        action: "Drain".to_owned(),
        secondary: None,
    };
    recorder.publish(&event, &pod).await
}

/// Conditions of a pod are a list by type: ours is the only one that is touched. The UID keeps it off
/// another pod of the same name.
async fn set_condition(client: &Client, notice: &Notice, drained: bool) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &notice.pod.namespace);
    let patch = json!({
        "metadata": {"uid": &*notice.uid},
        "status": {"conditions": [{
            "type": DRAINED,
            "status": if drained { "True" } else { "False" },
            "reason": notice.reason,
            "message": notice.note,
            "lastTransitionTime": Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
        }]},
    });
    pods.patch_status(
        &notice.pod.name,
        &PatchParams::default(),
        &Patch::Strategic(patch),
    )
    .await
    .map(drop)
}
