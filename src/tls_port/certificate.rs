//! The certificate that a TLS port shows, which can be changed while it runs.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

/// A certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// It is no PEM.
    #[error("not a certificate and key in PEM: {0}")]
    Pem(#[from] pem::Error),
    /// The key is of an unknown kind, or not the certificate's.
    #[error("certificate and key do not work together: {0}")]
    Key(#[from] rustls::Error),
}

/// A certificate chain, the leaf first, and its private key, both in PEM.
pub fn certified_key(chain_pem: &str, key_pem: &str) -> Result<CertifiedKey, CertificateFault> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?;
    let provider = aws_lc_rs::default_provider();
    Ok(CertifiedKey::from_der(chain, key, &provider)?)
}

/// A server's configuration for HTTP/1.1, without client certificates. Each handshake shows the
/// certificate that was sent last; connections that are open go on with theirs.
pub fn server_config(
    certificate: watch::Receiver<Arc<CertifiedKey>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Newest(certificate)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Newest(watch::Receiver<Arc<CertifiedKey>>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }
}
