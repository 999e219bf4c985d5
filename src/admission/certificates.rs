//! The certificates by which the API server and the pods know lastcall: a CA of its own, and a leaf for the
//! names and addresses of its Services. Pure but for the keys' randomness; [`super::certificate_store`]
//! keeps them in a Secret.
//!
//! A CA is renewed with its key and name kept. So the pods of old, which know only the CA that was when they
//! were made, go on believing every leaf.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long a leaf holds.
const LEAF: Duration = Duration::from_hours(90 * 24);
/// How long a CA holds.
const CA: Duration = Duration::from_hours(3650 * 24);
/// For clocks that are behind.
const SKEW: Duration = Duration::from_hours(1);

/// A CA, a leaf that it has signed, and their private keys; all in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates {
    /// The CA.
    pub ca_pem: String,
    /// The CA's key.
    pub ca_key_pem: String,
    /// The leaf.
    pub leaf_pem: String,
    /// The leaf's key.
    pub leaf_key_pem: String,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the keys.
        f.debug_struct("Certificates")
            .field("ca_pem", &self.ca_pem)
            .field("leaf_pem", &self.leaf_pem)
            .finish_non_exhaustive()
    }
}

/// Certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A name is none, or the keys' randomness failed.
    #[error("certificates cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A name is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address: no certificate can be made for it")]
    Name(String),
    /// What is there cannot be used. It is never returned by [`renewed`], which makes anew.
    #[error("certificates cannot be used: {0}")]
    Use(String),
}

/// Makes a CA and a leaf for these DNS names and IP addresses.
pub fn issue(names: &[String], now: SystemTime) -> Result<Certificates, CertificateError> {
    server_names(names)?;
    let key = KeyPair::generate()?;
    let ca_pem = ca_params(now).self_signed(&key)?.pem();
    with_leaf(ca_pem, &key, names, now)
}

/// What is to be in place of `current`, or `None` where it is still good. A leaf and a CA are renewed when
/// two thirds of their time have passed; a leaf also when its names changed; what cannot be used is made
/// anew.
pub fn renewed(
    current: &Certificates,
    names: &[String],
    now: SystemTime,
) -> Result<Option<Certificates>, CertificateError> {
    // Else a name that nobody could believe would make new certificates each time.
    server_names(names)?;
    let ca_due = is_due(&current.ca_pem, now).unwrap_or(true);
    let leaf_due = is_due(&current.leaf_pem, now).unwrap_or(true);
    if !ca_due && !leaf_due && usable(current, names, now).is_ok() {
        return Ok(None);
    }
    let Ok(ca_key) = KeyPair::from_pem(&current.ca_key_pem) else {
        return issue(names, now).map(Some);
    };
    let ca_pem = if ca_due {
        ca_params(now).self_signed(&ca_key)?.pem()
    } else {
        current.ca_pem.clone()
    };
    let mended = with_leaf(ca_pem, &ca_key, names, now)?;
    if usable(&mended, names, now).is_ok() {
        return Ok(Some(mended));
    }
    // The CA and its key do not belong together, or somebody put another CA there.
    issue(names, now).map(Some)
}

fn ca_params(now: SystemTime) -> CertificateParams {
    let mut params = params(now, CA);
    params.distinguished_name = ca_name();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn ca_name() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "lastcall CA");
    name
}

fn with_leaf(
    ca_pem: String,
    ca_key: &KeyPair,
    names: &[String],
    now: SystemTime,
) -> Result<Certificates, CertificateError> {
    let mut leaf = params(now, LEAF);
    leaf.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
    leaf.distinguished_name = DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, "lastcall");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf_key = KeyPair::generate()?;
    let ca_params = ca_params(now);
    let issuer = Issuer::from_params(&ca_params, ca_key);
    let leaf_pem = leaf.signed_by(&leaf_key, &issuer)?.pem();
    Ok(Certificates {
        ca_pem,
        ca_key_pem: ca_key.serialize_pem(),
        leaf_pem,
        leaf_key_pem: leaf_key.serialize_pem(),
    })
}

fn params(now: SystemTime, holds: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + holds).into();
    // A CA that is renewed with the same key is another certificate, with another number.
    let number = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    params.serial_number = Some(SerialNumber::from_slice(&number.to_be_bytes()));
    params
}

fn server_names(names: &[String]) -> Result<Vec<ServerName<'static>>, CertificateError> {
    let read = |name: &String| {
        ServerName::try_from(name.clone()).map_err(|_| CertificateError::Name(name.clone()))
    };
    names.iter().map(read).collect()
}

/// Whether two thirds of a certificate's time have passed.
fn is_due(pem: &str, now: SystemTime) -> Result<bool, ()> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| ())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| ())?;
    let validity = certificate.validity();
    let (from, to) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let now = now.duration_since(UNIX_EPOCH).map_err(|_| ())?.as_secs();
    let now = i64::try_from(now).map_err(|_| ())?;
    Ok(now - from >= (to - from) / 3 * 2)
}

