//! A pool of endpoints as configured: who is in it, what they speak, what an operator wants of them and how they
//! leave. Built by `plan`, part of a [`Snapshot`](super::Snapshot).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::balance::{BackendLimits, Policy};
use super::identity::{EndpointId, ObjectName};
use super::stream::ProxyVersion;
use super::tls::BackendTls;

/// A pool of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Which object this is.
    pub name: ObjectName,
    /// Sorted by identity, each identity once.
    pub endpoints: Vec<EndpointSpec>,
    /// What they speak.
    pub protocol: EndpointProtocol,
    /// How one is chosen.
    pub policy: Policy,
    /// How long an endpoint that comes while others serve takes to get its whole share.
    pub slow_start: Option<Duration>,
    /// How much each endpoint takes at once; all there is where absent.
    pub limits: Option<BackendLimits>,
    /// The Backend's own admin state; an endpoint's own, where not Enabled, wins.
    pub admin_state: AdminState,
    /// How its endpoints leave: the Backend's own fields over those of its LoadBalancers.
    pub draining: DrainPolicy,
    /// Each connection to its endpoints begins with a header of the PROXY protocol that tells of the client.
    pub send_proxy: Option<ProxyVersion>,
    /// What is spoken to its endpoints where it is TLS.
    pub tls: UpstreamTls,
}

/// Whether the endpoints of a Backend speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UpstreamTls {
    /// Clear text.
    #[default]
    No,
    /// TLS.
    Spoken(Arc<BackendTls>),
    /// TLS, and who is to be believed is not known: nothing can be sent.
    Unresolved,
}

/// One endpoint as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSpec {
    /// Who it is, over changes of the configuration.
    pub id: EndpointId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Share of the Backend's requests; 0 takes none.
    pub weight: u32,
    /// What its own object says: for a static endpoint its `adminState`, for a pod its annotation.
    pub admin_state: AdminState,
    /// It can take requests: false for a pod that is not ready. It gets no new work then; what it has may
    /// finish, without a deadline.
    pub ready: bool,
    /// Its pod has a deletionTimestamp.
    pub stopping: Option<Stopping>,
    /// Its pod's name; absent for a static endpoint.
    pub pod: Option<Arc<str>>,
    /// A drain of it lasts at least this long, where its Backend says less.
    pub min: Duration,
}

impl EndpointSpec {
    /// An address that a person wrote down: nothing but they says how it is.
    pub fn fixed(
        id: EndpointId,
        address: SocketAddr,
        weight: u32,
        admin_state: AdminState,
    ) -> Self {
        Self {
            id,
            address,
            weight,
            admin_state,
            ready: true,
            stopping: None,
            pod: None,
            min: Duration::ZERO,
        }
    }

    /// The share of its Backend's requests that it gets now.
    pub fn share(&self) -> u32 {
        if self.ready { self.weight } else { 0 }
    }
}

/// A pod that is being stopped, as its object says. Its hook calls by itself; this is what is known without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// What is left of its life when its deletion begins: its deletionGracePeriodSeconds.
    pub grace: Duration,
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EndpointProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: in clear text by prior knowledge, in TLS as agreed on (RFC 9113 section 3).
    Http2,
    /// One of the two, as each endpoint chooses in its TLS handshake (RFC 7301).
    Negotiated,
    /// Bytes.
    Bytes,
}

/// What an operator wants of an endpoint or a Backend (Rackspace's node conditions).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Default,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum AdminState {
    /// Takes new work.
    #[default]
    Enabled,
    /// Takes no new work; what it has may finish.
    Draining,
    /// Takes nothing; what it has is cut.
    Disabled,
}

impl AdminState {
    /// The narrowest that is not Enabled wins: the endpoint's own, then the Backend's.
    pub fn narrowest(own: AdminState, whole: AdminState) -> AdminState {
        if own == AdminState::Enabled {
            whole
        } else {
            own
        }
    }
}

/// How endpoints of a Backend leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPolicy {
    /// False: in-flight work of a leaving endpoint is cut at once.
    pub enabled: bool,
    /// After this what is still in flight is cut.
    pub timeout: Duration,
    /// In place of `timeout` where the endpoint is restarted, not removed.
    pub restart_timeout: Duration,
    /// A drain lasts at least this long, for routers that do not ask us.
    pub min: Duration,
    /// What a hold of the last endpoint that could serve does.
    pub last_endpoint: LastEndpoint,
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: Duration::from_mins(5),
            restart_timeout: Duration::from_secs(10),
            min: Duration::ZERO,
            last_endpoint: LastEndpoint::KeepServing,
        }
    }
}

/// What a hold of the last endpoint that could serve a Backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LastEndpoint {
    /// It takes new work until a replacement is available or half of the hold's time is gone.
    #[default]
    KeepServing,
    /// It drains at once; requests get 503 until a replacement is there.
    Drain,
}
