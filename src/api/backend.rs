//! `Backend`: a pool of endpoints, and how they are chosen and leave.

// Kube's derive repeats the attributes of the fields in a type of its own.
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backend_limits::BackendLimits;
use super::balance::Balance;
use super::draining::ConnectionDrainingOverride;
use super::status::BackendStatus;
use super::tls::BackendTls;
use super::upstream::{Retry, UpstreamTimeouts};

/// The name of a port, which has at least one letter: so "80" in quotes is told, not looked up.
const PORT_NAME: &str = "^[-0-9]*[a-z][-a-z0-9]*$";

/// A pool of endpoints, and how they are chosen and leave.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lastcall.dev",
    version = "v1alpha1",
    kind = "Backend",
    plural = "backends",
    shortname = "be",
    category = "lastcall",
    namespaced,
    status = "BackendStatus",
    derive = "PartialEq",
    doc = "A Backend is a pool of endpoints: where they are, how they are chosen, and how they leave.",
    printcolumn(
        name = "In service",
        type_ = "integer",
        json_path = ".status.inService",
        description = "Endpoints that take new work"
    ),
    printcolumn(
        name = "Draining",
        type_ = "integer",
        json_path = ".status.draining",
        description = "Endpoints that are leaving, with something in flight"
    ),
    printcolumn(
        name = "Out of service",
        type_ = "integer",
        json_path = ".status.outOfService",
        description = "Endpoints that are drained, disabled or unhealthy"
    ),
    printcolumn(
        name = "Total",
        type_ = "integer",
        json_path = ".status.total",
        description = "All endpoints"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Unprotected",
        type_ = "integer",
        json_path = ".status.unprotected",
        description = "Endpoints whose pods have no hook",
        priority = "1"
    ),
    printcolumn(
        name = "Admin state",
        type_ = "string",
        json_path = ".spec.adminState",
        priority = "1"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.service), has(self.pods), has(self.static)].exists_one(x, x)")
        .message("exactly one of service, pods and static must say where the endpoints are"),
    validation = Rule::new(
        "!has(self.sendProxyProtocol) || !has(self.protocol) || !(self.protocol in ['H2C', 'GRPC'])")
        .message("sendProxyProtocol is for protocols HTTP and TCP: a connection of HTTP/2 carries requests of many clients")
        .field_path(".sendProxyProtocol"),
    validation = Rule::new("self.protocol != 'HTTPS' || has(self.tls)")
        .message("tls: protocol HTTPS needs the name that the endpoints' certificates are for")
        .field_path(".tls"),
    validation = Rule::new("!has(self.tls) || self.protocol in ['HTTPS', 'GRPC', 'TCP']")
        .message("tls goes only with protocol HTTPS, GRPC or TCP: HTTP and H2C are in clear text")
        .field_path(".tls"),
    validation = Rule::new("self.protocol != 'TCP' || !has(self.retry)")
        .message("retry is for HTTP: a TCP connection that cannot be made is always tried on another endpoint, one that was made never")
        .field_path(".retry"),
    validation = Rule::new(
        "self.protocol != 'TCP' || !has(self.timeouts) || !(has(self.timeouts.request) || has(self.timeouts.responseHead) || has(self.timeouts.backendIdle))")
        .message("request, responseHead and backendIdle are for HTTP: with protocol TCP only connect and tunnelIdle count")
        .field_path(".timeouts"),
    validation = Rule::new(
        "self.protocol != 'TCP' || !has(self.balance.hash) || has(self.balance.hash.source)")
        .message("header and cookie are for HTTP: of a TCP connection only the source is known, so write hash: {source: true}")
        .field_path(".balance.hash"),
)]
pub struct BackendSpec {
    /// The endpoints of a Service, by its EndpointSlices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSource>,
    /// Pods that a selector finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodSource>,
    /// Addresses that are written down.
    #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["address", "port"]))]
    pub fixed: Option<Vec<StaticEndpoint>>,
    /// What endpoints speak. HTTP is HTTP/1.1 in clear text. HTTPS is HTTP/2 or HTTP/1.1 in TLS, as each endpoint
    /// chooses in the handshake (ALPN). H2C is HTTP/2 in clear text. GRPC is HTTP/2, in TLS where tls is given. TCP
    /// is whatever comes, in TLS where tls is given: for listeners of protocol TCP and TLS.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// How TLS is spoken to endpoints: with protocol HTTPS always, with GRPC and TCP where this is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// Each connection to an endpoint begins with a header of the PROXY protocol, in this version, which tells
    /// of the client. A connection that is kept serves that client only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_proxy_protocol: Option<ProxyProtocol>,
    /// What is wanted of the whole Backend. An endpoint's own, where not Enabled, wins.
    #[serde(default)]
    pub admin_state: AdminState,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub balance: Balance,
    /// How much its endpoints take at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Box<BackendLimits>>,
    /// How its endpoints leave: each field overrides the LoadBalancer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_draining: Option<ConnectionDrainingOverride>,
    /// How long its endpoints may take. A route's wins, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<UpstreamTimeouts>,
    /// What is tried again. A route's wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// A Service and its port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSource {
    /// The Service's name, in the same namespace.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The Service's port, by number or by name.
    // The bounds hold for a number, length and pattern for a name, as JSON Schema has it.
    #[schemars(extend("minimum" = 1, "maximum" = 65535, "maxLength" = 63, "pattern" = PORT_NAME))]
    pub port: IntOrString,
}

