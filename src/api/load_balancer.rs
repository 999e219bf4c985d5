//! `LoadBalancer`: where clients connect, and which Backend gets which request.

// Kube's derive repeats the attributes of the fields in a type of its own.
#![allow(clippy::duplicated_attributes)]

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draining::ConnectionDraining;
use super::duration::GatewayDuration;
use super::filter::Filter;
use super::route_match::RouteMatch;
use super::service_template::ServiceTemplate;
use super::status::LoadBalancerStatus;
use super::tls::ListenerTls;
use super::upstream::{Retry, UpstreamTimeouts};

/// A host name, or one wildcard label before one (`*.example.com`), in lower case.
const HOSTNAME: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A name of Kubernetes' kind RFC 1123 label.
pub const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A name of Kubernetes' kind RFC 1123 subdomain.
pub const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Where clients connect, and which Backend gets which request.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lastcall.dev",
    version = "v1alpha1",
    kind = "LoadBalancer",
    plural = "loadbalancers",
    shortname = "lb",
    category = "lastcall",
    namespaced,
    status = "LoadBalancerStatus",
    derive = "PartialEq",
    doc = "A LoadBalancer says where clients connect, and which Backend gets which request.",
    printcolumn(
        name = "Ports",
        type_ = "string",
        json_path = ".spec.listeners[*].port",
        description = "Ports it listens on"
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".status.addresses[*].value",
        description = "Addresses it is reached at"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(
        name = "Draining",
        type_ = "boolean",
        json_path = ".spec.connectionDraining.enabled",
        priority = "1"
    ),
    printcolumn(
        name = "Timeout",
        type_ = "integer",
        json_path = ".spec.connectionDraining.timeoutSeconds",
        description = "Drain timeout, seconds",
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
    validation = Rule::new(
        "(has(self.routes) && size(self.routes) > 0) || has(self.defaultBackend)")
        .message("routes or defaultBackend is needed: without either no request goes anywhere")
        .field_path(".routes"),
    validation = Rule::new("!self.listeners.exists(l, l.protocol == 'TCP') || has(self.defaultBackend)")
        .message("a listener of protocol TCP sends its connections to defaultBackend: name one")
        .field_path(".defaultBackend"),
    validation = Rule::new(
        "!has(self.routes) || size(self.routes) == 0 || self.listeners.exists(l, l.protocol != 'TCP')")
        .message("routes are for HTTP and TLS: connections of protocol TCP all go to defaultBackend")
        .field_path(".routes"),
    validation = Rule::new(
        "!has(self.routes) || self.listeners.exists(l, !(l.protocol in ['TCP', 'TLS'])) || self.routes.all(r, (!has(r.matches) || size(r.matches) == 0) && (!has(r.filters) || size(r.filters) == 0))")
        .message("matches and filters are for HTTP, which no listener speaks: routes of TLS connections are chosen by hostnames")
        .field_path(".routes"),
)]
pub struct LoadBalancerSpec {
    /// Ports that clients connect to. They share all routes: those to Backends of protocol TCP are for
    /// listeners of protocol TLS, all others for HTTP.
    #[schemars(length(min = 1, max = 16), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.port == b.port))")
        .message("two listeners of a LoadBalancer must not have the same port"))]
    pub listeners: Vec<Listener>,
    /// Which requests go where. The most specific match wins: the longest host name, then an exact path,
    /// then a regular expression, then the longest prefix; then one with a method, with more headers, with
    /// more of the query; then the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "atomic"))]
    pub routes: Vec<Route>,
    /// Where requests go that no route matches; without it they are answered 404. Where it is of protocol TCP,
    /// it takes the connections of listeners of protocol TCP, and those of TLS that no route matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_backend: Option<BackendName>,
    /// Bounds on what clients may send; what is over gets its 4xx.
    #[serde(default)]
    pub limits: Limits,
    /// How long clients may take.
    #[serde(default)]
    pub timeouts: ClientTimeouts,
    /// Addresses that may connect, as CIDRs such as 10.0.0.0/8. All may where there are none. On a listener
    /// with proxyProtocol the address that the proxy tells counts, and for what it says of nobody its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_sources: Vec<Cidr>,
    /// Addresses, as CIDRs, of proxies whose X-Forwarded-* and Forwarded fields are believed. From all
    /// others these fields are replaced. Where there are any, only they may connect to a listener with
    /// proxyProtocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "set"))]
    pub trusted_proxies: Vec<Cidr>,
    /// How endpoints of its Backends leave.
    #[serde(default)]
    pub connection_draining: ConnectionDraining,
    /// The Service that leads clients here, in a cluster. Of type LoadBalancer where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTemplate>,
}

