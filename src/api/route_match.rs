//! What a request must be like for a route to be its own: path, method, headers, query.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A name of a field: a token (RFC 9110 section 5.6.2).
pub const FIELD_NAME: &str = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
/// Printable ASCII, without white space around it.
pub const FIELD_VALUE: &str = r"^[!-~]([ -~]*[!-~])?$";

/// What a request must be like: all of what is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "has(self.path) || has(self.method) || (has(self.headers) && size(self.headers) > 0) || (has(self.query) && size(self.query) > 0)")
        .message("a match needs at least one of path, method, headers and query"),
)]
pub struct RouteMatch {
    /// What its path must be like; any where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Its method; any where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// What its fields must be like: of each of these names one that fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<HeaderMatch>,
    /// What its query's parameters must be like: the first of each of these names fits. Escapes are read,
    /// and + as a space.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub query: Vec<QueryMatch>,
}

/// What a path must be like. It is compared as it was sent, without its query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'RegularExpression' || self.value.startsWith('/')")
        .message("value must begin with '/'").field_path(".value"),
    validation = Rule::new(
        "self.type == 'RegularExpression' || (!self.value.contains('//') && !self.value.contains('/./') && !self.value.contains('/../') && !self.value.endsWith('/.') && !self.value.endsWith('/..'))")
        .message("value must not have empty, '.' or '..' segments").field_path(".value"),
    validation = Rule::new(
        "self.type == 'RegularExpression' || (!self.value.contains('?') && !self.value.contains('#') && !self.value.contains('%2f') && !self.value.contains('%2F'))")
        .message("value must be a path only: no '?', no '#', no '%2F'").field_path(".value"),
)]
pub struct PathMatch {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: PathMatchType,
    /// The path, from its leading slash. With Prefix whole segments count: /api is for /api and
    /// /api/x, not for /apix. A regular expression has to match the whole path.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[!-~]+$"))]
    pub value: String,
}

/// How a path is compared. Of those that fit an exact one wins, then a regular expression, then the longest prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PathMatchType {
    /// The path is just this.
    Exact,
    /// The path begins with these segments.
    #[default]
    Prefix,
    /// All of the path matches, in the syntax of Rust's regex crate, which is RE2's without \C; case
    /// counts, and characters are ASCII. Those of one host are tried one after the other; a LoadBalancer may
    /// have 128 in all.
    RegularExpression,
}

/// A method. Others than these cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the head only.
    Head,
    /// Sends something to be acted on.
    Post,
    /// Puts something in place.
    Put,
    /// Takes something away.
    Delete,
    /// Asks what is possible.
    Options,
    /// Changes something in part.
    Patch,
    /// Asks for the request itself.
    Trace,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Trace => "TRACE",
        }
    }
}

/// What one of a request's fields must be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatch {
    /// The field's name; case does not count.
    #[schemars(length(min = 1, max = 64), regex(pattern = FIELD_NAME))]
    #[x_kube(validation = Rule::new("!self.matches('^[Hh][Oo][Ss][Tt]$')")
        .message("name must not be Host: use hostnames"))]
    pub name: String,
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchType,
    /// The value, or the regular expression that all of it has to match.
    #[schemars(length(min = 1, max = 1024), regex(pattern = FIELD_VALUE))]
    pub value: String,
}

/// What one of the query's parameters must be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryMatch {
    /// The parameter's name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchType,
    /// The value, or the regular expression that all of it has to match.
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ValueMatchType {
    /// The value is just this.
    #[default]
    Exact,
    /// All of the value matches, in the syntax of Rust's regex crate.
    RegularExpression,
}