/// Pods and their port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSource {
    /// Which pods, by their labels, in the same namespace.
    #[x_kube(validation = Rule::new(
        "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)")
        .message("selector must not be empty: it would take every pod of the namespace"))]
    pub selector: LabelSelector,
    /// The pods' port, by number or by the name a container gives it.
    #[schemars(extend("minimum" = 1, "maximum" = 65535, "maxLength" = 15, "pattern" = PORT_NAME))]
    pub port: IntOrString,
}

/// An address that is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaticEndpoint {
    /// Its IP address, version 4 or 6, in canonical form (not `2001:DB8:0::1` but `2001:db8::1`).
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = Rule::new("isIP(self) && ip.isCanonical(self)")
        .message("address must be an IP address in canonical form, such as 10.0.0.7 or 2001:db8::1; names are not looked up"))]
    pub address: String,
    /// Its port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Its share of the Backend's requests, against the sum of all weights. 0 takes none.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 65535))]
    pub weight: u32,
    /// What is wanted of it. Where Enabled, the Backend's own counts.
    #[serde(default)]
    pub admin_state: AdminState,
}

/// The weight where none is written.
fn one() -> u32 {
    1
}

/// HTTP is HTTP/1.1 in clear text. HTTPS is HTTP/2 or HTTP/1.1 in TLS, as each endpoint chooses in the handshake
/// (ALPN); with sendProxyProtocol, and for a WebSocket, HTTP/1.1. H2C is HTTP/2 in clear text. GRPC is HTTP/2, in
/// TLS where tls is given. TCP is whatever clients and endpoints speak, in TLS where tls is given: for listeners of
/// protocol TCP and TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum BackendProtocol {
    /// HTTP/1.1 in clear text.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/2 in clear text, by prior knowledge.
    #[serde(rename = "H2C")]
    H2c,
    /// gRPC: HTTP/2, in clear text by prior knowledge, or in TLS.
    #[serde(rename = "GRPC")]
    Grpc,
    /// HTTP/2 or HTTP/1.1 in TLS.
    #[serde(rename = "HTTPS")]
    Https,
    /// Bytes.
    #[serde(rename = "TCP")]
    Tcp,
}

/// V1 is a line of text, V2 is binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Enabled takes new work. Draining takes none, and what it has may finish. Disabled takes none, and
/// what it has is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AdminState {
    /// Takes new work.
    #[default]
    Enabled,
    /// Takes no new work; what it has may finish.
    Draining,
    /// Takes no new work; what it has is cut.
    Disabled,
}
