//! lastcall itself, from a folder of YAML.

use std::fs;
use std::os::unix::fs::symlink;

use super::{Launch, Setting, path, told};
use crate::work::Speaks;

/// The program that was built with this one.
const PROGRAM: &str = env!("CARGO_BIN_EXE_lastcall");

pub fn version() -> anyhow::Result<String> {
    told(PROGRAM, "--version")
}

pub fn configure(setting: &Setting<'_>) -> anyhow::Result<Launch> {
    let objects = setting.folder.join("objects");
    fs::create_dir(&objects)?;
    symlink(&setting.certificate.folder, objects.join("site"))?;
    let listener = match setting.work.speaks {
        Speaks::Http | Speaks::Http2 | Speaks::Grpc => "protocol: HTTP",
        Speaks::Https => "protocol: HTTPS, tls: {certificateRefs: [{name: site}]}",
        Speaks::Tcp => "protocol: TCP",
    };
    let protocol = match setting.work.speaks {
        Speaks::Http | Speaks::Https | Speaks::Http2 => "HTTP",
        Speaks::Grpc => "GRPC",
        Speaks::Tcp => "TCP",
    };
    let text = format!(
        "apiVersion: lastcall.dev/v1alpha1
kind: LoadBalancer
metadata: {{name: bench}}
spec:
  listeners: [{{name: bench, port: {}, {listener}}}]
  timeouts: {{idle: 300s}}
  defaultBackend: {{name: web}}
---
apiVersion: lastcall.dev/v1alpha1
kind: Backend
metadata: {{name: web}}
spec:
  protocol: {protocol}
  static: [{{address: {}, port: {}}}]
",
        setting.address.port(),
        setting.backend.ip(),
        setting.backend.port(),
    );
    fs::write(objects.join("bench.yaml"), text)?;
    let (objects, socket) = (path(&objects)?, path(&setting.folder.join("admin.sock"))?);
    let (workers, ip) = (
        setting.workers.to_string(),
        setting.address.ip().to_string(),
    );
    let args = [
        ["--workers", &workers],
        ["--metrics-address", "off"],
        ["--config", &objects],
        ["--admin-socket", &socket],
        ["--listen-address", &ip],
        ["--log-level", "warn"],
    ];
    let args: Vec<&str> = ["standalone"].into_iter().chain(args.concat()).collect();
    Ok(Launch::new(PROGRAM.to_owned(), &args))
}
