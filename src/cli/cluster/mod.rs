//! A cluster, as its user reaches it: by a kubeconfig, with the user's own rights. lastcall is asked over a
//! forwarded port of its pod ([`forward`]); what is to last is written to the cluster ([`admin_state`]).

mod admin_state;
mod forward;
#[cfg(test)]
pub(super) mod test_server;

use std::sync::Arc;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::Failure;
use super::dial::Dial;
use super::place::ClusterOptions;
use forward::Forward;
pub(super) use forward::is_ready;

/// A cluster.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
    namespace: String,
    /// Which one, and why that: for messages.
    name: String,
    lastcall_namespace: Option<String>,
}

impl Cluster {
    /// The cluster that the options and the kubeconfig name, which is taken `because`. It is not asked yet.
    pub(super) async fn open(options: &ClusterOptions, because: String) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::NoCluster {
            because: because.clone(),
            why: error.to_string(),
        };
        let wanted = KubeConfigOptions {
            context: options.context.clone(),
            ..KubeConfigOptions::default()
        };
        let read = match &options.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let (mut config, name) = match read {
            Ok(kubeconfig) => {
                let context = options
                    .context
                    .clone()
                    .or(kubeconfig.current_context.clone());
                let config = Config::from_custom_kubeconfig(kubeconfig, &wanted).await;
                let context = context.unwrap_or_else(|| "without a name".to_owned());
                (
                    config.map_err(|error| wrong(&error))?,
                    format!("context {context}"),
                )
            }
            // In a pod, where nothing was asked for that only a kubeconfig has.
            Err(error) if options.kubeconfig.is_none() && options.context.is_none() => {
                let config = Config::incluster().map_err(|_| wrong(&error))?;
                (config, "this pod".to_owned())
            }
            Err(error) => return Err(wrong(&error)),
        };
        // Who asks again says so here, and shows it.
        config.default_retry = false;
        let namespace = config.default_namespace.clone();
        let client = crate::source::kubernetes::client(config).map_err(|error| wrong(&error))?;
        Ok(Self {
            client,
            namespace,
            name: format!("{name} ({because})"),
            lastcall_namespace: options.lastcall_namespace.clone(),
        })
    }

    /// The namespace of the kubeconfig's context.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The way to lastcall's admin API.
    pub(super) fn way(&self) -> Arc<dyn Dial> {
        Arc::new(Forward::new(self.clone()))
    }

    /// Objects of a namespace.
    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Objects of all namespaces.
    pub(super) fn api_of_all<K>(&self) -> Api<K>
    where
        K: kube::Resource,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// What it means that the API server did not do this. Without a namespace: in all of them.
    pub(super) fn failed(
        &self,
        verb: &'static str,
        resource: &'static str,
        namespace: Option<&str>,
        error: &kube::Error,
    ) -> Failure {
        let scope = match namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in all namespaces".to_owned(),
        };
        match error {
            kube::Error::Api(status) if status.code == 403 => Failure::Forbidden {
                verb,
                resource,
                scope,
                said: status.message.clone(),
            },
            // An answer that says why, and that would be the same if it were asked again.
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                Failure::Other(anyhow::anyhow!(
                    "the API server of {} refused to {verb} {resource} {scope}: {}",
                    self.name,
                    status.message
                ))
            }
            error => Failure::ApiServer {
                cluster: self.name.clone(),
                verb,
                resource,
                scope,
                why: match error {
                    kube::Error::Api(status) => status.message.clone(),
                    error => error.to_string(),
                },
            },
        }
    }
}

/// Whether the API server answered with this code.
pub(super) fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
