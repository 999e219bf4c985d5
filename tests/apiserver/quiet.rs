//! A quiet cluster causes no writes: counted on the way to a real API server.

use std::future::ready;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use kube::api::{Api, Patch, PatchParams};
use kube::client::ClientBuilder;
use lastcall::api::{Backend, LoadBalancer};
use lastcall::controller::{self, Running, Template};
use lastcall::model::AdminState;
use lastcall::model::report::{
    BackendReport, DEREGISTERED, EndpointReport, IN_SERVICE, ServiceState,
};
use lastcall::plan::allotment::{Allotment, allot};
use lastcall::plan::cluster::facts;
use lastcall::plan::plan;
use lastcall::source::kubernetes::Kubernetes;
use serde_json::json;
use tokio::sync::watch;
use tower::util::MapRequestLayer;

use crate::run;
use crate::server::{PATIENCE, Server};
use crate::space::{Space, until};
use crate::wait::wait_until_async;

/// Looks that must write nothing.
const LOOKS: u64 = 20;

/// A process whose one Backend reports what the test says.
struct Process {
    running: watch::Sender<Arc<Running>>,
    report: Mutex<BackendReport>,
    changes: watch::Sender<u64>,
    /// How often somebody looked at what runs: once for each object that is reconciled, and once when a
    /// controller begins.
    looks: AtomicU64,
    /// How often the report was asked for: once for each Backend that is reconciled.
    asked: AtomicU64,
}

impl controller::Process for Process {
    fn running(&self) -> watch::Receiver<Arc<Running>> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.running.subscribe()
    }

    fn report(&self) -> BoxFuture<'_, Option<Arc<Vec<BackendReport>>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let report = self.report.lock().unwrap().clone();
        Box::pin(ready(Some(Arc::new(vec![report]))))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Process {
    fn balancers_seen(&self) -> u64 {
        self.looks.load(Ordering::SeqCst) - self.asked.load(Ordering::SeqCst)
    }

    /// Has both objects looked at, and returns when they have been.
    async fn have_a_look(&self) {
        let before = (self.balancers_seen(), self.asked.load(Ordering::SeqCst));
        self.running.send_modify(|_| ());
        eventually("a look at both objects", || {
            self.balancers_seen() > before.0 && self.asked.load(Ordering::SeqCst) > before.1
        })
        .await;
    }
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    wait_until_async(what, PATIENCE, async || is_so().then_some(()).ok_or(())).await;
}

fn report(namespace: &str, serves: bool) -> BackendReport {
    let endpoint = EndpointReport {
        address: "10.1.0.1:8080".to_owned(),
        pod: None,
        pod_uid: None,
        state: if serves {
            ServiceState::InService
        } else {
            ServiceState::OutOfService
        },
        description: if serves { IN_SERVICE } else { DEREGISTERED }.to_owned(),
        reason: (!serves).then(|| "NotReady".to_owned()),
        admin_state: AdminState::Enabled,
        weight: 1,
        in_flight: 0,
        requests_total: 0,
        cut_total: 0,
        since_millis: 5_000,
        deadline_millis: None,
        drain_millis: None,
        holds: 0,
    };
    BackendReport {
        namespace: namespace.to_owned(),
        name: "web".to_owned(),
        total: 1,
        in_service: u64::from(serves),
        draining: 0,
        out_of_service: u64::from(!serves),
        endpoints: vec![endpoint],
    }
}

#[test]
fn a_quiet_cluster_causes_no_writes() {
    let server = Server::shared();
    let _peace = server.peace.read();
    run(async {
        let space = Space::new(&server).await;
        space.backend("web").await;
        space
            .create::<LoadBalancer>(json!({
                "apiVersion": "lastcall.dev/v1alpha1", "kind": "LoadBalancer", "metadata": {"name": "shop"},
                "spec": {
                    "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
                    "defaultBackend": {"name": "web"},
                },
            }))
            .await;
        let namespaces = vec![space.namespace.clone()];
        let (source, _gone) = Kubernetes::start(&space.client, &namespaces);
        let observed = until(&source, "both objects", |o| {
            o.objects.backends.len() == 1 && o.objects.load_balancers.len() == 1
        })
        .await;
        let ports = allot(&observed.objects, &Allotment::default(), &(20_000..=20_999));
        let mut known = facts(&observed.objects, &observed.cluster);
        known.ports = Some(ports.clone());
        let process = Arc::new(Process {
            running: watch::channel(Arc::new(Running {
                verdicts: plan(&observed.objects, &known).verdicts,
                ports,
                ..Running::default()
            }))
            .0,
            report: Mutex::new(report(&space.namespace, true)),
            changes: watch::channel(0).0,
            looks: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        });

        let writes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&writes);
        let counting = MapRequestLayer::new(move |request: http::Request<kube::client::Body>| {
            if request.method() != http::Method::GET {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            request
        });
        let client = ClientBuilder::try_from(server.config().await)
            .unwrap()
            .with_layer(&counting)
            .build();
        tokio::spawn(controller::run(controller::Context {
            client,
            namespaces,
            template: Template {
                namespace: space.namespace.clone(),
                selector: [("app".to_owned(), "lastcall".to_owned())].into(),
            },
            process: Arc::clone(&process) as _,
        }));
        let count = || writes.load(Ordering::SeqCst);
        // Its Service, and the status of both.
        eventually("what there is to be written", || count() >= 3).await;
        settled(&process, &count).await;

        let before = count();
        for look in 1..=LOOKS {
            // Numbers and the passing of time are no news; nor is what somebody else writes.
            {
                let mut report = process.report.lock().unwrap();
                report.endpoints[0].in_flight = look;
                report.endpoints[0].requests_total += 7 * look;
                report.endpoints[0].since_millis += 30;
            }
            process.changes.send_modify(|change| *change += 1);
            process.have_a_look().await;
        }
        touch::<Backend>(&space, "web").await;
        touch::<LoadBalancer>(&space, "shop").await;
        // What comes second has seen the first end.
        process.have_a_look().await;
        process.have_a_look().await;
        assert_eq!(count() - before, 0, "writes of a quiet cluster");

        // The control: what is news is written, once.
        *process.report.lock().unwrap() = report(&space.namespace, false);
        process.changes.send_modify(|change| *change += 1);
        eventually("the news", || count() > before).await;
        settled(&process, &count).await;
        assert_eq!(count() - before, 1, "writes of one piece of news");
        let backends: Api<Backend> = space.api();
        let status = backends.get("web").await.unwrap().status.unwrap();
        assert_eq!((status.in_service, status.out_of_service), (0, 1));
    });
}

/// Returns when a look at all there is has written nothing.
async fn settled(process: &Process, count: &impl Fn() -> u64) {
    let settling = async {
        loop {
            let before = count();
            process.have_a_look().await;
            process.have_a_look().await;
            if count() == before {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, settling)
        .await
        .expect("it never settles");
}

/// Writes what is nothing to us.
async fn touch<K>(space: &Space, name: &str)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let annotation = json!({"metadata": {"annotations": {"example.com/note": "seen"}}});
    let objects: Api<K> = space.api();
    objects
        .patch(name, &PatchParams::default(), &Patch::Merge(annotation))
        .await
        .unwrap();
}
