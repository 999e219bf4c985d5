//! Which certificate a client is shown. Looked up in the handshake, without a lock and in a time that does not
//! depend on how many there are.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::model::HostPattern;
use crate::model::tls::{Certificate, KeyFormat};

/// The certificates of a listener, by the hosts they are for.
#[derive(Debug)]
pub(super) struct Certificates {
    exact: HashMap<Box<str>, Choices>,
    /// By what follows the wildcard, from its dot on: `.example.com`.
    wildcard: HashMap<Box<str>, Choices>,
    /// For clients that name no host, or one that none is for.
    default: Choices,
}

/// Certificates that are as good as each other but for their keys: the first that the client understands is
/// shown. Those with elliptic curves come first, which cost both sides less.
type Choices = Vec<Arc<CertifiedKey>>;

impl Certificates {
    /// Those of a listener; the first is the default, with others for the same hosts and other keys beside it.
    pub(super) fn new(
        certificates: &[Arc<Certificate>],
        provider: &CryptoProvider,
    ) -> Result<Self, rustls::Error> {
        let mut own = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: Vec::new(),
        };
        for certificate in certificates {
            let key = Arc::new(certified(certificate, provider)?);
            for host in &certificate.hosts {
                let (by, host) = match host {
                    HostPattern::Exact(name) => (&mut own.exact, name),
                    HostPattern::Suffix(suffix) => (&mut own.wildcard, suffix),
                };
                by.entry(host.clone()).or_default().push(Arc::clone(&key));
            }
            own.default.push(key);
        }
        let lists = own.exact.values_mut().chain(own.wildcard.values_mut());
        lists.for_each(|list| {
            list.sort_by_key(|own| own.key.algorithm() == SignatureAlgorithm::RSA);
        });
        Ok(own)
    }

    /// RFC 6125 section 6.4.3: a wildcard stands for one whole label. A name of its own comes first.
    pub(super) fn choose(&self, host: Option<&str>) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let exact = host.and_then(|host| self.exact.get(host));
        let wildcard = host.and_then(|host| self.wildcard.get(&host[host.find('.')?..]));
        let lists = [exact, wildcard, Some(&self.default)];
        lists.into_iter().flatten().flatten()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let lower;
        let host = match hello.server_name() {
            Some(host) if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                lower = host.to_ascii_lowercase();
                Some(lower.as_str())
            }
            host => host,
        };
        let schemes = hello.signature_schemes();
        let mut choices = self.choose(host);
        choices
            .find(|own| own.key.choose_scheme(schemes).is_some())
            .cloned()
    }
}

/// As `rustls` takes it; fails where the key does not fit.
fn certified(
    certificate: &Certificate,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, rustls::Error> {
    let chain = certificate.chain.iter();
    let chain = chain
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect();
    let der = certificate.key.der.to_vec();
    let key: PrivateKeyDer<'static> = match certificate.key.format {
        KeyFormat::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
        KeyFormat::Sec1 => PrivateSec1KeyDer::from(der).into(),
        KeyFormat::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
    };
    CertifiedKey::from_der(chain, key, provider)
}
