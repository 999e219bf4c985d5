//! nginx, as Debian has it.

use std::fs;
use std::path::Path;

use super::{Launch, Part, Setting, path, program, told};
use crate::work::{Ask, Speaks, Work};

/// Debian's module for TCP, in a package of its own.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The fields that lastcall sets, for `proxy_set_header` and `grpc_set_header` alike.
const FIELDS: &[(&str, &str)] = &[
    ("X-Forwarded-Proto", "$scheme"),
    ("X-Forwarded-Host", "$http_host"),
    ("X-Real-IP", "$remote_addr"),
    (
        "Forwarded",
        "'for=$remote_addr;proto=$scheme;host=\"$http_host\"'",
    ),
    ("X-Request-Id", "$request_id"),
    ("Via", "'1.1 nginx'"),
];

pub fn version() -> anyhow::Result<String> {
    let line = told(&program("nginx")?, "-v")?;
    Ok(line.trim_start_matches("nginx version: ").to_owned())
}

pub fn part(work: &Work) -> Part {
    if work.speaks == Speaks::Tcp && !Path::new(STREAM).exists() {
        return Part::LeftOut("its module for TCP is not installed (libnginx-mod-stream)");
    }
    Part::Takes
}

pub fn configure(setting: &Setting<'_>, bare: bool) -> anyhow::Result<Launch> {
    let config = setting.folder.join("nginx.conf");
    let load = match setting.work.speaks {
        Speaks::Tcp => format!("load_module {STREAM};\n"),
        _ => String::new(),
    };
    let inner = match setting.work.speaks {
        Speaks::Tcp => stream(setting),
        _ => http(setting, bare),
    };
    let text = format!(
        "{load}daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 24000; }}
{inner}"
    );
    fs::write(&config, text)?;
    let (prefix, config) = (path(setting.folder)?, path(&config)?);
    let args = ["-p", &prefix, "-e", "stderr", "-c", &config];
    Ok(Launch::new(program("nginx")?, &args))
}

fn stream(setting: &Setting<'_>) -> String {
    // As large as lastcall's own.
    let buffer = if setting.work.ask == Ask::Bulk {
        "64k"
    } else {
        "16k"
    };
    format!(
        "stream {{
  upstream web {{ server {}; }}
  server {{
    listen {};
    tcp_nodelay on;
    proxy_buffer_size {buffer};
    proxy_pass web;
  }}
}}
",
        setting.backend, setting.address
    )
}

fn http(setting: &Setting<'_>, bare: bool) -> String {
    let Setting {
        address,
        backend,
        certificate,
        ..
    } = setting;
    let (listen, tls) = match setting.work.speaks {
        Speaks::Http2 | Speaks::Grpc => (" http2", String::new()),
        Speaks::Https => {
            let (chain, key) = (&certificate.chain, &certificate.key);
            let tls = format!(
                "\n    ssl_certificate {chain};\n    ssl_certificate_key {key};\n    \
                 ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_session_cache shared:tls:10m;"
            );
            (" ssl", tls)
        }
        Speaks::Http | Speaks::Tcp => ("", String::new()),
    };
    format!(
        "http {{
  access_log off;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  http2_max_concurrent_streams 256;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  upstream web {{
    server {backend};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {address}{listen};{tls}
    location / {{
{}    }}
  }}
}}
",
        location(setting, bare)
    )
}

fn location(setting: &Setting<'_>, bare: bool) -> String {
    let grpc = setting.work.speaks == Speaks::Grpc;
    let module = if grpc { "grpc" } else { "proxy" };
    let mut lines = vec![];
    if grpc {
        lines.push("grpc_pass grpc://web".to_owned());
    } else {
        lines.push("proxy_pass http://web".to_owned());
        lines.push("proxy_http_version 1.1".to_owned());
    }
    match setting.work.ask {
        Ask::WebSocket => {
            lines.push("proxy_set_header Connection upgrade".to_owned());
            lines.push("proxy_set_header Upgrade $http_upgrade".to_owned());
            lines.push("proxy_read_timeout 300s".to_owned());
        }
        // By default it would write the answer to a file, and read it from there.
        Ask::Large => {
            lines.push("proxy_max_temp_file_size 0".to_owned());
            lines.push("proxy_buffers 8 32k".to_owned());
            lines.push("proxy_buffer_size 32k".to_owned());
        }
        _ => {}
    }
    if !grpc && setting.work.ask != Ask::WebSocket {
        lines.push("proxy_set_header Connection ''".to_owned());
    }
    let always = [("Host", "$http_host"), ("X-Forwarded-For", "$remote_addr")];
    let more = if bare { &[][..] } else { FIELDS };
    for (name, value) in always.iter().chain(more) {
        lines.push(format!("{module}_set_header {name} {value}"));
    }
    if !bare {
        lines.push("add_header Via '1.1 nginx'".to_owned());
    }
    let lines = lines.join(";\n      ");
    format!("      {lines};\n")
}
