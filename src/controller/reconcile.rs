//! Reads an object, decides, and writes where that changes something: the two controllers, for
//! LoadBalancers and for Backends.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::watch;

use super::service::{self, Template};
use super::{FIELD_MANAGER, Process, backend_status, status};
use crate::api::{Backend, LoadBalancer};
use crate::model::ObjectName;
use crate::plan::allotment::Allotment;

/// While something drains its numbers are written so often.
const WHILE_DRAINING: Duration = Duration::from_secs(3);
/// Changes that come within this of each other are one.
const TOGETHER: Duration = Duration::from_millis(20);
/// After an error of the API server.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// What the controllers work with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The namespaces of the objects; all where none is named.
    pub namespaces: Vec<String>,
    /// What the Services have in common.
    pub template: Template,
    /// The process that runs.
    pub process: Arc<dyn Process>,
}

/// The API server did not do as it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct WriteError {
    what: &'static str,
    #[source]
    error: Box<kube::Error>,
}

fn failed(what: &'static str) -> impl FnOnce(kube::Error) -> WriteError {
    move |error| WriteError {
        what,
        error: Box::new(error),
    }
}

/// The container ports that the Services record: what was allotted before this process started.
pub async fn recorded_ports(client: Client, template: &Template) -> Result<Allotment, kube::Error> {
    let services: Api<Service> = Api::namespaced(client, &template.namespace);
    let ours = services
        .list(&ListParams::default().labels(service::OWNER))
        .await?;
    Ok(ours.items.iter().flat_map(service::recorded).collect())
}

/// Keeps the cluster's objects as they should be, until it is dropped.
pub async fn run(context: Context) {
    let context = Arc::new(context);
    let scopes: Vec<Option<&str>> = match &context.namespaces[..] {
        [] => vec![None],
        named => named.iter().map(|name| Some(name.as_str())).collect(),
    };
    let each = scopes.into_iter().map(|scope| {
        let balancers = load_balancers(Arc::clone(&context), objects(&context.client, scope));
        let backends = backends(Arc::clone(&context), objects(&context.client, scope));
        async { tokio::join!(balancers, backends) }
    });
    futures_util::future::join_all(each).await;
}

/// All objects of a kind, or those of a namespace.
fn objects<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    }
}

async fn load_balancers(context: Arc<Context>, all: Api<LoadBalancer>) {
    let services: Api<Service> =
        Api::namespaced(context.client.clone(), &context.template.namespace);
    let ours = watcher::Config::default().labels(service::OWNER);
    let sweeping = Arc::clone(&context);
    Controller::new(all, watcher::Config::default())
        .watches(services, ours, |service| {
            service::owner(&service)
                .map(|owner| ObjectRef::<LoadBalancer>::new(&owner.name).within(&owner.namespace))
        })
        .reconcile_all_on(changes(context.process.running()))
        .run(reconcile_load_balancer, on_error, Arc::clone(&context))
        .for_each(async |done| {
            // An object that is gone leaves its Service.
            if let Err(controller::Error::ObjectNotFound(_)) = done
                && let Err(error) = sweep(&sweeping).await
            {
                tracing::warn!(%error, "Services of LoadBalancers that are gone are still there");
            }
        })
        .await;
}

async fn backends(context: Arc<Context>, all: Api<Backend>) {
    Controller::new(all, watcher::Config::default())
        .reconcile_all_on(changes(context.process.running()))
        .reconcile_all_on(changes(context.process.changes()))
        .run(reconcile_backend, on_error, Arc::clone(&context))
        .for_each(async |_| ())
        .await;
}

/// One item for each change, however many were missed.
fn changes<T: Send + Sync + 'static>(
    receiver: watch::Receiver<T>,
) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        // Several at once are one: those too that come while this waits.
        tokio::time::sleep(TOGETHER).await;
        receiver.mark_unchanged();
        Some(((), receiver))
    })
}

#[allow(clippy::needless_pass_by_value)] // As kube's Controller calls it.
fn on_error<K: Resource<DynamicType = ()> + Debug>(
    object: Arc<K>,
    error: &WriteError,
    _: Arc<Context>,
) -> Action {
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_default();
    tracing::warn!(kind = %K::kind(&()), namespace, name, %error, "not written; tried again");
    Action::requeue(AFTER_ERROR)
}

