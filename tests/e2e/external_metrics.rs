//! A small external-metrics API, served by this process behind an `APIService`: what a `HorizontalPodAutoscaler` asks.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::cluster::{Namespace, own_address};
use crate::command::attempt;

/// The API's group and version, and the name of its one metric.
const GROUP: &str = "external.metrics.k8s.io";
const VERSION: &str = "v1beta1";
pub const METRIC: &str = "wanted-pods";

/// The API. It is taken away with the value.
pub struct ExternalMetrics {
    value: Arc<AtomicU32>,
}

impl ExternalMetrics {
    /// Serves the metric with this value, by a Service in the namespace.
    #[track_caller]
    pub fn serve(space: &Namespace, value: u32) -> Self {
        let address = own_address();
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let value = Arc::new(AtomicU32::new(value));
        let shown = Arc::clone(&value);
        let config = Arc::new(tls());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, shown) = (Arc::clone(&config), Arc::clone(&shown));
                std::thread::spawn(move || answer_all(stream, config, &shown));
            }
        });
        space.apply(&registration(&space.name, address, port));
        space.kubectl(&[
            "wait",
            "--for=condition=Available",
            &api_service(),
            "--timeout=60s",
        ]);
        Self { value }
    }

    /// Changes the metric.
    pub fn set(&self, value: u32) {
        self.value.store(value, Ordering::SeqCst);
    }
}

impl Drop for ExternalMetrics {
    fn drop(&mut self) {
        // While it is registered and does not answer, no namespace can be deleted.
        let _ = attempt("kubectl", &["delete", &api_service()], "");
    }
}

fn api_service() -> String {
    format!("apiservice/{VERSION}.{GROUP}")
}

fn registration(namespace: &str, address: IpAddr, port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: metrics}}
spec: {{ports: [{{port: 443, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: metrics, labels: {{kubernetes.io/service-name: metrics}}}}
addressType: IPv4
ports: [{{port: {port}, protocol: TCP}}]
endpoints: [{{addresses: ['{address}'], conditions: {{ready: true}}}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: {VERSION}.{GROUP}}}
spec:
  group: {GROUP}
  version: {VERSION}
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{namespace: {namespace}, name: metrics, port: 443}}
"
    )
}

fn tls() -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(["metrics".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap()
}

/// HTTP/1.1 as far as the API server's proxy needs it: GETs without a body on a kept connection.
fn answer_all(stream: TcpStream, config: Arc<ServerConfig>, value: &AtomicU32) {
    let Ok(connection) = ServerConnection::new(config) else {
        return;
    };
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut path = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            if !matches!(reader.read_line(&mut line), Ok(length) if length > 0) {
                return;
            }
            if path.is_empty() {
                line.split(' ')
                    .nth(1)
                    .unwrap_or_default()
                    .clone_into(&mut path);
            }
            if line == "\r\n" {
                break;
            }
        }
        let body = answer(&path, value.load(Ordering::SeqCst));
        let (status, body) = match body {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", "{}".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let message = [head, body].concat();
        if reader.get_mut().write_all(message.as_bytes()).is_err() {
            return;
        }
    }
}

/// The list of resources, or the metric's value.
fn answer(path: &str, value: u32) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let rest = path.strip_prefix(&format!("/apis/{GROUP}/{VERSION}"))?;
    if rest.is_empty() {
        return Some(format!(
            r#"{{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"{GROUP}/{VERSION}","resources":[{{"name":"{METRIC}","singularName":"","namespaced":true,"kind":"ExternalMetricValueList","verbs":["get"]}}]}}"#
        ));
    }
    rest.ends_with(&format!("/{METRIC}")).then(|| {
        format!(
            r#"{{"kind":"ExternalMetricValueList","apiVersion":"{GROUP}/{VERSION}","metadata":{{}},"items":[{{"metricName":"{METRIC}","metricLabels":{{}},"timestamp":"2026-01-01T00:00:00Z","value":"{value}"}}]}}"#
        )
    })
}
