//! Keeps [`Certificates`] in a Secret that all replicas share, and tells the API server by which CA it can
//! believe the webhooks. Called by `app`, again and again; where nothing has changed it only reads.

use std::collections::BTreeMap;
use std::time::SystemTime;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, TestOperation};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::certificates::{CertificateError, Certificates, issue, renewed};

/// Rounds of reading and writing until another replica's write is no longer in the way.
const ROUNDS: u32 = 5;

/// Where the certificates are kept, and who is told of them.
#[derive(Clone)]
pub struct CertificateStore {
    /// The API server.
    pub client: Client,
    /// lastcall's namespace.
    pub namespace: String,
    /// The Secret's name. One that is there already and empty is filled.
    pub secret: String,
    /// DNS names and IP addresses that the leaf is for.
    pub names: Vec<String>,
    /// `MutatingWebhookConfiguration`s whose webhooks are lastcall's.
    pub mutating: Vec<String>,
    /// `ValidatingWebhookConfiguration`s whose webhooks are lastcall's.
    pub validating: Vec<String>,
}

/// The certificates could not be read, made, kept or told of. All of it is worth another try.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// They could not be made.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The API server refused, or did not answer.
    #[error("{what}: {source}")]
    Api {
        /// What was asked of it.
        what: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// Other replicas write the Secret all the time.
    #[error("the Secret {0} was changed by another replica each time it was to be written")]
    Contended(String),
}

impl CertificateStore {
    /// Reads the certificates, makes or renews them where needed, and keeps them. Replicas that start at
    /// once agree: whoever writes second reads what the first has written.
    pub async fn certificates(&self, now: SystemTime) -> Result<Certificates, StoreError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        for _ in 0..ROUNDS {
            let name = &self.secret;
            let there = secrets.get_opt(name).await;
            let there = there.map_err(api(|| format!("reading the Secret {name}")))?;
            let kept = there.as_ref().and_then(read);
            let next = match &kept {
                Some(kept) => match renewed(kept, &self.names, now)? {
                    None => return Ok(kept.clone()),
                    Some(next) => next,
                },
                None => issue(&self.names, now)?,
            };
            let written = match there {
                None => {
                    secrets
                        .create(&PostParams::default(), &self.new_secret(&next))
                        .await
                }
                Some(mut secret) => {
                    // With its resourceVersion, so that nobody else's write is lost.
                    secret.data = Some(data(&next));
                    secrets.replace(name, &PostParams::default(), &secret).await
                }
            };
            match written {
                Ok(_) => {
                    tracing::info!(secret = name, renewed = kept.is_some(), "certificates made");
                    return Ok(next);
                }
                // Another replica was first (409), or took it away meanwhile (404).
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(api(|| format!("writing the Secret {name}"))(error)),
            }
        }
        Err(StoreError::Contended(self.secret.clone()))
    }

    fn new_secret(&self, certificates: &Certificates) -> Secret {
        let mut secret = Secret {
            // Not kubernetes.io/tls: no listener may show this certificate.
            type_: Some("Opaque".to_owned()),
            data: Some(data(certificates)),
            ..Secret::default()
        };
        secret.metadata.name = Some(self.secret.clone());
        secret
    }

    /// Writes the CA into each webhook of the configurations, where another is there. A configuration that
    /// does not exist is no error: the installation may have none.
    pub async fn tell(&self, ca_pem: &str) -> Result<(), StoreError> {
        for name in &self.mutating {
            self.tell_one::<MutatingWebhookConfiguration>(name, ca_pem)
                .await?;
        }
        for name in &self.validating {
            self.tell_one::<ValidatingWebhookConfiguration>(name, ca_pem)
                .await?;
        }
        Ok(())
    }

    async fn tell_one<K: Configuration>(&self, name: &str, ca_pem: &str) -> Result<(), StoreError> {
        let configurations: Api<K> = Api::all(self.client.clone());
        let there = configurations.get_opt(name).await;
        let there = there.map_err(api(|| format!("reading the webhook configuration {name}")))?;
        let Some(there) = there else {
            tracing::debug!(name, "no such webhook configuration");
            return Ok(());
        };
        let Some(patch) = bundle_patch(&there, ca_pem) else {
            return Ok(());
        };
        let patch = Patch::Json::<()>(patch);
        let patched = configurations
            .patch(name, &PatchParams::default(), &patch)
            .await;
        patched.map_err(api(|| {
            format!("writing the CA into the webhook configuration {name}")
        }))?;
        tracing::info!(name, "CA written into webhook configuration");
        Ok(())
    }
}

fn api(what: impl Fn() -> String) -> impl Fn(kube::Error) -> StoreError {
    move |source| StoreError::Api {
        what: what(),
        source: Box::new(source),
    }
}

const CA: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const LEAF: &str = "tls.crt";
const LEAF_KEY: &str = "tls.key";

fn data(certificates: &Certificates) -> BTreeMap<String, ByteString> {
    [
        (CA, &certificates.ca_pem),
        (CA_KEY, &certificates.ca_key_pem),
        (LEAF, &certificates.leaf_pem),
        (LEAF_KEY, &certificates.leaf_key_pem),
    ]
    .into_iter()
    .map(|(key, pem)| (key.to_owned(), ByteString(pem.clone().into_bytes())))
    .collect()
}

/// The certificates in a Secret; `None` where one is missing.
fn read(secret: &Secret) -> Option<Certificates> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    Some(Certificates {
        ca_pem: text(CA)?,
        ca_key_pem: text(CA_KEY)?,
        leaf_pem: text(LEAF)?,
        leaf_key_pem: text(LEAF_KEY)?,
    })
}

/// Both kinds of webhook configurations.
trait Configuration: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug {
    /// How each webhook is called, in order.
    fn calls(&self) -> Vec<&WebhookClientConfig>;
}

impl Configuration for MutatingWebhookConfiguration {
    fn calls(&self) -> Vec<&WebhookClientConfig> {
        self.webhooks
            .iter()
            .flatten()
            .map(|w| &w.client_config)
            .collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    fn calls(&self) -> Vec<&WebhookClientConfig> {
        self.webhooks
            .iter()
            .flatten()
            .map(|w| &w.client_config)
            .collect()
    }
}

/// What writes the CA into the webhooks that have another, or `None` where none has.
fn bundle_patch<K: Configuration>(configuration: &K, ca_pem: &str) -> Option<json_patch::Patch> {
    let bundle = ByteString(ca_pem.as_bytes().to_vec());
    let value = serde_json::to_value(&bundle).ok()?;
    let calls = configuration.calls();
    let differs = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.ca_bundle.as_ref() != Some(&bundle));
    let mut operations: Vec<PatchOperation> = differs
        .map(|(at, _)| {
            let path =
                PointerBuf::from_tokens(["webhooks", &at.to_string(), "clientConfig", "caBundle"]);
            PatchOperation::Add(AddOperation {
                path,
                value: value.clone(),
            })
        })
        .collect();
    if operations.is_empty() {
        return None;
    }
    // The places in the list are those of this version only.
    if let Some(version) = configuration.resource_version() {
        let test = PatchOperation::Test(TestOperation {
            path: PointerBuf::from_tokens(["metadata", "resourceVersion"]),
            value: Value::String(version),
        });
        operations.insert(0, test);
    }
    Some(json_patch::Patch(operations))
}

#[cfg(test)]
mod tests;
