//! `drain`, `enable` and `disable` in a cluster: written where it lasts and every replica reads it, with the
//! user's own rights. A Backend's state stands in its spec, a static endpoint's beside its address, a pod's in
//! the annotation `lastcall.dev/admin-state`, for all Backends that the pod serves.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::{Cluster, is_code};
use crate::admin::schema::{AdminStateSet, EndpointName};
use crate::api::Backend;
use crate::api::backend::AdminState as Written;
use crate::api::pods::ADMIN_STATE;
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::status;
use crate::model::{AdminState, Target};

impl Cluster {
    /// Writes the state and returns what it was written for. `lastcall` is asked only where the Backend's status
    /// does not name the endpoint's pod.
    pub(in crate::cli) async fn set_admin_state(
        &self,
        lastcall: &Client,
        target: &Target,
        state: AdminState,
    ) -> Result<AdminStateSet, Failure> {
        let endpoints = match target.address {
            None => self.set_backend(target, state).await?,
            Some(address) => {
                self.set_endpoint(lastcall, target, address, state).await?;
                vec![address.to_string()]
            }
        };
        let (namespace, backend) = (&target.backend.namespace, &target.backend.name);
        let named = |endpoint| EndpointName {
            namespace: namespace.to_string(),
            backend: backend.to_string(),
            endpoint,
        };
        Ok(AdminStateSet {
            state,
            endpoints: endpoints.into_iter().map(named).collect(),
        })
    }

    /// The addresses of the Backend's endpoints, as its status last said.
    async fn set_backend(
        &self,
        target: &Target,
        state: AdminState,
    ) -> Result<Vec<String>, Failure> {
        let patch = json!({"spec": {"adminState": written(state)}});
        let namespace = &target.backend.namespace;
        let patched = self
            .api::<Backend>(namespace)
            .patch(
                &target.backend.name,
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await;
        match patched {
            Ok(backend) => Ok(addresses(&backend)),
            Err(error) if is_code(&error, 404) => Err(self.no_backend(target).await),
            Err(error) => Err(self.failed("patch", "backends", Some(namespace), &error)),
        }
    }

    async fn set_endpoint(
        &self,
        lastcall: &Client,
        target: &Target,
        address: SocketAddr,
        state: AdminState,
    ) -> Result<(), Failure> {
        let namespace = &*target.backend.namespace;
        let backends = self.api::<Backend>(namespace);
        let backend = match backends.get(&target.backend.name).await {
            Ok(backend) => backend,
            Err(error) if is_code(&error, 404) => return Err(self.no_backend(target).await),
            Err(error) => return Err(self.failed("get", "backends", Some(namespace), &error)),
        };
        if state == AdminState::Enabled && backend.spec.admin_state != Written::Enabled {
            return Err(Failure::Other(anyhow::anyhow!(
                "{target} would stay {:?}, as its Backend is: lastcall enable be/{}",
                backend.spec.admin_state,
                target.backend.name
            )));
        }
        let pod = match home(&backend, address) {
            Home::Static(index) => {
                let patch = Patch::Json::<()>(static_patch(index, address, state)?);
                let patched = backends
                    .patch(&target.backend.name, &PatchParams::default(), &patch)
                    .await;
                return patched
                    .map(drop)
                    .map_err(|error| self.failed("patch", "backends", Some(namespace), &error));
            }
            Home::Pod(pod) => pod,
            // Its status lags, or lists only some of its endpoints: lastcall itself knows them all.
            Home::Unknown => {
                let report = status::backend(lastcall, target).await?;
                let own = report.endpoints.into_iter().next();
                own.and_then(|one| one.pod)
                    .ok_or_else(|| not_a_pods(target))?
            }
        };
        self.annotate(target, &pod, address, state).await
    }

    /// Writes the state on the pod, if it still has that address.
    async fn annotate(
        &self,
        target: &Target,
        name: &str,
        address: SocketAddr,
        state: AdminState,
    ) -> Result<(), Failure> {
        let namespace = &*target.backend.namespace;
        let pods = self.api::<Pod>(namespace);
        let pod = match pods.get(name).await {
            Ok(pod) if has_address(&pod, address) => pod,
            Err(error) if !is_code(&error, 404) => {
                return Err(self.failed("get", "pods", Some(namespace), &error));
            }
            _ => {
                return Err(Failure::Usage(format!(
                    "{target} was pod {name}, which is gone"
                )));
            }
        };
        self.mark(&pod, wanted(state))
            .await
            .map_err(|error| self.failed("patch", "pods", Some(namespace), &error))
    }

    /// Sets the annotation of just this pod, or takes it away. Invalid (422) where another has its name by now: a
    /// UID cannot be changed.
    pub(in crate::cli) async fn mark(
        &self,
        pod: &Pod,
        state: Option<&str>,
    ) -> Result<(), kube::Error> {
        let metadata = &pod.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let patch = json!({"metadata": {"uid": metadata.uid, "annotations": {ADMIN_STATE: state}}});
        self.api::<Pod>(namespace)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(drop)
    }

    /// There is no such Backend; those that there are, where they may be listed.
    async fn no_backend(&self, target: &Target) -> Failure {
        let namespace = &*target.backend.namespace;
        let listed = self
            .api::<Backend>(namespace)
            .list(&ListParams::default())
            .await;
        let known = listed.map_or_else(
            |_| String::new(),
            |list| {
                let names: Vec<String> = list
                    .items
                    .into_iter()
                    .filter_map(|one| one.metadata.name)
                    .collect();
                format!("; there are: {}", names.join(", "))
            },
        );
        Failure::Usage(format!(
            "no Backend {} in {}{known}",
            target.backend, self.name
        ))
    }
}

/// What is to be written on a pod; Enabled is the absence of a wish.
fn wanted(state: AdminState) -> Option<&'static str> {
    match state {
        AdminState::Enabled => None,
        AdminState::Draining => Some("Draining"),
        AdminState::Disabled => Some("Disabled"),
    }
}

