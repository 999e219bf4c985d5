//! Envoy, from the wheel that `PyPI` has (tests/install.sh bench puts it below target/).

use std::fs;

use serde_json::{Value, json};

use super::{Launch, Setting, built, path, told};
use crate::work::{Ask, Speaks};

const TYPE: &str = "type.googleapis.com/envoy.extensions";

pub fn version() -> anyhow::Result<String> {
    let line = told(&built("envoy/envoy")?, "--version")?;
    // ".../envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
    let number = line.split('/').find(|part| {
        let mut numbers = part.split('.');
        numbers.clone().count() == 3 && numbers.all(|n| n.parse::<u32>().is_ok())
    });
    Ok(format!("Envoy {}", number.unwrap_or(&line)))
}

pub fn configure(setting: &Setting<'_>) -> anyhow::Result<Launch> {
    let config = setting.folder.join("envoy.json");
    let value = json!({"static_resources": {
        "listeners": [listener(setting)],
        "clusters": [cluster(setting)],
    }});
    fs::write(&config, serde_json::to_string_pretty(&value)?)?;
    let (config, workers) = (path(&config)?, setting.workers.to_string());
    let args = [
        ["-c", &config],
        ["--concurrency", &workers],
        ["-l", "error"],
    ];
    let args: Vec<&str> = args
        .concat()
        .into_iter()
        .chain(["--disable-hot-restart"])
        .collect();
    Ok(Launch::new(built("envoy/envoy")?, &args))
}

fn listener(setting: &Setting<'_>) -> Value {
    let filter = match setting.work.speaks {
        Speaks::Tcp => json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": format!("{TYPE}.filters.network.tcp_proxy.v3.TcpProxy"),
                "stat_prefix": "tcp",
                "cluster": "web",
            },
        }),
        _ => http(setting),
    };
    let mut chain = json!({"filters": [filter]});
    if setting.work.speaks == Speaks::Https {
        chain["transport_socket"] = tls(setting);
    }
    json!({
        "address": address(setting.address),
        "filter_chains": [chain],
    })
}

fn address(address: std::net::SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}

fn tls(setting: &Setting<'_>) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": format!("{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": {
                "alpn_protocols": ["http/1.1"],
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_2",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificates": [{
                    "certificate_chain": {"filename": setting.certificate.chain},
                    "private_key": {"filename": setting.certificate.key},
                }],
            },
        },
    })
}

fn http(setting: &Setting<'_>) -> Value {
    let (codec, scheme) = match setting.work.speaks {
        Speaks::Http2 | Speaks::Grpc => ("HTTP2", "http"),
        Speaks::Https => ("HTTP1", "https"),
        Speaks::Http | Speaks::Tcp => ("HTTP1", "http"),
    };
    let peer = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";
    let forwarded = format!("for={peer};proto={scheme};host=\"%REQ(:AUTHORITY)%\"");
    // X-Forwarded-For, X-Forwarded-Proto and X-Request-Id are its own doing.
    let fields = [
        ("x-forwarded-host", "%REQ(:AUTHORITY)%"),
        ("x-real-ip", peer),
        ("forwarded", &forwarded),
    ];
    let fields: Vec<Value> = fields
        .iter()
        .map(|(key, value)| {
            json!({
                "header": {"key": key, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            })
        })
        .collect();
    let mut manager = json!({
        "@type": format!(
            "{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
        ),
        "stat_prefix": "http",
        "codec_type": codec,
        "use_remote_address": true,
        "via": "1.1 envoy",
        "route_config": {
            "request_headers_to_add": fields,
            "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "web"}}],
            }],
        },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": format!("{TYPE}.filters.http.router.v3.Router"),
                "suppress_envoy_headers": true,
            },
        }],
    });
    if setting.work.ask == Ask::WebSocket {
        manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    }
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    })
}

fn cluster(setting: &Setting<'_>) -> Value {
    let endpoint = json!({"endpoint": {"address": address(setting.backend)}});
    let mut cluster = json!({
        "name": "web",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "web",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    });
    if setting.work.speaks == Speaks::Grpc {
        let options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
    }
    cluster
}
