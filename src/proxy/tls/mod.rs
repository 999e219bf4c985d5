//! TLS on both sides of the proxy: towards clients (`accept`, `server`, `certificates`) and towards endpoints
//! (`client`). The protocol is `rustls` on AWS-LC; what is here chooses certificates, keeps what must outlive a
//! change of the configuration, and moves records between the worker's buffers and its sockets (`stream`).
//!
//! A [`Configs`] is made once for all workers when a configuration is published. What has not changed is taken
//! over as it is, and the keys of session tickets also where the certificates have changed, so that clients
//! resume their sessions over a reload.

mod accept;
mod certificates;
mod client;
mod server;
pub mod session;
pub mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

use crate::model::{ObjectName, Snapshot, UpstreamTls};

pub(in crate::proxy) use accept::{Handshake, Refused};
pub use client::{Connector, Offer, Originator};
pub use server::Terminator;

/// The names of HTTP/2 and HTTP/1.1 in a handshake (RFC 7301).
pub(in crate::proxy) const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// A TLS configuration cannot be used. `plan` lets none through, so this is a fault of ours: its listener or
/// Backend is out of service.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A certificate, its key or the versions do not work.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// No client could be verified by the authorities.
    #[error("{0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Everything that speaks TLS in one configuration.
#[derive(Debug, Default)]
pub struct Configs {
    /// By LoadBalancer and listener.
    listeners: HashMap<(ObjectName, Arc<str>), Arc<Terminator>>,
    /// By Backend.
    backends: HashMap<ObjectName, Arc<Originator>>,
}

impl Configs {
    /// Those of `snapshot`; what is in `known` and has not changed goes on.
    pub fn new(snapshot: &Snapshot, known: &Self) -> Self {
        let mut configs = Self::default();
        for load_balancer in &snapshot.load_balancers {
            for listener in &load_balancer.listeners {
                let Some(tls) = &listener.tls else { continue };
                let key = (load_balancer.name.clone(), Arc::clone(&listener.name));
                let inside = listener.protocol;
                let made = match known.listeners.get(&key) {
                    Some(known) if known.is(tls, inside) => Ok(Arc::clone(known)),
                    known => Terminator::new(tls, inside, known.map(Arc::as_ref)).map(Arc::new),
                };
                match made {
                    Ok(terminator) => drop(configs.listeners.insert(key, terminator)),
                    Err(error) => {
                        tracing::error!(load_balancer = %key.0, listener = %key.1, %error, "TLS cannot be served");
                    }
                }
            }
        }
        for backend in &snapshot.backends {
            let UpstreamTls::Spoken(tls) = &backend.tls else {
                continue;
            };
            let inside = backend.protocol;
            let made = match known.backends.get(&backend.name) {
                Some(known) if known.is(tls, inside) => Ok(Arc::clone(known)),
                _ => Originator::new(tls, inside).map(Arc::new),
            };
            match made {
                Ok(originator) => {
                    configs.backends.insert(backend.name.clone(), originator);
                }
                Err(error) => {
                    tracing::error!(backend = %backend.name, %error, "TLS cannot be spoken");
                }
            }
        }
        configs
    }

    /// How a listener ends TLS.
    pub fn listener(
        &self,
        load_balancer: &ObjectName,
        listener: &Arc<str>,
    ) -> Option<&Arc<Terminator>> {
        self.listeners
            .get(&(load_balancer.clone(), Arc::clone(listener)))
    }

    /// How TLS is spoken to the endpoints of a Backend.
    pub fn backend(&self, name: &ObjectName) -> Option<&Arc<Originator>> {
        self.backends.get(name)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
