//! Every protocol at once through a rolling update, in clear text and in TLS whose certificate changes meanwhile: work
//! that ends by itself ends whole. And the control: pods that no webhook has seen lose some of each kind.

mod app;
mod frames;
mod load;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use self::app::{RAW, RPC, UNARY, WEB};
use self::load::{Clients, HOST, Kind, Ports};
use crate::app::App;
use crate::cluster::{LIMIT, Namespace, object, wait_until};
use crate::command::{run, say, tree};
use crate::installation::{Installed, Mode, shared};
use crate::support::tls::{Authority, Issued};

const PORTS: Ports = Ports {
    http: 80,
    https: 443,
    tcp: 5000,
    tls: 5443,
};

/// The image of the app: of this program, or one that was brought.
fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        std::env::var("LASTCALL_E2E_APP_IMAGE").unwrap_or_else(|_| {
            let own = std::env::current_exe().unwrap().display().to_string();
            let script = tree("tests/e2e/app_image").display().to_string();
            run(&script, &[&own]).trim().to_owned()
        })
    })
}

/// The Secret, with this certificate.
fn secret(issued: &Issued) -> String {
    let indented = |pem: &str| pem.trim_end().replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: shop}}\ntype: kubernetes.io/tls\nstringData:\n  \
         tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        indented(&issued.chain),
        indented(&issued.key)
    )
}

/// One Backend for each of the app's ports, all of the same pods, and one LoadBalancer before all of them.
fn balancing() -> String {
    let backend = |name: &str, protocol: &str| {
        format!(
            "apiVersion: lastcall.dev/v1alpha1\nkind: Backend\nmetadata: {{name: {name}}}\nspec:\n  \
             service: {{name: app, port: {name}}}\n  protocol: {protocol}\n  \
             connectionDraining: {{timeoutSeconds: 60}}\n---\n"
        )
    };
    let Ports {
        http,
        https,
        tcp,
        tls,
    } = PORTS;
    let certificate = "tls: {certificateRefs: [{name: shop}]}";
    let call = UNARY.rsplit_once('/').unwrap().0;
    let load_balancer = format!(
        "apiVersion: lastcall.dev/v1alpha1\nkind: LoadBalancer\nmetadata: {{name: app}}\nspec:\n  listeners:\n  \
         - {{name: http, port: {http}, protocol: HTTP}}\n  \
         - {{name: https, port: {https}, protocol: HTTPS, {certificate}}}\n  \
         - {{name: tcp, port: {tcp}, protocol: TCP}}\n  \
         - {{name: tls, port: {tls}, protocol: TLS, {certificate}}}\n  routes:\n  \
         - {{matches: [{{path: {{value: {call}}}}}], backends: [{{name: rpc}}]}}\n  \
         - {{matches: [{{path: {{value: /}}}}], backends: [{{name: web}}]}}\n  \
         defaultBackend: {{name: raw}}\n  service: {{type: ClusterIP}}\n"
    );
    [
        backend("web", "HTTP"),
        backend("rpc", "GRPC"),
        backend("raw", "TCP"),
        load_balancer,
    ]
    .concat()
}

/// The app's Service and Deployment. It passes `PodSecurity` restricted.
fn workload(pull: &str, record: &str, labels: &str) -> String {
    let image = image();
    let port = |name: &str, number: u16| format!("{{name: {name}, containerPort: {number}}}");
    let ports = [port("web", WEB), port("rpc", RPC), port("raw", RAW)].join(", ");
    let services = [("web", 80), ("rpc", 81), ("raw", 82)]
        .map(|(name, number)| format!("{{name: {name}, port: {number}, targetPort: {name}}}"));
    let services = services.join(", ");
    format!(
        r"apiVersion: v1
kind: Service
metadata: {{name: app}}
spec:
  selector: {{app: app}}
  ports: [{services}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: app}}}}
  template:
    metadata: {{labels: {{app: app{labels}}}}}
    spec:
      terminationGracePeriodSeconds: 30
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: app
        image: {image}
        imagePullPolicy: {pull}
        command: [/app, protocols::app::the_app, --exact, --ignored, --nocapture]
        env:
        - {{name: RECORD, value: '{record}'}}
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: POD_UID, valueFrom: {{fieldRef: {{fieldPath: metadata.uid}}}}}}
        - {{name: NAME, value: $(POD_NAME)/$(POD_UID)}}
        ports: [{ports}]
        readinessProbe: {{tcpSocket: {{port: web}}, periodSeconds: 1}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"
    )
}

