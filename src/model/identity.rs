//! Who an endpoint is. Live state is found again by this identity when the configuration changes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Namespace and name of a LoadBalancer or Backend.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The namespace; `default` where a file names none.
    pub namespace: Arc<str>,
    /// The name within the namespace.
    pub name: Arc<str>,
}

impl ObjectName {
    /// A name from its two parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an endpoint is within its Backend. Never the bare address of a pod: addresses are used again
/// (PITFALLS 13).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// An address that a person wrote down.
    Static(SocketAddr),
    /// A pod and one of its ports.
    Pod {
        /// The pod's UID.
        uid: Arc<str>,
        /// The port of the pod.
        port: u16,
    },
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::Static(address) => address.fmt(f),
            Member::Pod { uid, port } => write!(f, "{uid}:{port}"),
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One address that serves a Backend: (Backend, pod UID, port) or (Backend, static address).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    /// The Backend it serves.
    pub backend: ObjectName,
    /// Which of the Backend's endpoints it is.
    pub member: Member,
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.member)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
