//! `listeners[].tls`: what becomes of a listener's TLS.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// Who ends it.
    pub mode: TlsMode,
}

/// Passthrough leaves it to the endpoint: its bytes are passed on untouched, to where the host name in the
/// client's first message (SNI) leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TlsMode {
    /// The endpoint ends it.
    Passthrough,
}
