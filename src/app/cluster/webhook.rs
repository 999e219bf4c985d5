//! The ports that speak TLS: the hook server's and the webhooks', with the certificate that lastcall makes for
//! itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::Router;
use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::{ResourceRequirements, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use kube::api::Api;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::configurator::Configurator;
use super::namespaces::Namespaces;
use super::{bind, patiently};
use crate::admission::certificate_store::CertificateStore;
use crate::admission::certificates::Certificates;
use crate::admission::validate::AllowedAnnotations;
use crate::admission::{
    self, Delivery, HookMode, HookService, LookupError, PodFacts, ReviewCounts, Reviewer, Settings,
    routes,
};
use crate::cli::run::{self, Run};
use crate::plan::cluster::selecting;
use crate::source::Observed;
use crate::tls_port;

/// How often the certificates are looked at: whether they are to be renewed, and whether the API server
/// knows by what to believe them.
const LOOK: Duration = Duration::from_mins(1);
/// Where pods ask: the Service's port, not the hook server's own.
const HOOK_SERVICE_PORT: u16 = 443;
/// `connectionDraining.timeoutSeconds` where no Backend says another.
const DRAIN_TIMEOUT_SECONDS: u32 = 300;

/// What the TLS ports show, and where pods ask.
pub(super) struct Prepared {
    store: CertificateStore,
    certificates: Certificates,
    hook_address: IpAddr,
}

/// Makes or reads the certificates, as soon as the hook Service is there.
pub(super) async fn prepare(args: &Run, client: &Client) -> Prepared {
    let services: Api<Service> = Api::namespaced(client.clone(), &args.namespace);
    let hook_address = patiently("the hook Service's address", async || {
        let service = services.get(&args.hook_service).await?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .unwrap_or_default();
        let address: IpAddr = address
            .parse()
            .with_context(|| format!("{} has the ClusterIP {address:?}", args.hook_service))?;
        anyhow::Ok(address)
    })
    .await;
    let dns = |service: &str| format!("{service}.{}.svc", args.namespace);
    let store = CertificateStore {
        client: client.clone(),
        namespace: args.namespace.clone(),
        secret: args.certificate_secret.clone(),
        names: vec![
            dns(&args.hook_service),
            dns(&args.webhook_service),
            hook_address.to_string(),
        ],
        mutating: vec![args.webhook_configuration.clone()],
        validating: vec![args.webhook_configuration.clone()],
    };
    let certificates = patiently("certificates", async || {
        store.certificates(SystemTime::now()).await
    })
    .await;
    Prepared {
        store,
        certificates,
        hook_address,
    }
}

/// What the webhooks work with besides the cluster.
pub(super) struct Reviewing {
    pub(super) configurator: Arc<Configurator>,
    pub(super) counts: Arc<ReviewCounts>,
}

/// Opens both ports. They stay open to the end of the process: hooks are answered as long as anybody is there.
pub(super) async fn serve(
    args: &Run,
    client: &Client,
    prepared: Prepared,
    hooks: Router,
    reviewing: Reviewing,
) -> anyhow::Result<()> {
    let shown = certified(&prepared.certificates)?;
    let (show, shown) = watch::channel(shown);
    let (settle, settings) = watch::channel(Arc::new(settings(args, &prepared)));
    let tls = tls_port::server_config(shown).context("TLS cannot be served")?;
    let reviewer = Arc::new(Reviewer {
        settings,
        allowed_annotations: AllowedAnnotations::new(args.allow_service_annotation.clone()),
        cluster: Arc::new(Known {
            namespaces: Namespaces::new(client.clone()),
            configurator: reviewing.configurator,
        }),
        new_id: Box::new(new_id),
        counts: reviewing.counts,
    });
    let ports = [
        (args.hook_port, "--hook-port", hooks),
        (
            args.webhook_port,
            "--webhook-port",
            routes::routes(reviewer),
        ),
    ];
    for (port, flag, router) in ports {
        let listener = bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), flag).await?;
        let limits = tls_port::Limits::default();
        let serving = tls_port::serve(
            listener,
            Arc::clone(&tls),
            router,
            limits,
            std::future::pending(),
        );
        tokio::spawn(serving);
    }
    let args = args.clone();
    tokio::spawn(async move {
        keep_believed(&args, prepared, &show, &settle).await;
    });
    Ok(())
}

