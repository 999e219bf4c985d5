//! How TLS is spoken to the endpoints of a Backend. Certificates are always verified: encryption to whoever
//! answers is none.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::RootCertStore;
use rustls::client::{ClientConfig, Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::server::roots;
use super::session::Client;
use super::stream::TlsStream;
use super::{ConfigError, ENDPOINT_ALPN, provider};
use crate::model::tls::BackendTls;
use crate::proxy::buffer::{Buffer, BufferPool};
use crate::proxy::transport::Transport;

/// Sessions that are remembered for one endpoint, by each worker.
const SESSIONS: usize = 8;

/// How TLS is spoken to the endpoints of one Backend, for all workers.
pub struct Originator {
    made_of: Arc<BackendTls>,
    config: ClientConfig,
    name: ServerName<'static>,
}

impl fmt::Debug for Originator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Originator").field(&self.made_of).finish()
    }
}

impl Originator {
    /// Speaks TLS as `tls` says.
    pub fn new(tls: &Arc<BackendTls>) -> Result<Self, ConfigError> {
        let roots = match &tls.ca {
            Some(bundle) => roots(bundle)?,
            None => RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            },
        };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = ENDPOINT_ALPN.map(<[u8]>::to_vec).to_vec();
        let name = ServerName::try_from(tls.server_name.to_string())
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self {
            made_of: Arc::clone(tls),
            config,
            name,
        })
    }

    /// Whether this was made of the same.
    pub(super) fn is(&self, tls: &Arc<BackendTls>) -> bool {
        self.made_of == *tls
    }

    /// For one endpoint and one worker: another endpoint has other keys for its tickets, and another worker
    /// would wait for a lock.
    pub fn connector(self: &Arc<Self>) -> Connector {
        let mut config = self.config.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Connector {
            made_by: Arc::clone(self),
            config: Arc::new(config),
        }
    }
}

/// Speaks TLS to one endpoint, and resumes its sessions.
#[derive(Debug)]
pub struct Connector {
    made_by: Arc<Originator>,
    config: Arc<ClientConfig>,
}

impl Connector {
    /// Whether this was made by the same.
    pub fn is_by(&self, originator: &Arc<Originator>) -> bool {
        Arc::ptr_eq(&self.made_by, originator)
    }

    /// Begins TLS on a connection just made.
    pub fn begin(&self, socket: TcpStream, pool: &Rc<BufferPool>) -> io::Result<Connecting> {
        let (config, name) = (Arc::clone(&self.config), self.made_by.name.clone());
        let session = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        let stream = TlsStream::new(socket, Buffer::new(pool), session, pool);
        Ok(Connecting {
            stream: Some(Box::new(stream)),
        })
    }
}

/// A handshake with an endpoint.
pub struct Connecting {
    stream: Option<Box<TlsStream<Client>>>,
}

impl Future for Connecting {
    type Output = io::Result<Transport>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(stream) = &mut self.stream else {
            return Poll::Pending;
        };
        std::task::ready!(stream.poll_handshake(cx))?;
        match self.stream.take() {
            Some(stream) => Poll::Ready(Ok(Transport::TlsClient(stream))),
            None => Poll::Pending,
        }
    }
}
