//! The proxies that are compared, each configured for the same job: one worker, connections to the backend
//! kept, no access log, no limits that a run would meet.
//!
//! lastcall tells backends of the client in seven fields and adds `Via` and a request id. Its peers are
//! measured twice: with the same fields, and bare, with nothing but `X-Forwarded-For`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::process::{self, Running};

/// One proxy, ready to be started.
pub struct Peer {
    /// Its name in the report.
    pub name: &'static str,
    /// As its program tells it.
    pub version: String,
    /// Where it will listen.
    pub address: SocketAddr,
    /// With `X-Forwarded-For` only.
    pub bare: bool,
    program: String,
    args: Vec<String>,
}

impl Peer {
    /// Starts it on the CPU.
    pub fn start(&self, cpu: &str) -> anyhow::Result<Running> {
        Running::start(cpu, &self.program, &self.args, self.address)
    }
}

/// All of them; their configurations are written to `folder`.
pub fn all(folder: &Path, backend: SocketAddr) -> anyhow::Result<Vec<Peer>> {
    Ok(vec![
        lastcall(folder, backend)?,
        haproxy(folder, backend, false)?,
        nginx(folder, backend, false)?,
        haproxy(folder, backend, true)?,
        nginx(folder, backend, true)?,
    ])
}

fn lastcall(folder: &Path, backend: SocketAddr) -> anyhow::Result<Peer> {
    let address = process::free_address()?;
    let objects = folder.join("lastcall");
    fs::create_dir(&objects)?;
    let (ip, port) = (backend.ip(), backend.port());
    let text = format!(
        "apiVersion: lastcall.dev/v1alpha1
kind: LoadBalancer
metadata: {{name: bench}}
spec:
  listeners: [{{name: http, port: {}}}]
  timeouts: {{idle: 300s}}
  defaultBackend: {{name: web}}
---
apiVersion: lastcall.dev/v1alpha1
kind: Backend
metadata: {{name: web}}
spec:
  static: [{{address: {ip}, port: {port}}}]
",
        address.port()
    );
    fs::write(objects.join("bench.yaml"), text)?;
    let socket = folder.join("admin.sock");
    let program = env!("CARGO_BIN_EXE_lastcall").to_owned();
    let args = ["standalone", "--workers", "1", "--metrics-address", "off"];
    let mut args: Vec<String> = args.iter().map(ToString::to_string).collect();
    for (name, value) in [
        ("--config", path(&objects)?),
        ("--admin-socket", path(&socket)?),
        ("--listen-address", address.ip().to_string()),
        ("--log-level", "warn".to_owned()),
    ] {
        args.extend([name.to_owned(), value]);
    }
    Ok(Peer {
        name: "lastcall",
        version: version(&program, "--version")?,
        address,
        bare: false,
        program,
        args,
    })
}

const HAPROXY_FIELDS: &str = "  unique-id-format %{+X}o%ci%cp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Real-IP %[src]
  http-request set-header Forwarded for=%[src];proto=http;host=\"%[req.hdr(Host)]\"
  http-request add-header Via \"1.1 haproxy\"
  http-response add-header Via \"1.1 haproxy\"
";

fn haproxy(folder: &Path, backend: SocketAddr, bare: bool) -> anyhow::Result<Peer> {
    let address = process::free_address()?;
    let name = if bare { "haproxy-bare" } else { "haproxy" };
    let text = format!(
        "global
  nbthread 1
  maxconn 12000
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
  timeout http-request 10s
  option forwardfor
  http-reuse always
frontend http
  bind {address}
{}  default_backend web
backend web
  server one {backend}
",
        if bare { "" } else { HAPROXY_FIELDS }
    );
    let config = folder.join(format!("{name}.cfg"));
    fs::write(&config, text)?;
    let program = program("haproxy")?;
    Ok(Peer {
        name,
        version: version(&program, "-v")?,
        address,
        bare,
        program,
        args: vec![
            "-q".to_owned(),
            "-db".to_owned(),
            "-f".to_owned(),
            path(&config)?,
        ],
    })
}

const NGINX_FIELDS: &str = "
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header Forwarded 'for=$remote_addr;proto=$scheme;host=\"$http_host\"';
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header Via '1.1 nginx';
      add_header Via '1.1 nginx';";

fn nginx(folder: &Path, backend: SocketAddr, bare: bool) -> anyhow::Result<Peer> {
    let address = process::free_address()?;
    let name = if bare { "nginx-bare" } else { "nginx" };
    let prefix = folder.join(name);
    fs::create_dir(&prefix)?;
    let text = format!(
        "daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 12000; }}
http {{
  access_log off;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  upstream web {{
    server {backend};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://web;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;{}
    }}
  }}
}}
",
        if bare { "" } else { NGINX_FIELDS }
    );
    let config = prefix.join("nginx.conf");
    fs::write(&config, text)?;
    let program = program("nginx")?;
    let args = ["-p", &path(&prefix)?, "-e", "stderr", "-c", &path(&config)?];
    Ok(Peer {
        name,
        version: version(&program, "-v")?,
        address,
        bare,
        args: args.iter().map(ToString::to_string).collect(),
        program,
    })
}

/// Where a program is; Debian keeps both peers in /usr/sbin, which users do not search.
fn program(name: &str) -> anyhow::Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    for folder in folders {
        let file = folder.join(name);
        if file.is_file() {
            return self::path(&file);
        }
    }
    bail!("{name} is missing: tests/install.sh bench installs it")
}

/// The first line that a program tells of itself.
fn version(program: &str, flag: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(flag)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    let line = line.split(" - ").next().unwrap_or_default();
    Ok(line.trim_start_matches("nginx version: ").to_owned())
}

fn path(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a path is no UTF-8")?.to_owned())
}