/// Deploys all of it, and waits until it is served.
#[track_caller]
fn deploy<'a>(lastcall: &'a Installed, purpose: &str, own: &Issued, labels: &str) -> App<'a> {
    let space = Namespace::new(purpose, &["lastcall.dev/drain=enabled"]);
    let mut app = App::prepare(lastcall, space);
    let workload = app.with_made(|made| workload(made.pull, made.record, labels));
    app.space
        .apply(&[secret(own), balancing(), workload].join("---\n"));
    app.reach();
    app
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(der).unwrap();
    roots
}

/// The certificate that a new client is shown.
fn shown(address: SocketAddr, roots: &RootCertStore) -> Result<Vec<u8>, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(HOST).unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let shake = || -> std::io::Result<()> {
        let mut stream = std::net::TcpStream::connect(address)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(())
    };
    let mut shake = shake;
    shake().map_err(|error| error.to_string())?;
    Ok(session.peer_certificates().unwrap()[0].to_vec())
}

#[test]
fn a_rolling_update_ends_no_work_of_any_protocol_and_a_new_certificate_no_connection() {
    let lastcall = shared(Mode::Exec);
    let authority = Authority::new();
    let (own, next) = (authority.issue(&[HOST]), authority.issue(&[HOST]));
    let app = deploy(&lastcall, "protocols", &own, "");
    let roots = roots(&authority);
    let ports = [PORTS.https, PORTS.tls].map(|port| SocketAddr::new(app.address().ip(), port));
    for address in ports {
        wait_until("the certificate", LIMIT, || {
            (shown(address, &roots)? == own.der())
                .then_some(())
                .ok_or("another".to_owned())
        });
    }
    let clients = Clients::start(app.address().ip(), PORTS, roots.clone());
    clients.wait_for_more(5);
    app.space.kubectl(&["rollout", "restart", "deployment/app"]);
    // While pods are replaced, and nothing waits for the other.
    app.space.apply(&secret(&next));
    for address in ports {
        wait_until("the new certificate", LIMIT, || {
            let shown = shown(address, &roots)?;
            (shown == next.der())
                .then_some(())
                .ok_or("the old".to_owned())
        });
    }
    app.rolled_out();
    app.settle(4);
    clients.wait_for_more(5);
    let ended = clients.end();
    say(&format!("done: {:?}", ended.done));
    ended.nothing_failed();
    app.judge().clean(4);
}

#[test]
fn without_the_webhook_the_same_update_loses_work_of_every_protocol() {
    let lastcall = shared(Mode::Exec);
    let authority = Authority::new();
    let own = authority.issue(&[HOST]);
    let labels = ", lastcall.dev/drain: disabled";
    let app = deploy(&lastcall, "protocols-control", &own, labels);
    for name in ["web", "rpc", "raw"] {
        wait_until("the pods to be counted as unprotected", LIMIT, || {
            let backend = object(&app.space.name, &["backend", name])?;
            (backend["status"]["unprotected"] == 4)
                .then_some(())
                .ok_or(backend.to_string())
        });
    }
    let clients = Clients::start(app.address().ip(), PORTS, roots(&authority));
    clients.wait_for_more(5);
    for _ in 0..2 {
        app.space.kubectl(&["rollout", "restart", "deployment/app"]);
        app.rolled_out();
        app.settle(4);
    }
    clients.wait_for_more(2);
    let ended = clients.end();
    let judge = app.judge();
    let in_flight: u64 = judge
        .stopped()
        .filter_map(|life| life.summary().in_flight_at_sigterm)
        .sum();
    let lost = [
        Kind::Http1,
        Kind::Http2,
        Kind::Unary,
        Kind::Streaming,
        Kind::WebSocket,
        Kind::Tcp,
    ]
    .map(|kind| (kind, ended.failed(kind)));
    say(&format!(
        "without the webhook: lost {lost:?}, {in_flight} in flight at SIGTERM"
    ));
    assert!(lost.iter().all(|(_, count)| *count > 0) && in_flight > 0);
}
