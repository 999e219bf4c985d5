//! Looking up past every cache (Law 5): for what must not be told from a watch that may lag. Called by the
//! hook server, and by the drain's look-up of callers that vanished.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::api::ListParams;
use kube::{Api, Client};

use super::trim;
use crate::plan::cluster::Pod;

/// Asks the API server itself.
#[derive(Clone)]
pub struct Live {
    client: Client,
    timeout: Duration,
}

/// The API server gave no answer: nothing is known, and a hold is kept to its deadline (Law 5).
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// None in time; to be asked again later.
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
    /// It refused or could not be reached. Where it forbade, its rules for lastcall's account are to be mended.
    #[error("the API server could not be asked: {0}")]
    Api(#[source] Box<kube::Error>),
}

impl LookupError {
    /// The API server answered, and said that lastcall's account may not ask: it has been taken away.
    pub fn is_refusal(&self) -> bool {
        let LookupError::Api(error) = self else {
            return false;
        };
        matches!(&**error, kube::Error::Api(said) if matches!(said.code, 401 | 403))
    }
}

impl Live {
    /// Waits for each answer at most `timeout`, however often it is tried.
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// The pod of that name as etcd has it now (a quorum read); none where there is none.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, LookupError> {
        let pods: Api<core::Pod> = Api::namespaced(self.client.clone(), namespace);
        let found = tokio::time::timeout(self.timeout, pods.get_opt(name))
            .await
            .map_err(|_| LookupError::Timeout(self.timeout))?
            .map_err(|error| LookupError::Api(Box::new(error)))?;
        Ok(found.map(trim::pod))
    }

    /// The pods of a namespace that a label selector (`key=value,…`) selects, as etcd has them now (a quorum
    /// read).
    pub async fn selected(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, LookupError> {
        let pods: Api<core::Pod> = Api::namespaced(self.client.clone(), namespace);
        let with = ListParams::default().labels(selector);
        let found = tokio::time::timeout(self.timeout, pods.list(&with))
            .await
            .map_err(|_| LookupError::Timeout(self.timeout))?
            .map_err(|error| LookupError::Api(Box::new(error)))?;
        Ok(found.items.into_iter().map(trim::pod).collect())
    }
}
