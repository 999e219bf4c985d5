//! TLS 1.3 towards the proxy. One cipher suite and one group are offered, so that all proxies do the same work;
//! the certificate is not judged, which would cost the client's CPU only.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::ensure;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, HandshakeKind, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, Http1};
use crate::wire;

/// Whom the certificate is for.
pub const NAME: &str = "bench.example";
/// Sessions that a client keeps: proxies hand out up to two with each handshake.
const SESSIONS: usize = 8;

/// Opens connections with TLS.
pub struct Tls(TlsConnector);

impl Tls {
    /// Resumes the sessions it had, where it should.
    pub fn new(resumes: bool) -> anyhow::Result<Self> {
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let provider = Arc::new(provider);
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believer(provider)))
            .with_no_client_auth();
        config.resumption = if resumes {
            Resumption::in_memory_sessions(SESSIONS)
        } else {
            Resumption::disabled()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// One connection.
    pub async fn connect(&self, target: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = super::connect(target).await?;
        Ok(self.0.connect(ServerName::try_from(NAME)?, stream).await?)
    }
}

/// Takes any certificate, and checks that the proxy has its key.
#[derive(Debug)]
struct Believer(Arc<CryptoProvider>);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 was asked for".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Opens a connection for each request; its sessions are its own.
pub struct Handshaking {
    tls: Tls,
    target: SocketAddr,
    request: Vec<u8>,
    wanted: HandshakeKind,
}

impl Handshaking {
    /// To the proxy at `target`; one that resumes has a session to begin with.
    pub async fn new(target: SocketAddr, resumes: bool) -> anyhow::Result<Self> {
        let mut client = Self {
            tls: Tls::new(resumes)?,
            target,
            request: wire::request(&target.to_string(), wire::SMALL_TARGET, "close"),
            wanted: HandshakeKind::Full,
        };
        if resumes {
            client.exchange().await?;
            client.wanted = HandshakeKind::Resumed;
        }
        Ok(client)
    }
}

impl Client for Handshaking {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        let stream = self.tls.connect(self.target).await?;
        let kind = stream.get_ref().1.handshake_kind();
        ensure!(
            kind == Some(self.wanted),
            "the proxy made a handshake {kind:?}"
        );
        let mut client = Http1::new(stream, self.request.clone(), wire::SMALL);
        client.ask().await?;
        client.end().await
    }
}
