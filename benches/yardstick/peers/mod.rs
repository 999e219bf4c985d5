//! The proxies that are compared, each configured for the same job: one worker, connections to the backend
//! kept, no access log, no limits that a run would meet.
//!
//! lastcall tells backends of the client in seven fields and adds `Via` and a request id. Its peers are given
//! the same fields. HAProxy and nginx are measured once more bare, with nothing but `X-Forwarded-For`.

mod envoy;
mod floor;
mod haproxy;
mod lastcall;
mod nginx;
mod pingora;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::backend::Addresses;
use crate::load::tls;
use crate::process::{self, Running};
use crate::work::{Ask, Speaks, Work};

/// A proxy that may be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// What all is about.
    Lastcall,
    /// From Debian; bare: with `X-Forwarded-For` only.
    Haproxy { bare: bool },
    /// From Debian; bare as above.
    Nginx { bare: bool },
    /// From `PyPI`.
    Envoy,
    /// A small program around the crate: benches/pingora.
    Pingora,
    /// What HTTP/2 costs at least with a library: benches/floor.
    Floor(Library),
}

/// What a floor is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The h2 crate, on the thread that accepts.
    H2,
    /// hyper's server.
    Hyper,
}

/// All of them, in the order of the report.
pub const ALL: &[Proxy] = &[
    Proxy::Lastcall,
    Proxy::Haproxy { bare: false },
    Proxy::Nginx { bare: false },
    Proxy::Envoy,
    Proxy::Pingora,
    Proxy::Haproxy { bare: true },
    Proxy::Nginx { bare: true },
    Proxy::Floor(Library::H2),
    Proxy::Floor(Library::Hyper),
];

/// What a configuration is written from.
pub struct Setting<'a> {
    /// The work it is for.
    pub work: &'a Work,
    /// Where it is written, empty.
    pub folder: &'a Path,
    /// Where the proxy is to listen.
    pub address: SocketAddr,
    /// What is behind it.
    pub backend: SocketAddr,
    /// Worker threads.
    pub workers: usize,
    /// What it shows clients.
    pub certificate: &'a Certificate,
}

/// A program with its arguments.
pub struct Launch {
    /// Its path.
    pub program: String,
    /// Its arguments, which name the configuration that was written.
    pub args: Vec<String>,
}

impl Launch {
    fn new(program: String, args: &[&str]) -> Self {
        Self {
            program,
            args: args.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The files of a certificate.
pub struct Certificate {
    /// The certificate.
    pub chain: String,
    /// Its key.
    pub key: String,
    /// Both in one.
    pub both: String,
    /// The folder of the first two, named and laid out as lastcall wants it.
    pub folder: PathBuf,
}

impl Certificate {
    /// Makes one with a key of P-256, in `folder`.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed([tls::NAME.to_owned()])?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let folder = folder.join("certificate");
        fs::create_dir(&folder)?;
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text)?;
            path(&file)
        };
        Ok(Self {
            chain: write("tls.crt", &chain)?,
            key: write("tls.key", &key)?,
            both: write("both.pem", &format!("{chain}{key}"))?,
            folder,
        })
    }
}

/// Whether a proxy is measured at some work.
pub enum Part {
    /// It is.
    Takes,
    /// It is not, because of this.
    LeftOut(&'static str),
    /// It was never meant to.
    None,
}

impl Proxy {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Proxy::Lastcall => "lastcall",
            Proxy::Haproxy { bare: false } => "haproxy",
            Proxy::Haproxy { bare: true } => "haproxy-bare",
            Proxy::Nginx { bare: false } => "nginx",
            Proxy::Nginx { bare: true } => "nginx-bare",
            Proxy::Envoy => "envoy",
            Proxy::Pingora => "pingora",
            Proxy::Floor(Library::H2) => "floor-h2",
            Proxy::Floor(Library::Hyper) => "floor-hyper",
        }
    }

    /// Whether it is one of those that people run.
    pub fn is_whole(self) -> bool {
        match self {
            Proxy::Lastcall | Proxy::Envoy | Proxy::Pingora => true,
            Proxy::Haproxy { bare } | Proxy::Nginx { bare } => !bare,
            Proxy::Floor(_) => false,
        }
    }

    /// Its version as its program tells it; an error says that it is not installed.
    pub fn version(self) -> anyhow::Result<String> {
        match self {
            Proxy::Lastcall => lastcall::version(),
            Proxy::Haproxy { .. } => haproxy::version(),
            Proxy::Nginx { .. } => nginx::version(),
            Proxy::Envoy => envoy::version(),
            Proxy::Pingora => pingora::version(),
            Proxy::Floor(library) => floor::version(library),
        }
    }

    /// Whether it has a part in some work.
    pub fn part(self, work: &Work) -> Part {
        match self {
            Proxy::Haproxy { bare: true } | Proxy::Nginx { bare: true } => {
                only(work.ask == Ask::Small && work.speaks == Speaks::Http)
            }
            Proxy::Floor(Library::H2) => only(matches!(work.speaks, Speaks::Http2 | Speaks::Grpc)),
            Proxy::Floor(Library::Hyper) => only(work.speaks == Speaks::Http2),
            Proxy::Pingora => pingora::part(work),
            Proxy::Nginx { bare: false } => nginx::part(work),
            Proxy::Lastcall | Proxy::Haproxy { bare: false } | Proxy::Envoy => Part::Takes,
        }
    }

    /// Writes its configuration.
    pub fn configure(self, setting: &Setting<'_>) -> anyhow::Result<Launch> {
        match self {
            Proxy::Lastcall => lastcall::configure(setting),
            Proxy::Haproxy { bare } => haproxy::configure(setting, bare),
            Proxy::Nginx { bare } => nginx::configure(setting, bare),
            Proxy::Envoy => envoy::configure(setting),
            Proxy::Pingora => pingora::configure(setting),
            Proxy::Floor(library) => floor::configure(setting, library),
        }
    }
}

fn only(takes: bool) -> Part {
    if takes { Part::Takes } else { Part::None }
}

/// A proxy that runs, with its configuration.
pub struct Started {
    /// The process.
    pub running: Running,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// Starts a proxy on the CPU, for some work before the backend.
pub fn start(
    proxy: Proxy,
    work: &Work,
    cpu: &str,
    workers: usize,
    backend: &Addresses,
) -> anyhow::Result<Started> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let certificate = Certificate::new(folder.path())?;
    let address = process::free_address()?;
    let empty = folder.path().join("proxy");
    fs::create_dir(&empty)?;
    let launch = proxy.configure(&Setting {
        work,
        folder: &empty,
        address,
        backend: backend.behind(work.speaks),
        workers,
        certificate: &certificate,
    })?;
    let running = Running::start(cpu, &launch.program, &launch.args, address)?;
    Ok(Started {
        running,
        address,
        _folder: folder,
    })
}

/// Where a program is; Debian keeps some in /usr/sbin, which users do not search.
fn program(name: &str) -> anyhow::Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    for folder in folders {
        let file = folder.join(name);
        if file.is_file() {
            return self::path(&file);
        }
    }
    bail!("{name} is not installed (tests/install.sh bench)")
}

/// A program that `make bench` builds or installs below target/.
fn built(file: &str) -> anyhow::Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(file);
    if !file.is_file() {
        bail!("{} is not there (make bench builds it)", file.display());
    }
    path(&file)
}

/// The first line that a program tells of itself.
fn told(program: &str, flag: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(flag)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty());
    Ok(line.unwrap_or_default().trim().to_owned())
}

fn path(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a path is no UTF-8")?.to_owned())
}
