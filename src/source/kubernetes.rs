//! A Kubernetes API server as the source of objects and of what is known of the cluster.
//!
//! Every kind is watched; each object is trimmed before it is kept; all of it is published as one value,
//! first when every kind has been listed once. With the API server gone what was published stays (Law 3),
//! and a watch that is back catches up: what went meanwhile is told as gone. `app` passes what is published
//! through `plan::cluster::facts` to `plan`.
//!
//! Of Secrets only those of type kubernetes.io/tls are asked for, and only certificates with their keys and
//! authorities are kept.

mod kept;
mod live;
mod settle;
mod trim;
mod view;
mod watches;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::plan::cluster::Cluster;
use crate::plan::{ObjectRef, Objects};
use settle::Unpublished;
use view::{Seen, View};

pub use live::{Live, LookupError};
pub use watches::client;

/// All that an API server has said.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// LoadBalancers and Backends, without their status; the same value while none of them changes.
    pub objects: Arc<Objects>,
    /// Everything else.
    pub cluster: Arc<Cluster>,
    /// Objects that cannot be read; each counts as it last could be, or not at all (Law 4).
    pub faults: Vec<ObjectFault>,
    /// Grows by one with each that is published; 1 at the start.
    pub revision: u64,
}

/// An object that the API server let through and that cannot be read: its CRD there is not this program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFault {
    /// Which object.
    pub object: ObjectRef,
    /// What is the matter with it.
    pub message: String,
}

impl fmt::Display for ObjectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.message)
    }
}

/// A pod whose object is gone. To be told to the drain (`pod_gone`) only when the configuration of that
/// revision is in service: before that the pod's endpoints are still there, and would be let in again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The pod's UID.
    pub uid: Arc<str>,
    /// The first [`Observed::revision`] without it.
    pub revision: u64,
}

/// An API server that is being watched, until this is dropped.
#[derive(Debug)]
pub struct Kubernetes {
    observed: watch::Receiver<Option<Arc<Observed>>>,
    missing: watch::Receiver<Vec<&'static str>>,
    task: AbortHandle,
}

impl Kubernetes {
    /// Watches these namespaces, or all where none is named; each may be named only once. The receiver hears
    /// of every pod that goes, also of those that went while a watch was away. Must be called within a tokio
    /// runtime. `client` is to be one made by [`client`], or a watch may hang on a connection that died.
    pub fn start(client: &Client, namespaces: &[String]) -> (Self, mpsc::UnboundedReceiver<Gone>) {
        Self::start_with(client, namespaces, true)
    }

    /// The same; with `secrets` false no Secret is asked for, and there is none.
    pub fn start_with(
        client: &Client,
        namespaces: &[String],
        secrets: bool,
    ) -> (Self, mpsc::UnboundedReceiver<Gone>) {
        let mut view = View::new(watches::scopes(namespaces));
        if !secrets {
            view.go_without_secrets();
        }
        Self::follow(view, watches::all(client, namespaces, secrets))
    }

    /// Keeps and publishes what those watches say.
    fn follow(
        view: View,
        steps: SelectAll<BoxStream<'static, Seen>>,
    ) -> (Self, mpsc::UnboundedReceiver<Gone>) {
        let (publish, observed) = watch::channel(None);
        let (tell_missing, missing) = watch::channel(view.missing());
        let (tell_gone, gone) = mpsc::unbounded_channel();
        let keeper = Keeper {
            view,
            steps,
            publish,
            missing: tell_missing,
            gone: tell_gone,
        };
        let task = tokio::spawn(keeper.run()).abort_handle();
        let source = Self {
            observed,
            missing,
            task,
        };
        (source, gone)
    }

    /// What is known, when every kind has been listed once; a replica that has no configuration is not ready.
    /// Waits as long as the API server is away.
    pub async fn first(&self) -> Arc<Observed> {
        let mut observed = self.observed.clone();
        match observed.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(first)) => Arc::clone(first),
            // The task ends only with `self`, or by a panic, which is in the log: nothing will ever come.
            _ => std::future::pending().await,
        }
    }

    /// What is known, now and on every change; nothing until [`Kubernetes::first`].
    pub fn observed(&self) -> watch::Receiver<Option<Arc<Observed>>> {
        self.observed.clone()
    }

    /// The kinds that are still to be listed, for people who ask why a replica is not ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.missing.borrow().clone()
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task's own: it alone hears the watches and publishes.
struct Keeper {
    view: View,
    steps: SelectAll<BoxStream<'static, Seen>>,
    publish: watch::Sender<Option<Arc<Observed>>>,
    missing: watch::Sender<Vec<&'static str>>,
    gone: mpsc::UnboundedSender<Gone>,
}

impl Keeper {
    async fn run(mut self) {
        let mut unpublished = None;
        loop {
            let due = unpublished.map(|waiting: Unpublished| waiting.due);
            tokio::select! {
                // What is due is published, however much more is coming.
                biased;
                () = until(due) => {
                    unpublished = None;
                    self.publish();
                }
                step = self.steps.next() => {
                    // The watches have no end.
                    let Some(step) = step else { return };
                    let urgency = self.view.take(step);
                    if self.complete() {
                        unpublished = Unpublished::after(unpublished, urgency, Instant::now());
                    }
                }
            }
        }
    }

    /// Whether every kind has been listed. Publishes the first time that it is so.
    fn complete(&mut self) -> bool {
        if self.publish.borrow().is_some() {
            return true;
        }
        let missing = self.view.missing();
        let complete = missing.is_empty();
        self.missing.send_if_modified(|before| {
            let changed = *before != missing;
            *before = missing;
            changed
        });
        if complete {
            self.publish();
        }
        complete
    }

    fn publish(&mut self) {
        let before = self.publish.borrow().clone();
        let revision = before.as_ref().map_or(0, |before| before.revision) + 1;
        let observed = self.view.observe(revision);
        log(before.as_deref(), &observed);
        self.publish.send_replace(Some(Arc::new(observed)));
        for uid in self.view.take_gone() {
            // Fails where nobody wants to hear.
            let _ = self.gone.send(Gone { uid, revision });
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn log(before: Option<&Observed>, now: &Observed) {
    let known = before.map_or(&[][..], |before| &before.faults);
    for fault in now.faults.iter().filter(|fault| !known.contains(fault)) {
        tracing::error!(%fault, "object cannot be read: going on with its last good content");
    }
    if before.is_none() {
        tracing::info!(
            load_balancers = now.objects.load_balancers.len(),
            backends = now.objects.backends.len(),
            services = now.cluster.services.len(),
            pods = now.cluster.pods.len(),
            nodes = now.cluster.nodes.len(),
            secrets = now.cluster.secrets.len(),
            "cluster listed"
        );
    }
}
