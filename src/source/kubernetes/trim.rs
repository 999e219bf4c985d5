//! Objects of the API server, trimmed to what `plan::cluster` keeps of them. Called for each object of a
//! watch before anything is stored, and by the live look-up.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use crate::api;
use crate::api::pods::{ADMIN_STATE, MIN_SECONDS, ORIGINAL_GRACE_SECONDS};
use crate::api::protection::protection;
use crate::model::ObjectName;
use crate::plan::cluster::{
    Container, Family, Node, Pod, PodPort, PodRef, Readiness, Service, ServicePort, Slice,
    SliceEndpoint,
};
use crate::plan::tls::Secret;

/// What Kubernetes grants where a pod says nothing.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Namespace and name. Nodes have no namespace.
pub(super) fn name_of(metadata: &ObjectMeta) -> ObjectName {
    let word = |part: &Option<String>| part.clone().unwrap_or_default();
    ObjectName::new(&word(&metadata.namespace), &word(&metadata.name))
}

/// A LoadBalancer as its user wrote it. Its status is not read: it is ours to write, would wake us again, and
/// may be another version's, which must not spoil what the user wrote.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = api::LoadBalancer)]
pub(super) struct WrittenLoadBalancer {
    metadata: ObjectMeta,
    spec: api::LoadBalancerSpec,
}

/// As [`WrittenLoadBalancer`].
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = api::Backend)]
pub(super) struct WrittenBackend {
    metadata: ObjectMeta,
    spec: api::BackendSpec,
}

/// Without what others keep in metadata.
pub(super) fn load_balancer(object: WrittenLoadBalancer) -> api::LoadBalancer {
    api::LoadBalancer {
        metadata: metadata(object.metadata),
        spec: object.spec,
        status: None,
    }
}

/// As [`load_balancer`].
pub(super) fn backend(object: WrittenBackend) -> api::Backend {
    api::Backend {
        metadata: metadata(object.metadata),
        spec: object.spec,
        status: None,
    }
}

fn metadata(own: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        namespace: own.namespace,
        name: own.name,
        uid: own.uid,
        generation: own.generation,
        creation_timestamp: own.creation_timestamp,
        deletion_timestamp: own.deletion_timestamp,
        ..ObjectMeta::default()
    }
}

pub(super) fn service(object: core::Service) -> Service {
    let spec = object.spec.unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let ports = ports
        .into_iter()
        .filter(|port| is_tcp(port.protocol.as_deref()))
        .filter_map(|port| service_port(port.name, Some(port.port)));
    let families = spec.ip_families.unwrap_or_default();
    Service {
        ports: ports.collect(),
        families: families.iter().filter_map(|word| family(word)).collect(),
        external: spec.type_.as_deref() == Some("ExternalName"),
        selector: spec.selector.into_iter().flatten().collect(),
    }
}

