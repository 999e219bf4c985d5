//! What listeners and Backends name for TLS, looked up.
//!
//! Law 4: what does not resolve takes only its own listener or Backend out of service. What once resolved keeps
//! its last good content, which is in the snapshot that runs: a Secret that is broken, expired or deleted while
//! it is served changes nothing but the condition. Of several certificates those that resolve are served.
//! Authorities are never left out: without them everybody would be let in, or believed.

mod secret;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::Facts;
use super::verdict::{Condition, ConditionKind, Fault};
use crate::api::tls as written;
use crate::model::tls::{BackendTls, CaBundle, Certificate, ListenerTls, TlsVersion};
use crate::model::{ObjectName, UpstreamTls};

pub use secret::{CA, CERTIFICATE, KEY, Secret, Unusable};

/// What is said where the last good content goes on.
const GOES_ON: &str = "what it held before goes on to be served";

/// Looks up what one listener names. `None`: it is out of service. `field` is its `tls`.
pub(super) fn listener(
    load_balancer: &ObjectName,
    listener: &str,
    tls: &written::ListenerTls,
    field: &str,
    facts: &Facts,
) -> (Option<Arc<ListenerTls>>, Condition) {
    let before = facts.listener_before(load_balancer, listener);
    let mut lookup = Lookup::new(load_balancer, facts);
    let certificates = tls.certificate_refs.iter().enumerate();
    let certificates: Vec<Arc<Certificate>> = certificates
        .filter_map(|(at, reference)| {
            let field = format!("{field}.certificateRefs[{at}].name");
            let known = before.iter().flat_map(|before| &before.certificates);
            let known = known
                .into_iter()
                .find(|known| *known.name == *reference.name);
            lookup.certificate(&reference.name, field, known)
        })
        .collect();
    let mut reason = "InvalidCertificateRef";
    let client_ca = tls.client_ca_ref.as_ref().map(|reference| {
        let known = before.and_then(|before| before.client_ca.as_ref());
        let field = format!("{field}.clientCARef.name");
        let found = lookup.bundle(&reference.name, field, known);
        if found.is_none() {
            reason = "InvalidCACertificateRef";
        }
        found
    });
    let condition = lookup.condition(reason);
    let resolved = match client_ca {
        None => Some(None),
        Some(found) => found.map(Some),
    };
    let served = resolved
        .filter(|_| !certificates.is_empty())
        .map(|client_ca| {
            Arc::new(ListenerTls {
                certificates,
                client_ca,
                min_version: match tls.min_version {
                    None | Some(written::TlsVersion::V12) => TlsVersion::V12,
                    Some(written::TlsVersion::V13) => TlsVersion::V13,
                },
            })
        });
    (served, condition)
}

/// Looks up what a Backend names.
pub(super) fn backend(
    backend: &ObjectName,
    tls: &written::BackendTls,
    facts: &Facts,
) -> (UpstreamTls, Condition) {
    let mut lookup = Lookup::new(backend, facts);
    let ca = tls.ca_ref.as_ref().map(|reference| {
        let known = facts.backend_before(backend);
        let known = known.and_then(|before| before.ca.as_ref());
        lookup.bundle(&reference.name, "spec.tls.caRef.name".to_owned(), known)
    });
    let condition = lookup.condition("InvalidCACertificateRef");
    let ca = match ca {
        Some(None) => return (UpstreamTls::Unresolved, condition),
        Some(found) => found,
        None => None,
    };
    let spoken = BackendTls {
        ca,
        server_name: tls.server_name.as_str().into(),
    };
    (UpstreamTls::Spoken(Arc::new(spoken)), condition)
}

impl Facts {
    fn listener_before(&self, load_balancer: &ObjectName, listener: &str) -> Option<&ListenerTls> {
        let all = &self.before.as_ref()?.load_balancers;
        let at = all
            .binary_search_by(|own| own.name.cmp(load_balancer))
            .ok()?;
        let mut listeners = all[at].listeners.iter();
        listeners.find(|own| *own.name == *listener)?.tls.as_deref()
    }

    fn backend_before(&self, backend: &ObjectName) -> Option<&BackendTls> {
        match &self.before.as_ref()?.backend(backend)?.tls {
            UpstreamTls::Spoken(tls) => Some(tls),
            UpstreamTls::No | UpstreamTls::Unresolved => None,
        }
    }
}

/// Looks Secrets up and remembers what was wrong.
struct Lookup<'a> {
    /// Who asks; references stay in its namespace.
    object: &'a ObjectName,
    facts: &'a Facts,
    faults: Vec<Fault>,
}

impl<'a> Lookup<'a> {
    fn new(object: &'a ObjectName, facts: &'a Facts) -> Self {
        Self {
            object,
            facts,
            faults: Vec::new(),
        }
    }

    fn secret(&self, name: &str) -> Result<&'a Secret, String> {
        let full = ObjectName::new(&self.object.namespace, name);
        let found = self.facts.secrets.get(&full).map(Arc::as_ref);
        found.ok_or_else(|| match self.facts.ports {
            Some(_) => {
                format!("there is no Secret {full} of type kubernetes.io/tls that lastcall reads")
            }
            None => format!("there is no folder {name} beside the files of the configuration"),
        })
    }

    /// A certificate, or the one that was `known` under the name.
    fn certificate(
        &mut self,
        name: &str,
        field: String,
        known: Option<&Arc<Certificate>>,
    ) -> Option<Arc<Certificate>> {
        let found = self.secret(name).and_then(|secret| {
            let found = secret.certificate.as_ref();
            found.map_err(|why| in_secret(name, why))
        });
        match found {
            Ok(found) if found.not_after >= self.facts.now => Some(Arc::clone(found)),
            Ok(found) => {
                let expired = Duration::from_secs(u64::try_from(found.not_after).unwrap_or(0));
                let expired = httpdate::fmt_http_date(UNIX_EPOCH + expired);
                let message = format!("{name}: {CERTIFICATE} has expired: {expired}");
                let later = known.filter(|known| known.not_after >= found.not_after);
                self.fault(field, message, known.map(|_| later.unwrap_or(found)))
            }
            Err(message) => self.fault(field, message, known),
        }
    }

    /// Authorities, or those that were `known`, if it was under the name.
    fn bundle(
        &mut self,
        name: &str,
        field: String,
        known: Option<&Arc<CaBundle>>,
    ) -> Option<Arc<CaBundle>> {
        let found = self.secret(name).and_then(|secret| {
            let found = secret.ca.as_ref();
            found.map_err(|why| in_secret(name, why))
        });
        match found {
            Ok(found) => Some(Arc::clone(found)),
            Err(message) => {
                let known = known.filter(|known| *known.name == *name);
                self.fault(field, message, known)
            }
        }
    }

    fn fault<T>(
        &mut self,
        field: String,
        message: String,
        kept: Option<&Arc<T>>,
    ) -> Option<Arc<T>> {
        let message = match kept {
            Some(_) => format!("{message}; {GOES_ON}"),
            None => message,
        };
        self.faults.push(Fault::new(field, message));
        kept.map(Arc::clone)
    }

    fn condition(&self, reason: &'static str) -> Condition {
        let kind = ConditionKind::ResolvedRefs;
        if self.faults.is_empty() {
            Condition::met(kind, "ResolvedRefs", "")
        } else {
            Condition::broken(kind, reason, &self.faults)
        }
    }
}

fn in_secret(name: &str, why: &Unusable) -> String {
    format!("{name}: {why}")
}