/// A range of addresses, such as `10.0.0.0/8` or `2001:db8::/32`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("minLength" = 1, "maxLength" = 43, "x-kubernetes-validations" = [
    Rule::new("isCIDR(self) && !self.matches('/0[0-9]')")
        .message("must be a CIDR such as 10.0.0.0/8 or 2001:db8::/32")]))]
pub struct Cidr(pub String);

/// A port that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.protocol != 'HTTPS' || has(self.tls)")
        .message("tls: protocol HTTPS needs a certificate").field_path(".tls"),
    validation = Rule::new("self.protocol != 'HTTPS' || !has(self.tls) || self.tls.mode == 'Terminate'")
        .message("protocol HTTPS ends TLS: leave tls.mode out, or write protocol: TLS").field_path(".tls"),
    validation = Rule::new("self.protocol != 'TLS' || has(self.tls)")
        .message("tls: protocol TLS needs certificateRefs, to end it here, or mode: Passthrough")
        .field_path(".tls"),
    validation = Rule::new("!has(self.tls) || self.protocol in ['HTTPS', 'TLS']")
        .message("tls goes only with protocol HTTPS or TLS").field_path(".tls"),
    validation = Rule::new("!has(self.hostname) || self.protocol != 'TCP'")
        .message("hostname does not go with protocol TCP: a connection names no host")
        .field_path(".hostname"),
)]
pub struct Listener {
    /// Its name, unique in the LoadBalancer.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,
    /// The port clients connect to.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What is spoken there. HTTP is HTTP/1.0, 1.1 and 2 in clear text, HTTPS the same in TLS. TCP passes each
    /// connection on to defaultBackend, TLS to where the host name in its first message (SNI) leads: what is inside,
    /// or with tls.mode Passthrough all of it, untouched.
    #[serde(default)]
    pub protocol: ListenerProtocol,
    /// Only requests for this host are served, a name or a wildcard such as *.example.com; all where
    /// absent. With protocol TLS it is the host name in the client's first message (SNI); who asks for
    /// another, or for none, is told so by a TLS alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = HOSTNAME))]
    pub hostname: Option<String>,
    /// What becomes of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, which says who
    /// the client is. A connection without it is closed, after timeouts.requestHead at the latest. Name the
    /// proxies in trustedProxies, or whoever reaches the port can pose as anybody.
    #[serde(default)]
    pub proxy_protocol: bool,
}

/// HTTP is HTTP/1.0, 1.1 and 2 in clear text. HTTPS is the same in TLS. TCP passes each connection on to
/// defaultBackend. TLS passes it on to where the host name in its first message (SNI) leads: what is inside,
/// or with tls.mode Passthrough all of it, untouched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ListenerProtocol {
    /// HTTP/1.0, 1.1 and, by prior knowledge, 2, in clear text.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// The same in TLS.
    #[serde(rename = "HTTPS")]
    Https,
    /// Bytes.
    #[serde(rename = "TCP")]
    Tcp,
    /// Bytes whose begin says which host they are for.
    #[serde(rename = "TLS")]
    Tls,
}

