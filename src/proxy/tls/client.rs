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
use super::{ConfigError, H2, HTTP1, provider};
use crate::model::EndpointProtocol;
use crate::model::tls::BackendTls;
use crate::proxy::buffer::{Buffer, BufferPool};
use crate::proxy::transport::Transport;

/// Sessions that are remembered for one endpoint, by each worker.
const SESSIONS: usize = 8;

/// How TLS is spoken to the endpoints of one Backend, for all workers.
pub struct Originator {
    made_of: Arc<BackendTls>,
    inside: EndpointProtocol,
    config: ClientConfig,
    name: ServerName<'static>,
}

impl fmt::Debug for Originator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Originator").field(&self.made_of).finish()
    }
}

impl Originator {
    /// Speaks TLS as `tls` says, with `inside` in it.
    pub fn new(tls: &Arc<BackendTls>, inside: EndpointProtocol) -> Result<Self, ConfigError> {
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
        config.alpn_protocols = named(match inside {
            EndpointProtocol::Http1 => &[HTTP1],
            EndpointProtocol::Http2 => &[H2],
            EndpointProtocol::Negotiated => &[H2, HTTP1],
            EndpointProtocol::Bytes => &[],
        });
        let name = ServerName::try_from(tls.server_name.to_string())
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self {
            made_of: Arc::clone(tls),
            inside,
            config,
            name,
        })
    }

    /// Whether this was made of the same.
    pub(super) fn is(&self, tls: &Arc<BackendTls>, inside: EndpointProtocol) -> bool {
        self.inside == inside && self.made_of == *tls
    }

    /// For one endpoint and one worker: another endpoint has other keys for its tickets, and another worker
    /// would wait for a lock.
    pub fn connector(self: &Arc<Self>) -> Connector {
        let mut config = self.config.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        let http1 = (self.inside == EndpointProtocol::Negotiated).then(|| {
            let mut config = config.clone();
            config.alpn_protocols = named(&[HTTP1]);
            Arc::new(config)
        });
        Connector {
            made_by: Arc::clone(self),
            config: Arc::new(config),
            http1,
        }
    }
}

fn named(names: &[&[u8]]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.to_vec()).collect()
}

/// What an endpoint is offered to speak inside TLS, where it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Whatever its Backend speaks: where that leaves a choice, its answer says what it is.
    Any,
    /// HTTP/1.1 at the most: for a request that needs a connection of its own.
    Http1,
}

/// Speaks TLS to one endpoint, and resumes its sessions.
#[derive(Debug)]
pub struct Connector {
    made_by: Arc<Originator>,
    config: Arc<ClientConfig>,
    /// The same without a choice, where there is one.
    http1: Option<Arc<ClientConfig>>,
}

impl Connector {
    /// Whether this was made by the same.
    pub fn is_by(&self, originator: &Arc<Originator>) -> bool {
        Arc::ptr_eq(&self.made_by, originator)
    }

    /// Begins TLS on a connection just made.
    pub fn begin(
        &self,
        socket: TcpStream,
        offer: Offer,
        pool: &Rc<BufferPool>,
    ) -> io::Result<Connecting> {
        let config = match (offer, &self.http1) {
            (Offer::Http1, Some(http1)) => http1,
            _ => &self.config,
        };
        let (config, name) = (Arc::clone(config), self.made_by.name.clone());
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