fn family(word: &str) -> Option<Family> {
    match word {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

/// TCP is what is meant where nothing is said.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|word| word == "TCP")
}

fn service_port(name: Option<String>, port: Option<i32>) -> Option<ServicePort> {
    Some(ServicePort {
        name: name.unwrap_or_default().into(),
        port: port_number(port?)?,
    })
}

fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// A slice that names no Service is nobody's, and stays so: its Service's name is empty.
pub(super) fn slice(object: discovery::EndpointSlice) -> Slice {
    let labels = object.metadata.labels.unwrap_or_default();
    let namespace = object.metadata.namespace.unwrap_or_default();
    let ports = object.ports.unwrap_or_default();
    let ports = ports
        .into_iter()
        .filter(|port| is_tcp(port.protocol.as_deref()))
        .filter_map(|port| service_port(port.name, port.port));
    let endpoints = object.endpoints.unwrap_or_default().into_iter();
    Slice {
        service: labels.get(SERVICE_NAME).map_or("", String::as_str).into(),
        ports: ports.collect(),
        endpoints: endpoints
            .filter_map(|endpoint| slice_endpoint(endpoint, &namespace))
            .collect(),
    }
}

/// None for what has no IP address: slices of type FQDN are not followed.
fn slice_endpoint(endpoint: discovery::Endpoint, namespace: &str) -> Option<SliceEndpoint> {
    let conditions = endpoint.conditions.unwrap_or_default();
    let pod = endpoint
        .target_ref
        .filter(|target| target.kind.as_deref() == Some("Pod"))
        .map(|target| PodRef {
            name: ObjectName::new(
                target.namespace.as_deref().unwrap_or(namespace),
                target.name.as_deref().unwrap_or_default(),
            ),
            uid: target.uid.map(Into::into),
        });
    Some(SliceEndpoint {
        address: endpoint.addresses.first()?.parse().ok()?,
        ready: conditions.ready,
        serving: conditions.serving,
        terminating: conditions.terminating,
        pod,
    })
}

pub(super) fn pod(object: core::Pod) -> Pod {
    let gaps = protection(&object).gaps().into();
    let name = name_of(&object.metadata);
    let metadata = object.metadata;
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let grace = spec
        .termination_grace_period_seconds
        .map_or(DEFAULT_GRACE, seconds);
    let annotations = metadata.annotations.unwrap_or_default();
    let number = |key: &str| annotations.get(key).and_then(|s| s.parse().ok());
    let original = number(ORIGINAL_GRACE_SECONDS);
    let min = Duration::from_secs(number(MIN_SECONDS).unwrap_or_default());
    Pod {
        name,
        uid: metadata.uid.unwrap_or_default().into(),
        labels: metadata.labels.unwrap_or_default().into_iter().collect(),
        ready: is_true(&status, "Ready"),
        deletion: metadata.deletion_timestamp.map(|_| {
            metadata
                .deletion_grace_period_seconds
                .map_or(grace, seconds)
        }),
        grace,
        original_grace: original.map(Duration::from_secs),
        min,
        over: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        addresses: addresses(&status),
        ports: spec.containers.iter().flat_map(named_ports).collect(),
        admin_state: annotations
            .get(ADMIN_STATE)
            .map(|word| word.as_str().into()),
        containers: spec
            .containers
            .iter()
            .map(|container| container_of(container, &status))
            .collect(),
        node: spec.node_name.map(Into::into),
        gaps,
    }
}

/// Negative ones, which the API server lets nobody write, are none.
fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn is_true(status: &core::PodStatus, kind: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|own| own.type_ == kind && own.status == "True")
}

fn addresses(status: &core::PodStatus) -> Box<[IpAddr]> {
    let all = status.pod_ips.iter().flatten().map(|own| own.ip.as_str());
    // Older kubelets write only the one.
    let first = status
        .pod_ip
        .as_deref()
        .filter(|_| status.pod_ips.is_none());
    first
        .into_iter()
        .chain(all)
        .filter_map(|text| text.parse().ok())
        .collect()
}

fn named_ports(container: &core::Container) -> Vec<PodPort> {
    let ports = container.ports.iter().flatten();
    ports
        .filter(|port| is_tcp(port.protocol.as_deref()))
        .filter_map(|port| {
            Some(PodPort {
                name: port.name.as_deref()?.into(),
                port: port_number(port.container_port)?,
            })
        })
        .collect()
}

fn container_of(container: &core::Container, status: &core::PodStatus) -> Container {
    let mut statuses = status.container_statuses.iter().flatten();
    let own = statuses.find(|own| own.name == container.name);
    Container {
        name: container.name.as_str().into(),
        restarts: own.map_or(0, |own| u32::try_from(own.restart_count).unwrap_or(0)),
        ready: own.is_some_and(|own| own.ready),
    }
}

/// Its key is checked here, once; the Secret itself is not kept.
pub(super) fn secret(object: core::Secret) -> Secret {
    let name = object.metadata.name.unwrap_or_default();
    let data = object.data.unwrap_or_default();
    Secret::read(&name, |key| match data.get(key) {
        Some(content) => Ok(&content.0),
        None => Err("is missing".to_owned()),
    })
}

pub(super) fn node(object: &core::Node) -> Node {
    let conditions = object.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|own| own.type_ == "Ready");
    Node {
        ready: match ready.map(|own| own.status.as_str()) {
            Some("True") => Readiness::Ready,
            Some("False") => Readiness::NotReady,
            _ => Readiness::Unknown,
        },
        // The kubelet has no field for it: it adds this to the message of a Ready that is False.
        shutting_down: ready.is_some_and(|own| {
            let message = own.message.as_deref().unwrap_or_default();
            own.status == "False" && message.contains("node is shutting down")
        }),
    }
}