/// Which requests go where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.backends) && size(self.backends) > 0) || (has(self.filters) && self.filters.exists(f, has(f.redirect)))")
        .message("backends: a route needs at least one backend, or a redirect").field_path(".backends"),
    validation = Rule::new(
        "!has(self.backends) || size(self.backends) == 0 || self.backends.exists(b, b.weight > 0)")
        .message("backends: at least one must have a weight above 0").field_path(".backends"),
    validation = Rule::new(
        "!has(self.filters) || !self.filters.exists(f, has(f.redirect)) || !has(self.backends) || size(self.backends) == 0")
        .message("backends: a route with a redirect has none").field_path(".backends"),
    validation = Rule::new(
        "!has(self.filters) || !self.filters.exists(f, has(f.redirect)) || self.filters.all(f, has(f.redirect) || has(f.rateLimit))")
        .message("filters: no endpoint gets what is redirected: only rateLimit goes beside a redirect")
        .field_path(".filters"),
    validation = Rule::new(
        "!has(self.filters) || (self.filters.filter(f, has(f.requestHeaders)).size() <= 1 && self.filters.filter(f, has(f.responseHeaders)).size() <= 1 && self.filters.filter(f, has(f.redirect)).size() <= 1 && self.filters.filter(f, has(f.rewrite)).size() <= 1 && self.filters.filter(f, has(f.rateLimit)).size() <= 1 && self.filters.filter(f, has(f.mirror)).size() <= 1)")
        .message("filters: each of them at most once").field_path(".filters"),
    validation = Rule::new(
        "!has(self.filters) || !has(self.matches) || !self.filters.exists(f, (has(f.redirect) && has(f.redirect.path) && f.redirect.path.type == 'ReplacePrefixMatch') || (has(f.rewrite) && has(f.rewrite.path) && f.rewrite.path.type == 'ReplacePrefixMatch')) || self.matches.all(m, !has(m.path) || m.path.type == 'Prefix')")
        .message("filters: ReplacePrefixMatch needs matches by Prefix only").field_path(".filters"),
)]
pub struct Route {
    /// Hosts it is for, names or wildcards such as *.example.com; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = HOSTNAME)),
        extend("x-kubernetes-list-type" = "set"))]
    pub hostnames: Vec<String>,
    /// Requests it is for: those that fit any of these; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<RouteMatch>,
    /// What is done with its requests beside: each at most once, in whatever order they stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6), extend("x-kubernetes-list-type" = "atomic"))]
    pub filters: Vec<Filter>,
    /// Backends its requests go to, each by its share. None with a redirect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub backends: Vec<WeightedBackend>,
    /// How long endpoints may take for its requests. Wins over the Backend's, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<UpstreamTimeouts>,
    /// What is tried again. Wins over the Backend's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// A Backend and its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightedBackend {
    /// The Backend's name, in the same namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,
    /// Its share of the route's requests, against the sum of all weights. 0 takes none.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: u32,
}

/// The weight where none is written.
fn one() -> u32 {
    1
}

/// A Backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendName {
    /// The Backend's name, in the same namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,
}

/// Bounds on what clients may send; what is over gets its 4xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline, extend("x-kubernetes-validations" = [
    Rule::new("self.uriBytes <= self.headBytes")
        .message("uriBytes must not be more than headBytes").field_path(".uriBytes")]))]
pub struct Limits {
    /// Connections of clients at once, in each replica of lastcall.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: u64,
    /// Size of a request's head, its line and all its fields, in bytes.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub head_bytes: u32,
    /// Fields in a request's head.
    #[schemars(range(min = 1, max = 1000))]
    pub header_count: u32,
    /// Size of a request's target, in bytes.
    #[schemars(range(min = 64, max = 65536))]
    pub uri_bytes: u32,
    /// Size of a request's body, in bytes; no limit where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_u64))]
    pub body_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            head_bytes: 32 * 1024,
            header_count: 100,
            uri_bytes: 8 * 1024,
            body_bytes: None,
        }
    }
}

/// How long clients may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline, extend("x-kubernetes-validations" = [
    Rule::new("duration(self.requestHead) > duration('0s')")
        .message("requestHead must be longer than 0s").field_path(".requestHead"),
    Rule::new("duration(self.requestBody) > duration('0s')")
        .message("requestBody must be longer than 0s").field_path(".requestBody"),
    Rule::new("duration(self.idle) > duration('0s')")
        .message("idle must be longer than 0s").field_path(".idle"),
    Rule::new("duration(self.write) > duration('0s')")
        .message("write must be longer than 0s").field_path(".write")]))]
pub struct ClientTimeouts {
    /// From the first byte of a request's head to its last: a duration such as 10s; then 408. A PROXY header,
    /// and the first message of TLS that is passed through, may take as long from the begin of the
    /// connection; then it is closed.
    pub request_head: GatewayDuration,
    /// Between two reads of a request's body: a duration such as 60s; then 408.
    pub request_body: GatewayDuration,
    /// Between two requests on one connection: a duration such as 60s; then it is closed.
    pub idle: GatewayDuration,
    /// For a client to take any of the bytes there are for it: a duration such as 60s; then its
    /// connection is reset, so that a client that stalls cannot hold an endpoint.
    pub write: GatewayDuration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            request_head: GatewayDuration::from_secs(10),
            request_body: GatewayDuration::from_secs(60),
            idle: GatewayDuration::from_secs(60),
            write: GatewayDuration::from_secs(60),
        }
    }
}
