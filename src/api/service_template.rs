//! The Service that leads clients to a `LoadBalancer`, as its `spec.service` asks for it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service that leads clients to this LoadBalancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'")
        .message("loadBalancerClass goes only with type LoadBalancer").field_path(".loadBalancerClass"),
    validation = Rule::new("!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'")
        .message("externalTrafficPolicy goes only with type LoadBalancer or NodePort")
        .field_path(".externalTrafficPolicy"),
    validation = Rule::new(
        "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || (has(self.loadBalancerClass) == has(oldSelf.loadBalancerClass) && (!has(self.loadBalancerClass) || self.loadBalancerClass == oldSelf.loadBalancerClass))")
        .message("loadBalancerClass cannot be changed while type is LoadBalancer")
        .field_path(".loadBalancerClass"),
)]
pub struct ServiceTemplate {
    /// How the Service is reached.
    #[serde(rename = "type", default)]
    pub kind: ServiceType,
    /// Annotations of the Service. Each must be on the installation's list of allowed ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 32))]
    pub annotations: BTreeMap<String, String>,
    /// The Service's loadBalancerClass. Cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Local keeps the client's address and sends only to Nodes with a replica; Cluster, which is
    /// Kubernetes' default, sends to all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
}

/// The Service's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ServiceType {
    /// At an address of its own, outside the cluster.
    #[default]
    LoadBalancer,
    /// At a port of every Node.
    NodePort,
    /// Only within the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
}

/// The Service's externalTrafficPolicy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ExternalTrafficPolicy {
    /// To all Nodes.
    Cluster,
    /// Only to Nodes with a replica; the client's address is kept.
    Local,
}
