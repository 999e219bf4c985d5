//! A Secret as far as TLS needs it. Read once, when a source brings it, and not with every plan: checking a key
//! is slow. What cannot be used says why, and never with what was in it.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::model::HostPattern;
use crate::model::tls::{CaBundle, Certificate, KeyFormat, PrivateKey};

/// The keys of a Secret that are read; files of these names in a folder.
pub const CERTIFICATE: &str = "tls.crt";
/// As [`CERTIFICATE`].
pub const KEY: &str = "tls.key";
/// As [`CERTIFICATE`].
pub const CA: &str = "ca.crt";

/// What a Secret holds. Either part may be missing or broken without the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// `tls.crt` and `tls.key`.
    pub certificate: Result<Arc<Certificate>, Unusable>,
    /// `ca.crt`.
    pub ca: Result<Arc<CaBundle>, Unusable>,
}

/// Why a part of a Secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn unusable<T>(message: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable(message.into()))
}

impl Secret {
    /// Reads the Secret `name`; `part` gives the content of one of its keys, or says why it cannot.
    pub fn read<'a>(name: &str, part: impl Fn(&str) -> Result<&'a [u8], String>) -> Self {
        let part = |key: &str| match part(key) {
            Ok([]) => unusable(format!("{key} is empty")),
            Ok(content) => Ok(content),
            Err(why) => unusable(format!("{key} {why}")),
        };
        let certificate = || {
            let chain = part(CERTIFICATE)?;
            let key = part(KEY)?;
            certificate(name, chain, key).map(Arc::new)
        };
        Self {
            certificate: certificate(),
            ca: part(CA).and_then(|pem| bundle(name, pem).map(Arc::new)),
        }
    }
}

fn certificate(name: &str, chain: &[u8], key: &[u8]) -> Result<Certificate, Unusable> {
    let chain = certificates(CERTIFICATE, chain)?;
    // The error of a reader could show a line of it.
    let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
        return unusable(format!("{KEY} holds no private key in PEM"));
    };
    let (hosts, not_after) = leaf(&chain[0])?;
    let (format, der) = match &key {
        PrivateKeyDer::Pkcs1(key) => (KeyFormat::Pkcs1, key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => (KeyFormat::Sec1, key.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => (KeyFormat::Pkcs8, key.secret_pkcs8_der()),
        _ => return unusable(format!("{KEY} is of an unknown kind")),
    };
    let key_kept = PrivateKey {
        format,
        der: Zeroizing::new(der.to_vec()),
    };
    let ders = chain.iter().map(|der| der.to_vec().into()).collect();
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(_) => Ok(Certificate {
            name: name.into(),
            chain: ders,
            key: key_kept,
            hosts,
            not_after,
        }),
        Err(rustls::Error::InconsistentKeys(_)) => unusable(format!(
            "{KEY} is not the key of the certificate in {CERTIFICATE}"
        )),
        Err(rustls::Error::InvalidCertificate(_)) => unusable(format!(
            "the certificate in {CERTIFICATE} cannot be used: needed: X.509 version 3"
        )),
        Err(_) => unusable(format!(
            "{KEY} cannot be used; allowed: RSA of 2048 to 8192 bits, ECDSA with P-256, P-384 or P-521, Ed25519"
        )),
    }
}

/// The hosts a certificate is for, and when it expires in seconds since 1970.
fn leaf(der: &[u8]) -> Result<(Vec<HostPattern>, i64), Unusable> {
    let Ok((_, parsed)) = X509Certificate::from_der(der) else {
        return unusable(format!(
            "the first certificate in {CERTIFICATE} is no X.509"
        ));
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let hosts = names.filter_map(|name| match name {
        // A wildcard stands for the whole first label or is none (RFC 6125 section 6.4.3).
        GeneralName::DNSName(host) => {
            let rest = host.strip_prefix("*.").unwrap_or(host);
            let plain = !rest.is_empty() && !rest.contains('*');
            plain.then(|| HostPattern::new(host))
        }
        _ => None,
    });
    Ok((hosts.collect(), parsed.validity().not_after.timestamp()))
}

fn bundle(name: &str, pem: &[u8]) -> Result<CaBundle, Unusable> {
    let certificates = certificates(CA, pem)?;
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates.iter().enumerate() {
        if roots.add(certificate.clone()).is_err() {
            let number = at + 1;
            return unusable(format!("certificate {number} in {CA} is no authority's"));
        }
    }
    Ok(CaBundle {
        name: name.into(),
        certificates: certificates.iter().map(|der| der.to_vec().into()).collect(),
    })
}

/// The certificates in `pem`, at least one, each of which can be read.
fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let Ok(all) = all else {
        return unusable(format!("{key} is not PEM"));
    };
    if all.is_empty() {
        return unusable(format!("{key} holds no certificate in PEM"));
    }
    for (at, der) in all.iter().enumerate() {
        if X509Certificate::from_der(der).is_err() {
            let number = at + 1;
            return unusable(format!("certificate {number} in {key} is no X.509"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
