//! What is known besides the pods themselves: which Backends they serve, and what their namespaces say. Told where it
//! can be: whoever may not ask for it sees less, and is not kept from anything.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::ListParams;

use super::serving;
use crate::admin::Route;
use crate::admin::schema::Status;
use crate::api::pods::{DISABLED, DRAIN, ENABLED};
use crate::api::protection::drain_label;
use crate::cli::client::Client;
use crate::cli::cluster::Cluster;

/// What is known.
#[derive(Default)]
pub(super) struct Known {
    status: Option<Status>,
    /// The label `lastcall.dev/drain` of each namespace that may be read.
    namespaces: BTreeMap<String, Option<String>>,
}

impl Known {
    /// Asks lastcall and the API server; for one namespace, or for all.
    pub(super) async fn look(
        cluster: &Cluster,
        lastcall: &Client,
        namespace: Option<&str>,
    ) -> Self {
        let status = match lastcall.get::<Status>(Route::Status.path()).await {
            Ok(status) => Some(status).filter(serving::is_complete),
            Err(failure) => {
                eprintln!("lastcall: which Backends the pods serve is not known: {failure}");
                None
            }
        };
        let api: Api<Namespace> = cluster.api_of_all();
        let found = match namespace {
            Some(name) => api.get(name).await.map(|one| vec![one]),
            None => api.list(&ListParams::default()).await.map(|all| all.items),
        };
        let of_each = |one: Namespace| {
            let label = one.metadata.labels.and_then(|mut all| all.remove(DRAIN));
            Some((one.metadata.name?, label))
        };
        Self {
            status,
            namespaces: found
                .unwrap_or_default()
                .into_iter()
                .filter_map(of_each)
                .collect(),
        }
    }

    /// The Backends that the pod serves, where that is known.
    pub(super) fn backends(&self, pod: &Pod) -> Option<Vec<String>> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let status = self.status.as_ref()?;
        Some(serving::backends(status, uid).into_iter().collect())
    }

    /// Whether a pod like this one is to be held if it is made now. What is not known is taken for yes.
    pub(super) fn asks_for_the_hook(&self, pod: &Pod) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let of_namespace = match self.namespaces.get(namespace) {
            None => OfNamespace::Unknown,
            Some(None) => OfNamespace::Without,
            Some(Some(label)) => OfNamespace::Label(label),
        };
        let serves = self.backends(pod).map(|all| !all.is_empty());
        asks(drain_label(pod), of_namespace, serves)
    }
}

/// What a namespace says by the label `lastcall.dev/drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OfNamespace<'a> {
    /// It may not be read.
    Unknown,
    /// It has none.
    Without,
    Label(&'a str),
}

/// The webhooks leave a namespace out that is `disabled`. Else the label of the pod or of its namespace asks for the
/// hook, or a Backend.
fn asks(pod: Option<&str>, namespace: OfNamespace, serves: Option<bool>) -> bool {
    match namespace {
        OfNamespace::Label(DISABLED) => false,
        OfNamespace::Unknown | OfNamespace::Label(ENABLED) => true,
        OfNamespace::Without | OfNamespace::Label(_) => {
            pod == Some(ENABLED) || serves.unwrap_or(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_or_a_backend_asks_for_the_hook() {
        use OfNamespace::{Label, Unknown, Without};
        let yes = Some(ENABLED);
        for (pod, namespace, serves, asked) in [
            (None, Without, Some(true), true),
            (None, Without, Some(false), false),
            (yes, Without, Some(false), true),
            (None, Label(ENABLED), Some(false), true),
            (yes, Label(DISABLED), Some(true), false),
            (None, Without, None, true),
            (None, Unknown, Some(false), true),
        ] {
            assert_eq!(
                asks(pod, namespace, serves),
                asked,
                "{pod:?} {namespace:?} {serves:?}"
            );
        }
    }
}
