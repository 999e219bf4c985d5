//! A namespace of a test's own, and what is written into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Resource};
use kube::core::NamespaceResourceScope;
use kube::{Client, ResourceExt};
use lastcall::api::Backend;
use lastcall::model::{EndpointSpec, ObjectName};
use lastcall::plan::cluster::facts;
use lastcall::source::Observed;
use lastcall::source::kubernetes::Kubernetes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::server::{PATIENCE, Server};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A namespace that no other test uses.
pub struct Space {
    pub client: Client,
    pub namespace: String,
}

impl Space {
    pub async fn new(server: &Server) -> Self {
        let client = server.client().await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("space-{number}");
        let object = Namespace {
            metadata: kube::api::ObjectMeta {
                name: Some(namespace.clone()),
                ..Default::default()
            },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        Self { client, namespace }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    pub fn name(&self, name: &str) -> ObjectName {
        ObjectName::new(&self.namespace, name)
    }

    /// A Service of this name, and a Backend of its port http.
    pub async fn backend(&self, name: &str) {
        self.create::<Service>(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }))
        .await;
        self.create::<Backend>(json!({
            "apiVersion": "lastcall.dev/v1alpha1", "kind": "Backend", "metadata": {"name": name},
            "spec": {"service": {"name": name, "port": "http"}},
        }))
        .await;
    }

    /// A pod on a Node that is not there, which a kubelet, were there one, would call ready. Returns its UID.
    pub async fn pod(&self, name: &str, address: &str) -> String {
        let pod: Pod = self
            .create(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
                "spec": {
                    "nodeName": "nowhere",
                    "terminationGracePeriodSeconds": 40,
                    "containers": [{"name": "app", "image": "app", "ports": [{"name": "http", "containerPort": 8080}]}],
                },
            }))
            .await;
        self.pod_status(
            name,
            json!({
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": [{"type": "Ready", "status": "True"}],
            }),
        )
        .await;
        pod.uid().unwrap()
    }

    pub async fn pod_status(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        let pods: Api<Pod> = self.api();
        pods.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Deletes a pod with so many seconds of grace. With none it is gone; with some it stays, because no
    /// kubelet says that it has ended.
    pub async fn delete_pod(&self, name: &str, grace: u32) {
        let params = DeleteParams {
            grace_period_seconds: Some(grace),
            ..DeleteParams::default()
        };
        self.api::<Pod>().delete(name, &params).await.unwrap();
    }

    /// The slice of a Service, with these pods: name, UID, address.
    pub async fn slice(&self, service: &str, pods: &[(&str, &str, &str)]) {
        let endpoints: Vec<Value> = pods
            .iter()
            .map(|(name, uid, address)| {
                json!({
                    "addresses": [address],
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                    "targetRef": {"kind": "Pod", "namespace": self.namespace, "name": name, "uid": uid},
                })
            })
            .collect();
        let slice: EndpointSlice = serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        }))
        .unwrap();
        let params = PatchParams::apply("tests").force();
        let slices: Api<EndpointSlice> = self.api();
        slices
            .patch(service, &params, &Patch::Apply(&slice))
            .await
            .unwrap();
    }
}

/// Waits until what is published is as wanted.
pub async fn until(
    source: &Kubernetes,
    what: &str,
    wanted: impl Fn(&Observed) -> bool,
) -> Arc<Observed> {
    let mut observed = source.observed();
    let waiting = observed.wait_for(|now| now.as_deref().is_some_and(&wanted));
    if let Ok(found) = tokio::time::timeout(PATIENCE, waiting).await {
        return found.expect("the source lives").clone().unwrap();
    }
    panic!(
        "not in time: {what}; there is {:#?}",
        source.observed().borrow()
    );
}

/// The endpoints of a Backend, as the plan gets them.
pub fn endpoints(observed: &Observed, backend: &ObjectName) -> Vec<EndpointSpec> {
    let facts = facts(&observed.objects, &observed.cluster);
    facts.endpoints.get(backend).cloned().unwrap_or_default()
}
