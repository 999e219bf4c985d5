//! What a route does with its requests beside sending them somewhere.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::GatewayDuration;
use super::load_balancer::{BackendName, SUBDOMAIN};
use super::route_match::{FIELD_NAME, FIELD_VALUE};

/// Fields that are lastcall's own business on each hop, or say how a message ends, or who the client is; in
/// lower case. A filter may not touch them.
pub const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
    "x-request-id",
];
/// So are all whose names begin so.
pub const RESERVED_PREFIX: &str = "x-forwarded-";

/// Whether a filter may not touch the field of this name, in any case. `_` is as `-`, because servers that hand
/// fields on as variables make them the same.
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    RESERVED.contains(&name.as_str()) || name.starts_with(RESERVED_PREFIX)
}

/// One thing that a route does with its requests: exactly one field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[has(self.requestHeaders), has(self.responseHeaders), has(self.redirect), has(self.rewrite), has(self.mirror), has(self.rateLimit)].exists_one(x, x)")
        .message("a filter is exactly one of requestHeaders, responseHeaders, redirect, rewrite, mirror and rateLimit"),
)]
pub struct Filter {
    /// Changes fields of the request before an endpoint gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderEdits>,
    /// Changes fields of an endpoint's response before the client gets it; not of responses that lastcall
    /// makes itself, and not of interim ones (1xx).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<HeaderEdits>,
    /// Answers with a redirect; no endpoint is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Changes host and path of the request before an endpoint gets it. X-Forwarded-Host and Forwarded
    /// still say what the client asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Sends copies of requests to another Backend, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Answers requests that come too soon with 429 and Retry-After.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// Changes to fields. Not to those that say how a message ends or who the client is (Content-Length,
/// Connection, X-Forwarded-For and the like); Host is changed by rewrite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.set) && size(self.set) > 0) || (has(self.add) && size(self.add) > 0) || (has(self.remove) && size(self.remove) > 0)")
        .message("at least one of set, add and remove is needed"),
)]
pub struct HeaderEdits {
    /// In place of all fields of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub set: Vec<HeaderValue>,
    /// Beside fields of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add: Vec<HeaderValue>,
    /// All fields of these names are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<HeaderName>,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct HeaderValue {
    /// Its name.
    pub name: HeaderName,
    /// Its value: printable ASCII.
    #[schemars(length(min = 1, max = 4096), regex(pattern = FIELD_VALUE))]
    pub value: String,
}

/// The name of a field that a filter may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("minLength" = 1, "maxLength" = 64, "pattern" = FIELD_NAME,
    "x-kubernetes-validations" = [reserved_rule()]))]
pub struct HeaderName(pub String);

fn reserved_rule() -> Rule {
    let names: Vec<String> = RESERVED.iter().map(|name| format!("'{name}'")).collect();
    let name = "self.lowerAscii().replace('_', '-')";
    let rule = format!(
        "!({name} in [{}]) && !{name}.startsWith('{RESERVED_PREFIX}')",
        names.join(", ")
    );
    Rule::new(rule).message(
        "a filter must not touch this field: it is lastcall's own on each hop, or says how the message ends or who the client is",
    )
}

/// Where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.scheme) || has(self.hostname) || has(self.port) || has(self.path)")
        .message("a redirect needs at least one of scheme, hostname, port and path, or it leads back to itself"),
    validation = Rule::new("self.statusCode in [301, 302, 303, 307, 308]")
        .message("statusCode must be 301, 302, 303, 307 or 308").field_path(".statusCode"),
)]
pub struct Redirect {
    /// The scheme; as it was asked where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// The host; as it was asked where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub hostname: Option<String>,
    /// The port. Where absent it is the scheme's own if scheme is given, and as it was asked otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The path; as it was asked where absent. The query stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathChange>,
    /// The status: 301 and 308 are for good, 302, 303 and 307 for now; 307 and 308 keep the method.
    #[serde(default = "found")]
    #[schemars(range(min = 301, max = 308))]
    pub status_code: u16,
}

/// The status of a redirect where none is written.
fn found() -> u16 {
    302
}

/// A scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In clear text.
    Http,
    /// Over TLS.
    Https,
}

/// What endpoints get in place of the host and the path that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.hostname) || has(self.path)")
        .message("a rewrite needs at least one of hostname and path"),
)]
pub struct Rewrite {
    /// The Host that endpoints get.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub hostname: Option<String>,
    /// The path that endpoints get. The query stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathChange>,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathChange {
    /// What is replaced.
    #[serde(rename = "type")]
    pub kind: PathChangeType,
    /// The new path, or the new beginning of it, from its leading slash. Where a prefix
    /// is replaced, / takes it away.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[!-~]*$"))]
    #[x_kube(
        validation = Rule::new(
            "!self.contains('//') && !self.contains('/./') && !self.contains('/../') && !self.endsWith('/.') && !self.endsWith('/..')")
            .message("value must not have empty, '.' or '..' segments"),
        validation = Rule::new("!self.contains('?') && !self.contains('#')")
            .message("value must be a path only: no '?', no '#'"),
    )]
    pub value: String,
}

/// What is replaced of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PathChangeType {
    /// All of it.
    ReplaceFullPath,
    /// The prefix that the route matched. Only where each match of the route is by Prefix.
    ReplacePrefixMatch,
}

/// Another Backend that gets copies of the route's requests, as the route's own endpoints get them. Its
/// answers are thrown away, and no request waits for them. Not copied are requests whose body is longer than
/// 64 KiB, and upgrades (WebSocket). A copy is sent once the request was sent, and is given up after 60s, or
/// where the Backend has no endpoint that takes it, or where 128 are under way in each of lastcall's workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// The Backend that gets them.
    pub backend: BackendName,
    /// How many of a hundred requests are copied, chosen at random.
    #[serde(default = "all")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: u8,
}

/// The percentage where none is written.
fn all() -> u8 {
    100
}

/// How many requests the route takes, in each replica of lastcall by itself: with three replicas that get
/// their share each, three times as many in all. What was counted counts on when the configuration changes,
/// unless this limit or what its route is for does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.interval) > duration('0s') && duration(self.interval) <= duration('1h')")
        .message("interval must be longer than 0s and at most 1h").field_path(".interval"),
)]
pub struct RateLimit {
    /// So many requests in each interval.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// A duration such as 1s or 1m, at most 1h. Requests are spread over it: 60 in 1m are one each second,
    /// beyond what may come at once.
    #[serde(default = "one_second")]
    pub interval: GatewayDuration,
    /// So many may come at once after a time without any. As many as requests where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// What is counted apart.
    #[serde(default)]
    pub per: LimitPer,
}

/// The interval where none is written.
fn one_second() -> GatewayDuration {
    GatewayDuration::from_secs(1)
}

/// What is counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LimitPer {
    /// Each client by its address, in IPv6 by the first 64 bits of it. Behind trustedProxies the client is
    /// the last in X-Forwarded-For that is none of them. Some 16000 clients are remembered; of more those
    /// that were slowest are forgotten.
    #[default]
    Client,
    /// Nothing: all requests of the route are counted together.
    Route,
}
