//! How a listener ends TLS: its certificates, the versions it speaks, whom it asks for a certificate, and the
//! keys of its session tickets.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};

use super::certificates::Certificates;
use super::{ConfigError, H2, HTTP1, provider};
use crate::model::Protocol;
use crate::model::tls::{CaBundle, ListenerTls, TlsVersion};

/// How one listener ends TLS, for all workers.
pub struct Terminator {
    made_of: Arc<ListenerTls>,
    inside: Protocol,
    config: Arc<ServerConfig>,
    /// Sealed with keys that only this process has and that change every six hours; a ticket is good for twelve
    /// at most.
    tickets: Arc<dyn ProducesTickets>,
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Terminator").field(&self.made_of).finish()
    }
}

impl Terminator {
    /// Ends TLS as `tls` says, on a listener that speaks `inside`. `before`: how the same listener did until now. Its tickets go on to be good where
    /// the same is asked of clients: a ticket says that its client has shown what was asked of it then.
    pub fn new(
        tls: &Arc<ListenerTls>,
        inside: Protocol,
        before: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let same = before.filter(|before| before.made_of.client_ca == tls.client_ca);
        let tickets = match same {
            Some(before) => Arc::clone(&before.tickets),
            None => Ticketer::new()?,
        };
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(tls.min_version))?;
        let builder = match &tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(bundle) => {
                let roots = Arc::new(roots(bundle)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let certificates = Certificates::new(&tls.certificates, &provider)?;
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = offered(inside).iter().map(|name| name.to_vec()).collect();
        config.ticketer = Arc::clone(&tickets);
        // Tickets serve all versions; the other store has a lock and forgets.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            made_of: Arc::clone(tls),
            inside,
            config: Arc::new(config),
            tickets,
        })
    }

    /// Whether this was made of the same.
    pub(super) fn is(&self, tls: &Arc<ListenerTls>, inside: Protocol) -> bool {
        self.inside == inside && self.made_of == *tls
    }

    #[cfg(test)]
    pub(super) fn tickets(&self) -> &dyn ProducesTickets {
        &*self.tickets
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// What is spoken inside TLS, by preference (RFC 7301). Of bytes nothing is known: no name that a client offers is
/// chosen, and none refused.
fn offered(inside: Protocol) -> &'static [&'static [u8]] {
    match inside {
        Protocol::Http | Protocol::Https => &[H2, HTTP1],
        Protocol::Tcp | Protocol::Tls | Protocol::TlsPassthrough => &[],
    }
}

static FROM_12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static FROM_13: [&SupportedProtocolVersion; 1] = [&TLS13];

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::V12 => &FROM_12,
        TlsVersion::V13 => &FROM_13,
    }
}

pub(super) fn roots(bundle: &CaBundle) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for der in &bundle.certificates {
        roots.add(CertificateDer::from(der.to_vec()))?;
    }
    Ok(roots)
}
