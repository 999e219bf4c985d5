//! How a hold finds lastcall from inside a pod: the hook service's name, address and certificate
//! authority, which the pod's init container left beside this program, and the pod's own token.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use serde::{Deserialize, Serialize};

use crate::dns::{self, Answer, Resolver};
use crate::tls;

/// Where the init container puts this program and what it has to know.
pub const FOLDER: &str = "/.lastcall";
/// Where the pod's token is mounted.
pub const TOKEN: &str = "/.lastcall-token/token";
/// The file beside the program.
pub const SERVICE_FILE: &str = "service.json";

/// How long a connection may take before the next address is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The hook service, as it was when the pod was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookService {
    /// Its name in the cluster without the cluster's domain: `lastcall-hook.lastcall.svc`. Also the name in
    /// its certificate.
    pub name: String,
    /// Its ClusterIP.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The certificate authority of its certificate, PEM.
    pub ca: String,
}

/// Whose hold it is, and where the files are that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The container whose preStop hook this is.
    pub container: String,
    /// What names the hook service.
    pub service: Service,
    /// The pod's projected service account token.
    pub token: PathBuf,
}

/// What names the hook service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// The file that the init container wrote.
    File(PathBuf),
    /// The command line.
    Given(HookService),
}

impl Pod {
    /// The container's hold, with the files where the init container and the kubelet put them.
    pub fn new(container: String) -> Self {
        Self {
            container,
            service: Service::File(Path::new(FOLDER).join(SERVICE_FILE)),
            token: PathBuf::from(TOKEN),
        }
    }

    pub(crate) fn service(&self) -> io::Result<HookService> {
        let file = match &self.service {
            Service::Given(service) => return Ok(service.clone()),
            Service::File(file) => file,
        };
        let text = std::fs::read(file).map_err(|error| named(file, &error))?;
        serde_json::from_slice(&text).map_err(|error| named(file, &io::Error::from(error)))
    }

    /// Read for each call: the kubelet renews it.
    pub(crate) fn token(&self) -> io::Result<String> {
        let token =
            std::fs::read_to_string(&self.token).map_err(|error| named(&self.token, &error))?;
        Ok(token.trim().to_owned())
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl HookService {
    /// Connects: to the address that was known when the pod was made, and where that does not answer to
    /// those the name has now (the service was made anew).
    pub(crate) fn connect(
        &self,
        silence: Duration,
    ) -> io::Result<StreamOwned<ClientConnection, std::net::TcpStream>> {
        let known = SocketAddr::new(self.address, self.port);
        tls::connect(known, self, CONNECT_LIMIT, silence).or_else(|first| {
            let Answer::Addresses(addresses) = Resolver::of_this_pod()?.lookup(&self.name)? else {
                return Err(first);
            };
            let others = addresses.into_iter().filter(|other| *other != self.address);
            others
                .map(|other| SocketAddr::new(other, self.port))
                .find_map(|other| tls::connect(other, self, CONNECT_LIMIT, silence).ok())
                .ok_or(first)
        })
    }

    /// Whether lastcall is no longer installed: its name is gone while the cluster's own name resolves by
    /// the same resolver, and its address does not answer. In any doubt it is installed (Law 5).
    pub(crate) fn is_gone(&self) -> bool {
        let known = SocketAddr::new(self.address, self.port);
        let asked = Resolver::of_this_pod().and_then(|resolver| {
            Ok((
                resolver.lookup(&self.name)?,
                resolver.lookup(dns::CLUSTERS_OWN)?,
            ))
        });
        matches!(asked, Ok((Answer::NoSuchName, Answer::Addresses(_))))
            && std::net::TcpStream::connect_timeout(&known, CONNECT_LIMIT).is_err()
    }
}
