//! What TLS needs of the configuration: certificates with their keys, authorities, the versions that are
//! spoken. Equal content is equal, so a Secret that was written anew with what it had is no change.
//!
//! `plan` makes these of Secrets and files; `proxy::tls` serves them. A key is shown to nobody: not by `Debug`,
//! not in a log, a status or the admin API.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::HostPattern;

/// TLS that ends at a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerTls {
    /// At least one. The first is shown to clients that name no host, or one that none is for.
    pub certificates: Vec<Arc<Certificate>>,
    /// Clients must show a certificate that one of these has issued; nothing is asked of them where absent.
    pub client_ca: Option<Arc<CaBundle>>,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246).
    #[default]
    V12,
    /// 1.3 (RFC 8446).
    V13,
}

/// A certificate, what stands between it and its root, and its key, which is known to fit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// What the configuration calls it.
    pub name: Arc<str>,
    /// DER, the certificate itself first.
    pub chain: Vec<Box<[u8]>>,
    /// Its key.
    pub key: PrivateKey,
    /// The hosts it is for: the DNS names of its subjectAltName (RFC 6125).
    pub hosts: Vec<HostPattern>,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
}

/// A private key. Wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    /// How it is written.
    pub format: KeyFormat,
    /// DER.
    pub der: Zeroizing<Vec<u8>>,
}

/// How a private key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFormat {
    /// PKCS #1 (RFC 8017): `BEGIN RSA PRIVATE KEY`.
    Pkcs1,
    /// SEC 1 (RFC 5915): `BEGIN EC PRIVATE KEY`.
    Sec1,
    /// PKCS #8 (RFC 5958): `BEGIN PRIVATE KEY`.
    Pkcs8,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl std::hash::Hash for PrivateKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.der.hash(state);
    }
}

/// Authorities that are believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaBundle {
    /// What the configuration calls it.
    pub name: Arc<str>,
    /// DER, at least one.
    pub certificates: Vec<Box<[u8]>>,
}

/// TLS that is spoken to the endpoints of a Backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendTls {
    /// Who may have issued their certificates; where absent, the public authorities that Mozilla lists.
    pub ca: Option<Arc<CaBundle>>,
    /// The host that their certificates must be for, and that they are asked for (SNI).
    pub server_name: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        let key = PrivateKey {
            format: KeyFormat::Pkcs8,
            der: Zeroizing::new(vec![0x53; 8]),
        };
        let certificate = Certificate {
            name: "shop".into(),
            chain: vec![],
            key,
            hosts: vec![],
            not_after: 0,
        };
        let shown = format!("{certificate:?} {certificate:#?}");
        assert!(!shown.contains("83") && !shown.contains("53"), "{shown}");
        assert!(shown.contains("PrivateKey"));
    }
}