/// Whether the leaf is believed, by those who believe the CA, for each of these names, and has its key.
fn usable(
    certificates: &Certificates,
    names: &[String],
    now: SystemTime,
) -> Result<(), CertificateError> {
    let bad = |error: &dyn fmt::Display| CertificateError::Use(error.to_string());
    let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| bad(&e));
    let (ca, leaf) = (read(&certificates.ca_pem)?, read(&certificates.leaf_pem)?);
    let mut roots = RootCertStore::empty();
    roots.add(ca).map_err(|e| bad(&e))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| bad(&e))?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).map_err(|e| bad(&e))?);
    for name in server_names(names)? {
        let verified = verifier.verify_server_cert(&leaf, &[], &name, &[], now);
        verified.map_err(|e| bad(&e))?;
    }
    let key = KeyPair::from_pem(&certificates.leaf_key_pem)?;
    let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|e| bad(&e))?;
    if *parsed.public_key().subject_public_key.data == *key.public_key_raw() {
        Ok(())
    } else {
        Err(CertificateError::Use(
            "the key is another certificate's".to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_hours((20_000 + days) * 24)
    }

    fn names() -> Vec<String> {
        [
            "hook.lastcall.svc",
            "hook.lastcall.svc.cluster.local",
            "10.96.0.7",
            "fd00::7",
        ]
        .map(str::to_owned)
        .into()
    }

    /// Whether somebody who has this CA only believes that leaf.
    fn believes(ca: &Certificates, leaf: &Certificates, now: SystemTime) -> bool {
        let mixed = Certificates {
            ca_pem: ca.ca_pem.clone(),
            ..leaf.clone()
        };
        usable(&mixed, &names(), now).is_ok()
    }

    #[test]
    fn a_leaf_is_believed_for_its_names_and_addresses_and_no_other() {
        let made = issue(&names(), at(0)).unwrap();
        usable(&made, &names(), at(0)).unwrap();
        for other in ["other.lastcall.svc", "10.96.0.8", "lastcall"] {
            assert!(
                usable(&made, &[other.to_owned()], at(0)).is_err(),
                "{other}"
            );
        }
    }

    #[test]
    fn a_leaf_is_renewed_when_two_thirds_of_its_time_have_passed() {
        let made = issue(&names(), at(0)).unwrap();
        assert_eq!(renewed(&made, &names(), at(0)).unwrap(), None);
        assert_eq!(renewed(&made, &names(), at(59)).unwrap(), None);
        for day in [61, 89, 91, 1000] {
            let next = renewed(&made, &names(), at(day)).unwrap().unwrap();
            assert_eq!(
                (&next.ca_pem, &next.ca_key_pem),
                (&made.ca_pem, &made.ca_key_pem)
            );
            assert_ne!(next.leaf_key_pem, made.leaf_key_pem);
            assert!(believes(&made, &next, at(day)));
            assert_eq!(renewed(&next, &names(), at(day)).unwrap(), None);
        }
    }

    #[test]
    fn who_knows_the_old_ca_believes_the_leaves_of_the_new() {
        let made = issue(&names(), at(0)).unwrap();
        let day = 3650 * 2 / 3 + 1;
        let next = renewed(&made, &names(), at(day)).unwrap().unwrap();
        assert_ne!(next.ca_pem, made.ca_pem);
        assert_eq!(next.ca_key_pem, made.ca_key_pem);
        assert!(believes(&made, &next, at(day)) && believes(&next, &next, at(day)));
        assert_eq!(renewed(&next, &names(), at(day)).unwrap(), None);
        // Also long after its time.
        let later = renewed(&next, &names(), at(4000)).unwrap().unwrap();
        assert!(believes(&made, &later, at(4000)));
    }

    #[test]
    fn other_names_make_another_leaf() {
        let made = issue(&names(), at(0)).unwrap();
        let mut more = names();
        more.push("10.96.0.8".to_owned());
        let next = renewed(&made, &more, at(1)).unwrap().unwrap();
        assert_eq!(next.ca_pem, made.ca_pem);
        usable(&next, &more, at(1)).unwrap();
        for bad in ["ümlaut", "a b", "*.lastcall.svc", ""] {
            let bad = [bad.to_owned()];
            assert!(
                matches!(issue(&bad, at(0)), Err(CertificateError::Name(_))),
                "{bad:?}"
            );
            assert!(matches!(
                renewed(&made, &bad, at(0)),
                Err(CertificateError::Name(_))
            ));
        }
    }

    #[test]
    fn what_cannot_be_used_is_made_anew() {
        let (made, other) = (
            issue(&names(), at(0)).unwrap(),
            issue(&names(), at(0)).unwrap(),
        );
        let with = |day, change: &dyn Fn(&mut Certificates)| {
            let mut broken = made.clone();
            change(&mut broken);
            let next = renewed(&broken, &names(), at(day)).unwrap().unwrap();
            usable(&next, &names(), at(day)).unwrap();
            next
        };
        for keeps_the_ca in [
            with(1, &|c| c.leaf_pem = String::new()),
            with(1, &|c| c.leaf_pem.clone_from(&other.leaf_pem)),
            with(1, &|c| c.leaf_key_pem = "junk".to_owned()),
            with(1, &|c| c.leaf_key_pem.clone_from(&other.leaf_key_pem)),
        ] {
            assert_eq!(keeps_the_ca.ca_pem, made.ca_pem);
        }
        // Without its key a CA serves as long as its leaf does.
        for anew in [
            with(61, &|c| c.ca_key_pem = "junk".to_owned()),
            with(61, &|c| c.ca_key_pem.clone_from(&other.ca_key_pem)),
        ] {
            assert_ne!(anew.ca_pem, made.ca_pem);
        }
        // The key says what the CA was.
        let mended = with(1, &|c| c.ca_pem = "junk".to_owned());
        assert_eq!(mended.ca_key_pem, made.ca_key_pem);
    }

    #[test]
    fn keys_are_not_printed() {
        let made = issue(&names(), at(0)).unwrap();
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }
}
