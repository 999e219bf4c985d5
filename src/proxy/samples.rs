//! Configurations for the unit tests of the workers.

use std::sync::Arc;

use crate::model::{
    ClientTimeouts, Limits, Listener, LoadBalancer, ObjectName, Protocol, Snapshot,
};

/// A LoadBalancer without routes, with these listeners.
pub(super) fn load_balancer(listeners: &[(&str, u16)]) -> LoadBalancer {
    let listener = |(name, port): &(&str, u16)| Listener {
        name: (*name).into(),
        port: *port,
        protocol: Protocol::Http,
        hostname: None,
    };
    LoadBalancer {
        name: ObjectName::new("default", "lb"),
        listeners: listeners.iter().map(listener).collect(),
        routes: vec![],
        default_backend: None,
        limits: Limits::default(),
        timeouts: ClientTimeouts::default(),
        allowed_sources: vec![],
        trusted_proxies: vec![],
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