/// Renews the certificates in time, and keeps the API server told by what to believe them.
async fn keep_believed(
    args: &Run,
    mut prepared: Prepared,
    show: &watch::Sender<Arc<CertifiedKey>>,
    settle: &watch::Sender<Arc<Settings>>,
) {
    loop {
        match prepared.store.certificates(SystemTime::now()).await {
            Ok(now) if now == prepared.certificates => {}
            Ok(now) => match certified(&now) {
                Ok(key) => {
                    prepared.certificates = now;
                    show.send_replace(key);
                    settle.send_replace(Arc::new(settings(args, &prepared)));
                }
                Err(error) => tracing::error!(%error, "the new certificate cannot be shown"),
            },
            Err(error) => tracing::warn!(%error, "certificates not looked at; tried again"),
        }
        if let Err(error) = prepared.store.tell(&prepared.certificates.ca_pem).await {
            tracing::warn!(%error, "the API server may not believe the webhooks; tried again");
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn certified(certificates: &Certificates) -> anyhow::Result<Arc<CertifiedKey>> {
    let key = tls_port::certified_key(&certificates.leaf_pem, &certificates.leaf_key_pem);
    Ok(Arc::new(key.context("the certificate cannot be shown")?))
}

fn settings(args: &Run, prepared: &Prepared) -> Settings {
    Settings {
        mode: match args.hook_mode {
            run::HookMode::Exec => HookMode::Exec(delivery(args)),
            run::HookMode::HttpGet => HookMode::HttpGet,
        },
        observe_only: args.observe_only,
        drain_timeout_seconds: DRAIN_TIMEOUT_SECONDS,
        max_grace_seconds: args.maximum_grace_seconds,
        service: HookService {
            name: format!("{}.{}.svc", args.hook_service, args.namespace),
            address: prepared.hook_address,
            port: HOOK_SERVICE_PORT,
            ca_pem: prepared.certificates.ca_pem.clone(),
        },
    }
}

fn delivery(args: &Run) -> Delivery {
    let (image, pull_policy) = (args.image.clone(), args.image_pull_policy.clone());
    match args.hook_delivery {
        run::HookDelivery::InitContainer => Delivery::InitContainer {
            image,
            pull_policy,
            resources: small(),
        },
        run::HookDelivery::ImageVolume => Delivery::ImageVolume { image, pull_policy },
    }
}

/// What the init container needs to copy a file. Requests equal to limits keep a pod of class Guaranteed so.
fn small() -> ResourceRequirements {
    let amounts: BTreeMap<String, Quantity> = [("cpu", "50m"), ("memory", "32Mi")]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .into();
    ResourceRequirements {
        limits: Some(amounts.clone()),
        requests: Some(amounts),
        ..ResourceRequirements::default()
    }
}

/// 128 random bits, as a DNS label.
fn new_id() -> String {
    let mut bits = [0; 16];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Fails only where the kernel has no randomness; then no TLS works either.
    let _ = provider.secure_random.fill(&mut bits);
    bits.iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// What the webhooks must know of the cluster: Backends as they run, namespaces live where they can be.
struct Known {
    namespaces: Namespaces,
    configurator: Arc<Configurator>,
}

impl admission::Cluster for Known {
    fn pod_facts<'a>(
        &'a self,
        namespace: &'a str,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<PodFacts, LookupError>> {
        Box::pin(async move {
            let said = self.namespaces.said(namespace).await?;
            Ok(PodFacts {
                backend_timeout_seconds: self.timeout(namespace, labels),
                namespace_label: said.drain,
                forbids_host: said.forbids_host,
            })
        })
    }
}

impl Known {
    /// The longest drain timeout of the Backends that a pod with these labels will serve.
    fn timeout(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Option<u32> {
        let observed: Arc<Observed> = self.configurator.observed()?;
        let snapshot = crate::admin::Configuration::snapshot(&*self.configurator);
        let labels = labels.iter().collect();
        selecting(&observed.objects, &observed.cluster, namespace, &labels)
            .iter()
            .map(|name| match snapshot.backend(name) {
                Some(backend) => {
                    u32::try_from(backend.draining.timeout.as_secs()).unwrap_or(u32::MAX)
                }
                None => DRAIN_TIMEOUT_SECONDS,
            })
            .max()
    }
}
