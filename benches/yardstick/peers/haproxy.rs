//! HAProxy, as Debian has it.

use std::fs;

use super::{Launch, Setting, path, program, told};
use crate::work::{Ask, Speaks};

/// The fields that lastcall sets.
const FIELDS: &str = "  unique-id-format %{+X}o%ci%cp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto SCHEME
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Real-IP %[src]
  http-request set-header Forwarded for=%[src];proto=SCHEME;host=\"%[req.hdr(Host)]\"
  http-request add-header Via \"1.1 haproxy\"
  http-response add-header Via \"1.1 haproxy\"
";

pub fn version() -> anyhow::Result<String> {
    let line = told(&program("haproxy")?, "-v")?;
    Ok(line.split(" - ").next().unwrap_or_default().to_owned())
}

pub fn configure(setting: &Setting<'_>, bare: bool) -> anyhow::Result<Launch> {
    let config = setting.folder.join("haproxy.cfg");
    let speaks = setting.work.speaks;
    let both = &setting.certificate.both;
    let bind = match speaks {
        Speaks::Http | Speaks::Tcp => String::new(),
        Speaks::Https => format!("ssl crt {both} alpn http/1.1"),
        Speaks::Http2 | Speaks::Grpc => "proto h2".to_owned(),
    };
    let protocol = if speaks == Speaks::Grpc {
        "proto h2"
    } else {
        ""
    };
    let scheme = if speaks == Speaks::Https {
        "https"
    } else {
        "http"
    };
    let (mode, http) = match speaks {
        // With it HAProxy is at its best for much data, and no worse for little: it begins with a buffer.
        Speaks::Tcp if setting.work.ask == Ask::Bulk => ("tcp", "  option splice-response\n"),
        Speaks::Tcp => ("tcp", ""),
        _ => ("http", "  option forwardfor\n  http-reuse always\n"),
    };
    let fields = match speaks {
        Speaks::Tcp => String::new(),
        _ if bare => String::new(),
        _ => FIELDS.replace("SCHEME", scheme),
    };
    let text = format!(
        "global
  nbthread {}
  maxconn 12000
  no strict-limits
  tune.h2.max-concurrent-streams 256
defaults
  mode {mode}
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
  timeout http-request 10s
{http}frontend clients
  bind {} {bind}
{fields}  default_backend web
backend web
  server one {} {protocol}
",
        setting.workers, setting.address, setting.backend,
    );
    fs::write(&config, text)?;
    let args = ["-q", "-db", "-f", &path(&config)?];
    Ok(Launch::new(program("haproxy")?, &args))
}
