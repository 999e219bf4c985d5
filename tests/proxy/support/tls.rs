//! The other side of TLS: authorities that issue certificates, clients that see a handshake, servers that speak
//! it and end as they are told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SignatureAlgorithm,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

use super::client::Answer;

/// How long a read waits before the test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    pub chain: String,
    pub key: String,
}

impl Authority {
    /// One that nobody knew before.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Where issuer and subject have one name, OpenSSL takes a certificate for its own issuer.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "an authority");
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Issues one for these hosts, with a key on P-256.
    pub fn issue(&self, hosts: &[&str]) -> Issued {
        self.issue_with(hosts, &rcgen::PKCS_ECDSA_P256_SHA256, |_| ())
    }

    /// Issues one with a key of this kind, changed before it is signed.
    pub fn issue_with(
        &self,
        hosts: &[&str],
        kind: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let key = KeyPair::generate_for(kind).unwrap();
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(der).unwrap();
        roots
    }
}

impl Issued {
    pub(super) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (chain.map(Result::unwrap).collect(), key)
    }

    /// The certificate itself, to be told from others.
    pub fn der(&self) -> Vec<u8> {
        self.parts().0[0].to_vec()
    }
}

/// What a client can and has.
#[derive(Clone)]
pub struct ClientSetup {
    config: Arc<ClientConfig>,
}

/// What a client understands, where that is not everything.
#[derive(Clone, Copy, Default)]
pub struct Understands {
    /// The only version.
    pub version: Option<&'static SupportedProtocolVersion>,
    /// Signatures of the server's key.
    pub signatures: Option<&'static [SignatureScheme]>,
}

impl ClientSetup {
    /// A client that believes the authority; its sessions are kept from one connection to the next.
    pub fn new(authority: &Authority) -> Self {
        Self::with(authority, Understands::default(), None)
    }

    /// One that understands less, or that has a certificate of its own.
    pub fn with(authority: &Authority, understands: Understands, own: Option<&Issued>) -> Self {
        let mut provider: CryptoProvider = default_provider();
        if let Some(wanted) = understands.signatures {
            let mapping = provider.signature_verification_algorithms.mapping;
            let kept: Vec<_> = mapping
                .iter()
                .filter(|(scheme, _)| wanted.contains(scheme))
                .copied()
                .collect();
            // Lives as long as the test.
            provider.signature_verification_algorithms.mapping = kept.leak();
        }
        let versions = match understands.version {
            Some(only) => vec![only],
            None => rustls::ALL_VERSIONS.to_vec(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(authority.roots());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let (chain, key) = own.parts();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h3-never".to_vec(), b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
        }
    }

    /// Without a server name in its hello.
    pub fn without_sni(&self) -> Self {
        let mut config = (*self.config).clone();
        config.enable_sni = false;
        Self {
            config: Arc::new(config),
        }
    }

    /// Connects and shakes hands; a refusal may come with the first answer only (TLS 1.3).
    pub fn connect(&self, target: SocketAddr, host: &str) -> io::Result<TlsClient> {
        self.connect_behind(target, host, b"")
    }

    /// The same, with some bytes in clear text before: what a proxy says of the client.
    pub fn connect_behind(
        &self,
        target: SocketAddr,
        host: &str,
        before: &[u8],
    ) -> io::Result<TlsClient> {
        let mut socket = TcpStream::connect_timeout(&target, PATIENCE)?;
        socket.write_all(before)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(TlsClient {
            stream: StreamOwned::new(session, socket),
            unread: Vec::new(),
        })
    }

    /// One GET on a connection of its own.
    pub fn get(
        &self,
        target: SocketAddr,
        host: &str,
        path: &str,
    ) -> io::Result<(Answer, TlsClient)> {
        let mut client = self.connect(target, host)?;
        let answer = client.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
        Ok((answer, client))
    }
}

/// A client's connection, after its handshake.
pub struct TlsClient {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    unread: Vec<u8>,
}

impl TlsClient {
    /// The certificate that was shown; of a session that was resumed, the one of its beginning.
    pub fn shown(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Whether the handshake resumed a session.
    pub fn resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The version that was agreed on.
    pub fn version(&self) -> ProtocolVersion {
        self.stream.conn.protocol_version().unwrap()
    }

    /// The protocol inside.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.stream.conn.alpn_protocol()
    }

    /// Sends one request and reads its response.
    pub fn ask(&mut self, request: &str) -> io::Result<Answer> {
        self.stream.write_all(request.as_bytes())?;
        self.read_response()
    }

    /// Reads exactly one response.
    pub fn read_response(&mut self) -> io::Result<Answer> {
        loop {
            if let Some((answer, length)) = Answer::whole_with_length(&self.unread) {
                self.unread.drain(..length);
                return Ok(answer);
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::ConnectionAborted.into()),
                count => self.unread.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Reads to the end: what came, and whether it was a clean end.
    pub fn read_to_end(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut got = std::mem::take(&mut self.unread);
        let end = self.stream.read_to_end(&mut got).map(|_| ());
        (got, end)
    }
}

/// How a server ends a connection after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It does not: the next request may come.
    No,
    /// With `close_notify`.
    Clean,
    /// Without.
    Cut,
}

/// What a server saw of its connections.
#[derive(Default)]
pub struct ServerSeen {
    /// The heads of requests.
    pub heads: Vec<String>,
    /// Names that were asked for.
    pub names: Vec<String>,
    /// Handshakes that resumed a session.
    pub resumed: usize,
    /// Handshakes in all.
    pub handshakes: usize,
    /// Connections that lastcall ended, with `close_notify`.
    pub clean_ends: usize,
}

/// A server that answers each request (without a body) with the same bytes.
pub struct TlsServer {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<ServerSeen>>,
}

impl TlsServer {
    /// With this certificate.
    pub fn start(issued: &Issued, answer: &'static [u8], ending: Ending) -> Self {
        let (chain, key) = issued.parts();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(ServerSeen::default()));
        let record = Arc::clone(&seen);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, record) = (Arc::clone(&config), Arc::clone(&record));
                // A handshake that fails is what many tests are about.
                std::thread::spawn(move || serve(socket, config, &record, answer, ending));
            }
        });
        Self { address, seen }
    }
}

fn serve(
    mut socket: TcpStream,
    config: Arc<ServerConfig>,
    record: &Mutex<ServerSeen>,
    answer: &[u8],
    ending: Ending,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut session = ServerConnection::new(config).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    {
        let mut seen = record.lock().unwrap();
        seen.handshakes += 1;
        seen.resumed += usize::from(session.handshake_kind() == Some(HandshakeKind::Resumed));
        seen.names
            .extend(session.server_name().map(ToOwned::to_owned));
    }
    let mut stream = StreamOwned::new(session, socket);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte)? == 0 {
                record.lock().unwrap().clean_ends += 1;
                return Ok(());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        record.lock().unwrap().heads.push(head);
        stream.write_all(answer)?;
        stream.flush()?;
        match ending {
            Ending::No => {}
            Ending::Clean => {
                stream.conn.send_close_notify();
                stream.flush()?;
                return Ok(());
            }
            Ending::Cut => return Ok(()),
        }
    }
}
