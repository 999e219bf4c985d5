//! What a Secret's parts must be like, and what is said where they are not.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType};

use super::*;

/// The PEM of a certificate for these hosts, and of its key.
fn made(hosts: &[&str], key: &KeyPair) -> (String, String) {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params
        .subject_alt_names
        .push(SanType::IpAddress([10, 0, 0, 1].into()));
    params.not_after = rcgen::date_time_ymd(2040, 1, 2);
    (params.self_signed(key).unwrap().pem(), key.serialize_pem())
}

fn ecdsa() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn read(parts: &[(&str, &str)]) -> Secret {
    Secret::read("shop", |key| {
        let found = parts.iter().find(|(own, _)| *own == key);
        let found = found.map(|(_, content)| content.as_bytes());
        found.ok_or_else(|| "is missing".to_owned())
    })
}

#[test]
fn a_certificate_is_read_with_its_hosts_and_its_end() {
    let authority = ecdsa();
    let (issuer, _) = made(&["issuer"], &authority);
    for key in [
        ecdsa(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    ] {
        let (leaf, pem) = made(&["Shop.example.com", "*.example.com"], &key);
        let chain = leaf + &issuer;
        let secret = read(&[(CERTIFICATE, &chain), (KEY, &pem), (CA, &issuer)]);
        let certificate = secret.certificate.clone().unwrap();
        assert_eq!(&*certificate.name, "shop");
        assert_eq!(certificate.chain.len(), 2);
        let hosts = ["shop.example.com", "*.example.com"].map(HostPattern::new);
        assert_eq!(certificate.hosts, hosts);
        assert_eq!(certificate.not_after, 2_209_075_200);
        assert_eq!(secret.ca.as_ref().unwrap().certificates.len(), 1);
        assert_eq!(
            read(&[(CERTIFICATE, &chain), (KEY, &pem), (CA, &issuer)]),
            secret
        );
    }
}

#[test]
fn what_cannot_be_used_says_why_and_never_what_it_was() {
    let (leaf, key) = made(&["a"], &ecdsa());
    let (_, other) = made(&["b"], &ecdsa());
    let cut = key.replace("-----END PRIVATE KEY-----", "");
    let scrambled = key.replace("\nM", "\nQ");
    for (chain, key, says) in [
        (None, Some(&*key), "tls.crt is missing"),
        (Some(&*leaf), None, "tls.key is missing"),
        (Some(""), Some(&*key), "tls.crt is empty"),
        (
            Some("hello"),
            Some(&*key),
            "tls.crt holds no certificate in PEM",
        ),
        (
            Some("-----BEGIN CERTIFICATE-----\n"),
            Some(&*key),
            "tls.crt is not PEM",
        ),
        (
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Some(&*key),
            "certificate 1 in tls.crt is no X.509",
        ),
        (Some(&*leaf), Some(""), "tls.key is empty"),
        (
            Some(&*leaf),
            Some(&*cut),
            "tls.key holds no private key in PEM",
        ),
        (
            Some(&*leaf),
            Some(&*leaf),
            "tls.key holds no private key in PEM",
        ),
        (Some(&*leaf), Some(&*scrambled), "tls.key cannot be used"),
        (
            Some(&*leaf),
            Some(&*other),
            "tls.key is not the key of the certificate in tls.crt",
        ),
    ] {
        let parts = [(CERTIFICATE, chain), (KEY, key)];
        let parts: Vec<(&str, &str)> = parts
            .into_iter()
            .filter_map(|(name, content)| Some((name, content?)))
            .collect();
        let said = read(&parts).certificate.unwrap_err().to_string();
        assert!(said.starts_with(says), "{said}; wanted: {says}");
        assert!(said.len() < 120, "{said}");
    }
    assert_eq!(read(&[]).ca.unwrap_err().to_string(), "ca.crt is missing");
}

#[test]
fn of_a_secret_that_is_shown_the_key_is_not() {
    let (leaf, key) = made(&["a"], &ecdsa());
    let secret = read(&[(CERTIFICATE, &leaf), (KEY, &key)]);
    let shown = format!("{secret:?}");
    let der = &secret.certificate.unwrap().key.der;
    // Of the secret number; what stands behind it is the public key, which the certificate has as well.
    let piece = format!("{:?}", &der[36..44]);
    assert!(!shown.contains(&piece[1..piece.len() - 1]), "{shown}");
}
