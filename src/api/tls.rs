//! TLS as users write it: on a listener, and to the endpoints of a Backend. Certificates, keys and authorities
//! are in Secrets; without a cluster, in folders of the same layout.

// Kube's derive repeats the attributes of the fields in a type of its own.
#![allow(clippy::duplicated_attributes)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::load_balancer::SUBDOMAIN;

/// How TLS is spoken on a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "self.mode != 'Terminate' || (has(self.certificateRefs) && size(self.certificateRefs) > 0)")
        .message("certificateRefs: TLS that ends here needs at least one certificate")
        .field_path(".certificateRefs"),
    validation = Rule::new(
        "self.mode == 'Terminate' || !(has(self.certificateRefs) || has(self.clientCARef) || has(self.minVersion))")
        .message("certificateRefs, clientCARef and minVersion go only with mode Terminate")
        .field_path(".mode"),
)]
pub struct ListenerTls {
    /// Where TLS ends.
    #[serde(default)]
    pub mode: TlsMode,
    /// Secrets of type kubernetes.io/tls in the same namespace: tls.crt is the certificate and what stands
    /// between it and its root, tls.key its key. Each is shown to clients that ask for one of its hosts; where
    /// several are for the same host, the first whose kind of key the client understands. The first of all is
    /// shown to clients that ask for none, or for one that none is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub certificate_refs: Vec<SecretName>,
    /// A Secret of type kubernetes.io/tls in the same namespace, whose ca.crt holds the authorities that issue
    /// the certificates of clients. Every client must show one then; none is asked for one where absent.
    #[serde(rename = "clientCARef", skip_serializing_if = "Option::is_none")]
    pub client_ca_ref: Option<SecretName>,
    /// The lowest version that is spoken. TLS1.2 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
}

/// Terminate ends TLS at the listener. Passthrough, for protocol TLS only, leaves it to the endpoint: its bytes are passed on untouched, to
/// where the host name in the client's first message (SNI) leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TlsMode {
    /// At the listener.
    #[default]
    Terminate,
    /// At the endpoint.
    Passthrough,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[serde(rename = "TLS1.2")]
    V12,
    /// TLS 1.3 only.
    #[serde(rename = "TLS1.3")]
    V13,
}

/// A Secret. Without a cluster it is a folder of that name beside the objects' files, with a file for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// The Secret's name, in the same namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,
}

/// How TLS is spoken to the endpoints of a Backend. Their certificates are always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// A Secret of type kubernetes.io/tls in the same namespace, whose ca.crt holds the authorities that issue
    /// the endpoints' certificates. The public authorities that Mozilla lists where absent.
    #[serde(rename = "caRef", skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<SecretName>,
    /// The host that endpoints are asked for (SNI) and that their certificates must be for, whatever host a
    /// request is for.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub server_name: String,
}