fn name_of<K: Resource>(object: &K) -> ObjectName {
    ObjectName::new(&object.namespace().unwrap_or_default(), &object.name_any())
}

fn now() -> Time {
    let seconds = Timestamp::from_second(Timestamp::now().as_second());
    Time(seconds.unwrap_or_default())
}

async fn reconcile_load_balancer(
    object: Arc<LoadBalancer>,
    context: Arc<Context>,
) -> Result<Action, WriteError> {
    let name = name_of(object.as_ref());
    let running = context.process.running().borrow().clone();
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let there = keep_service(&name, &object, &running.ports, &context).await?;
    let wanted = status::load_balancer(&name, &object, there.as_ref(), &running, &now());
    if let Some(wanted) = wanted
        && object.status.as_ref() != Some(&wanted)
    {
        write_status::<LoadBalancer, _>(&name, &wanted, &context).await?;
    }
    Ok(Action::await_change())
}

/// The LoadBalancer's Service as it is now: made, or made as it is wanted, where it is not.
async fn keep_service(
    name: &ObjectName,
    object: &LoadBalancer,
    ports: &Allotment,
    context: &Context,
) -> Result<Option<Service>, WriteError> {
    let services: Api<Service> =
        Api::namespaced(context.client.clone(), &context.template.namespace);
    let wanted = service::wanted(name, object, ports, &context.template);
    let service_name = service::name(name);
    let there = services
        .get_opt(&service_name)
        .await
        .map_err(failed("cannot read its Service"))?;
    let leads_somewhere = wanted
        .spec
        .as_ref()
        .is_some_and(|spec| spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()));
    // A Service cannot be without ports: none is bound yet, or none is left.
    if !leads_somewhere
        || there
            .as_ref()
            .is_some_and(|there| service::is_as_wanted(there, &wanted))
    {
        return Ok(there);
    }
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    services
        .patch(&service_name, &apply, &Patch::Apply(&wanted))
        .await
        .map(Some)
        .map_err(failed("cannot write its Service"))
}

/// Deletes our Services whose LoadBalancers are gone.
async fn sweep(context: &Context) -> Result<(), kube::Error> {
    let services: Api<Service> =
        Api::namespaced(context.client.clone(), &context.template.namespace);
    let ours = ListParams::default().labels(service::OWNER);
    for there in services.list(&ours).await? {
        let Some(owner) = service::owner(&there) else {
            continue;
        };
        let owners: Api<LoadBalancer> = Api::namespaced(context.client.clone(), &owner.namespace);
        if owners.get_metadata_opt(&owner.name).await?.is_none() {
            services
                .delete(&there.name_any(), &DeleteParams::default())
                .await?;
            tracing::info!(load_balancer = %owner, service = there.name_any(), "deleted the Service of a LoadBalancer that is gone");
        }
    }
    Ok(())
}

async fn reconcile_backend(
    object: Arc<Backend>,
    context: Arc<Context>,
) -> Result<Action, WriteError> {
    let name = name_of(object.as_ref());
    let running = context.process.running().borrow().clone();
    let Some(reports) = context.process.report().await else {
        return Ok(Action::await_change());
    };
    let report = reports
        .iter()
        .find(|one| one.namespace == *name.namespace && one.name == *name.name);
    let Some(wanted) = backend_status::backend(&name, &object, report, &running, &now()) else {
        return Ok(Action::await_change());
    };
    if backend_status::is_news(object.status.as_ref(), &wanted) {
        write_status::<Backend, _>(&name, &wanted, &context).await?;
    }
    Ok(if wanted.draining > 0 {
        Action::requeue(WHILE_DRAINING)
    } else {
        Action::await_change()
    })
}

/// Server-side apply: only our fields, whoever else writes.
async fn write_status<K, S>(
    name: &ObjectName,
    status: &S,
    context: &Context,
) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + serde::de::DeserializeOwned,
    S: serde::Serialize,
{
    let objects: Api<K> = Api::namespaced(context.client.clone(), &name.namespace);
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "status": status,
    });
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    objects
        .patch_status(&name.name, &apply, &Patch::Apply(&patch))
        .await
        .map(drop)
        .map_err(failed("cannot write its status"))
}
