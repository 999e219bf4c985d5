//! A TLS connection to the hook service, with its own certificate authority and no other.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::pod::HookService;

/// Connects and shakes hands; each read and write may take as long as `silence`.
pub(crate) fn connect(
    address: SocketAddr,
    service: &HookService,
    connect_limit: Duration,
    silence: Duration,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let mut socket = TcpStream::connect_timeout(&address, connect_limit).map_err(named)?;
    socket.set_read_timeout(Some(silence))?;
    socket.set_write_timeout(Some(silence))?;
    // Lines of a few bytes are to go at once.
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(service.name.clone()).map_err(io::Error::other)?;
    let mut connection =
        ClientConnection::new(Arc::new(config(&service.ca)?), name).map_err(io::Error::other)?;
    connection.complete_io(&mut socket).map_err(named)?;
    Ok(StreamOwned::new(connection, socket))
}

fn config(ca: &str) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