fn written(state: AdminState) -> Written {
    match state {
        AdminState::Enabled => Written::Enabled,
        AdminState::Draining => Written::Draining,
        AdminState::Disabled => Written::Disabled,
    }
}

fn not_a_pods(target: &Target) -> Failure {
    Failure::Usage(format!(
        "{target} is an address that somebody wrote into an EndpointSlice: it has no pod to put the state on; take it out there, or set the whole Backend's"
    ))
}

/// Where an endpoint's own state is written.
#[derive(Debug, PartialEq, Eq)]
enum Home {
    /// In `spec.static`, at this place.
    Static(usize),
    /// On the pod of this name.
    Pod(String),
    /// The Backend does not say.
    Unknown,
}

fn home(backend: &Backend, address: SocketAddr) -> Home {
    let fixed = backend.spec.fixed.as_deref().unwrap_or_default();
    let (ip, port) = (address.ip().to_string(), address.port());
    if let Some(at) = fixed
        .iter()
        .position(|one| one.address == ip && one.port == port)
    {
        return Home::Static(at);
    }
    let status = backend.status.as_ref();
    let listed = status.map_or(&[][..], |status| &status.endpoints);
    let text = address.to_string();
    let pod = listed
        .iter()
        .find(|one| one.address == text)
        .and_then(|one| one.pod.clone());
    pod.map_or(Home::Unknown, Home::Pod)
}

fn addresses(backend: &Backend) -> Vec<String> {
    let status = backend.status.as_ref();
    let listed = status.map_or(&[][..], |status| &status.endpoints);
    listed.iter().map(|one| one.address.clone()).collect()
}

fn has_address(pod: &Pod, address: SocketAddr) -> bool {
    let ip = address.ip().to_string();
    let all = pod
        .status
        .iter()
        .flat_map(|status| status.pod_ips.iter().flatten());
    all.into_iter().any(|own| own.ip == ip)
}

/// Sets one static endpoint's state, if it still stands at that place of the list.
fn static_patch(
    index: usize,
    address: SocketAddr,
    state: AdminState,
) -> Result<json_patch::Patch, Failure> {
    let at = format!("/spec/static/{index}");
    let patch = json!([
        {"op": "test", "path": format!("{at}/address"), "value": address.ip().to_string()},
        {"op": "test", "path": format!("{at}/port"), "value": address.port()},
        {"op": "add", "path": format!("{at}/adminState"), "value": written(state)},
    ]);
    serde_json::from_value(patch).map_err(|error| Failure::Other(error.into()))
}
