//! Configurations for the unit tests of the workers.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::{
    AdminState, Backend, DrainPolicy, EndpointId, EndpointSpec, Listener, LoadBalancer, Member,
    ObjectName, Policy, Protocol, Retry, RouteTimeouts, Snapshot, UpstreamTls, WeightedBackend,
};

/// A LoadBalancer without routes, with these listeners.
pub(super) fn load_balancer(listeners: &[(&str, u16)]) -> LoadBalancer {
    let listener = |(name, port): &(&str, u16)| Listener {
        name: (*name).into(),
        port: *port,
        protocol: Protocol::Http,
        hostname: None,
        tls: None,
        proxy_protocol: false,
    };
    LoadBalancer {
        listeners: listeners.iter().map(listener).collect(),
        ..LoadBalancer::new(ObjectName::new("default", "lb"))
    }
}

/// One such LoadBalancer; where nothing listens, none.
pub(super) fn snapshot(listeners: &[(&str, u16)]) -> Arc<Snapshot> {
    let load_balancers = match listeners {
        [] => vec![],
        some => vec![load_balancer(some)],
    };
    Arc::new(Snapshot {
        load_balancers,
        backends: vec![],
    })
}

/// One LoadBalancer with one listener before a Backend with one endpoint.
pub(super) fn serving(port: u16, endpoint: SocketAddr) -> (EndpointId, Arc<Snapshot>) {
    let name = ObjectName::new("default", "web");
    let id = EndpointId {
        backend: name.clone(),
        member: Member::Static(endpoint),
    };
    let spec = EndpointSpec::fixed(id.clone(), endpoint, 1, AdminState::Enabled);
    let backend = Backend {
        name,
        endpoints: vec![spec],
        protocol: crate::model::EndpointProtocol::Http1,
        policy: Policy::RoundRobin,
        admin_state: AdminState::Enabled,
        draining: DrainPolicy::default(),
        tls: UpstreamTls::No,
        send_proxy: None,
        slow_start: None,
        limits: None,
    };
    let default_backend = WeightedBackend {
        backend: 0,
        weight: 1,
        timeouts: RouteTimeouts::default(),
        retry: Retry::default(),
    };
    let snapshot = Snapshot {
        load_balancers: vec![LoadBalancer {
            default_backend: Some(default_backend),
            ..load_balancer(&[("http", port)])
        }],
        backends: vec![backend],
    };
    (id, Arc::new(snapshot))
}
