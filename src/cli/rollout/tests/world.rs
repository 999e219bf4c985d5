//! A small world: pods, which drain when they are told to, go when they are evicted, and are replaced; an API server
//! and a lastcall that both tell of it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::admin::test_parts::{Fake, backend, endpoint};
use crate::admin::{Draining, Parts, router};
use crate::cli::Failure;
use crate::cli::cluster::test_server::{Asked, refusal};
use crate::cli::dial::{Dial, Dialled};
use crate::drain::{HoldRequest, HoldUpdate, TargetError};
use crate::model::report::{
    BackendReport, DEREGISTERED, DEREGISTERING, EndpointReport, IN_SERVICE, ServiceState, UNHEALTHY,
};
use crate::model::{AdminState, EndpointId, Target};

pub(super) const PODS: &str = "/api/v1/namespaces/shop/pods";
pub(super) const FOREVER: u32 = u32::MAX;

/// A pod of the world.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) held: bool,
    pub(super) state: Option<String>,
    /// Looks at lastcall until it is drained, once it is told to; until it serves, where it is new.
    pub(super) looks: u32,
    pub(super) new: bool,
}

/// What happens, and what has.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) pods: Vec<Pod>,
    /// Replacements get no hook.
    pub(super) no_webhook: bool,
    /// Evictions that a budget still refuses.
    pub(super) refusals: u32,
    /// What an eviction is answered with in place of success.
    pub(super) eviction: Option<u16>,
    /// What a patch is answered with in place of success.
    pub(super) patch: Option<u16>,
    /// What taking the annotation away is answered with in place of success.
    pub(super) back: Option<u16>,
    /// Looks for which a lastcall that was restarted knows nothing yet, once something drains.
    pub(super) unknowing: u32,
    pub(super) made: u32,
    pub(super) done: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn of(pods: &[(&str, bool)], change: impl FnOnce(&mut World)) -> Self {
        let mut world = World {
            pods: pods
                .iter()
                .map(|(name, held)| Pod {
                    name: (*name).to_owned(),
                    held: *held,
                    state: None,
                    looks: 2,
                    new: false,
                })
                .collect(),
            ..World::default()
        };
        change(&mut world);
        Self(Arc::new(Mutex::new(world)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// What was done to pods, in order.
    pub(super) fn done(&self) -> Vec<String> {
        self.lock().done.clone()
    }
}

impl World {
    pub(super) fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        let path = asked.path.split('?').next().unwrap().to_owned();
        match (asked.method.as_str(), path.as_str()) {
            ("GET", "/apis/apps/v1/namespaces/shop/deployments/app") => (200, self.deployment()),
            ("GET", "/apis/apps/v1/namespaces/shop/replicasets") => (200, replica_sets()),
            ("GET", PODS) => {
                let items: Vec<Value> = self.pods.iter().map(pod).collect();
                let list =
                    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items});
                (200, list)
            }
            ("PATCH", path) => self.patch(path.rsplit('/').next().unwrap(), &asked.body),
            ("POST", path) => {
                let name = path
                    .strip_suffix("/eviction")
                    .unwrap()
                    .rsplit('/')
                    .next()
                    .unwrap();
                self.evict(name, &asked.body)
            }
            _ => refusal(404, &path),
        }
    }

    fn deployment(&self) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "app", "namespace": "shop", "uid": "d"},
            "spec": {
                "replicas": self.pods.len(),
                "selector": {"matchLabels": {"app": "app"}},
                "template": {"spec": {"containers": []}},
            },
        })
    }

    fn patch(&mut self, name: &str, body: &Value) -> (u16, Value) {
        let state = body["metadata"]["annotations"]["lastcall.dev/admin-state"].clone();
        if let Some(code) = self.patch {
            return refusal(code, "User \"ann\" cannot patch");
        }
        if let Some(code) = self.back.filter(|_| state.is_null()) {
            return refusal(code, "User \"ann\" cannot patch");
        }
        let Some(found) = self.pods.iter_mut().find(|pod| pod.name == name) else {
            return refusal(404, name);
        };
        assert_eq!(
            body["metadata"]["uid"],
            format!("{name}-uid"),
            "any pod of that name"
        );
        found.state = state.as_str().map(str::to_owned);
        self.done
            .push(format!("{name} {}", state.as_str().unwrap_or("back")));
        (200, pod(found))
    }

    fn evict(&mut self, name: &str, body: &Value) -> (u16, Value) {
        let uid = &body["deleteOptions"]["preconditions"]["uid"];
        assert_eq!(*uid, format!("{name}-uid"), "any pod of that name: {body}");
        if self.refusals > 0 {
            self.refusals = self
                .refusals
                .saturating_sub(u32::from(self.refusals != FOREVER));
            return refusal(429, "it would violate the pod's disruption budget");
        }
        if let Some(code) = self.eviction {
            return refusal(code, "this pod cannot be evicted");
        }
        let at = self.pods.iter().position(|pod| pod.name == name).unwrap();
        let gone = self.pods.remove(at);
        assert!(
            gone.held || gone.looks == 0,
            "{name} was evicted before it was drained"
        );
        self.made += 1;
        self.pods.push(Pod {
            name: format!("new-{}", self.made),
            held: !self.no_webhook,
            state: None,
            looks: 2,
            new: true,
        });
        self.done.push(format!("{name} evicted"));
        (
            201,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}}),
        )
    }

    /// lastcall's report. Each look brings what is under way a step on.
    fn report(&mut self) -> Vec<BackendReport> {
        if self.unknowing > 0 && self.pods.iter().any(|pod| pod.state.is_some()) {
            return Vec::new();
        }
        let mut endpoints = Vec::new();
        for pod in &mut self.pods {
            let (state, description, in_flight) = match (&pod.state, pod.looks, pod.new) {
                (Some(_), 0, _) => (ServiceState::OutOfService, DEREGISTERED, 0),
                (Some(_), looks, _) => (ServiceState::InService, DEREGISTERING, looks.into()),
                (None, 1.., true) => (ServiceState::OutOfService, UNHEALTHY, 0),
                (None, ..) => (ServiceState::InService, IN_SERVICE, 1),
            };
            if pod.state.is_some() || pod.new {
                pod.looks = pod.looks.saturating_sub(1);
            }
            endpoints.push(EndpointReport {
                pod: Some(pod.name.clone()),
                pod_uid: Some(format!("{}-uid", pod.name)),
                ..endpoint(
                    &format!("10.0.0.1:{}", endpoints.len()),
                    state,
                    description,
                    in_flight,
                )
            });
        }
        vec![backend("web", endpoints)]
    }
}

fn pod(pod: &Pod) -> Value {
    let hook = json!({"preStop": {"httpGet": {"path": "/v1/prestop/a/b/app", "port": 1}}});
    let mut container = json!({"name": "app"});
    if pod.held {
        container["lifecycle"] = hook;
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod.name, "namespace": "shop", "uid": format!("{}-uid", pod.name),
            "labels": {"lastcall.dev/hook-id": "b"},
            "ownerReferences": [owner("ReplicaSet", "app-1", "rs")],
        },
        "spec": {"containers": [container]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn replica_sets() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSetList", "metadata": {},
        "items": [{
            "metadata": {
                "name": "app-1", "namespace": "shop", "uid": "rs",
                "ownerReferences": [owner("Deployment", "app", "d")],
            },
            "spec": {"selector": {"matchLabels": {"app": "app"}}},
        }],
    })
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
}

impl Draining for Shared {
    fn hold(
        &self,
        _: HoldRequest,
    ) -> BoxFuture<'_, Result<mpsc::UnboundedReceiver<HoldUpdate>, TargetError>> {
        unreachable!("a rollout holds nothing")
    }

    fn set_admin_state(
        &self,
        target: Target,
        _: AdminState,
        _: Option<Duration>,
    ) -> BoxFuture<'_, Result<Vec<EndpointId>, TargetError>> {
        panic!("{target} was set in the process, which forgets it")
    }

    fn report(&self) -> BoxFuture<'_, Result<Vec<BackendReport>, TargetError>> {
        let report = self.lock().report();
        Box::pin(async { Ok(report) })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

/// lastcall's admin API in memory.
#[derive(Debug)]
pub(super) struct InMemory(pub(super) Shared);

impl Dial for InMemory {
    fn dial(&self) -> BoxFuture<'_, Result<Dialled, Failure>> {
        let fake = Fake::new();
        {
            let mut world = self.0.lock();
            if world.unknowing > 0 && world.pods.iter().any(|pod| pod.state.is_some()) {
                world.unknowing -= 1;
                fake.configuration.lock().unwrap().revision = 0;
            }
        }
        let own = fake.parts();
        let parts = Arc::new(Parts {
            draining: Arc::new(self.0.clone()),
            configuration: fake.clone(),
            statistics: fake,
            readiness: own.readiness.clone(),
            shutting_down: own.shutting_down.clone(),
            started: own.started,
        });
        let (here, there) = tokio::io::duplex(1 << 16);
        let service = TowerToHyperService::new(router(parts));
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(there), service),
        );
        Box::pin(async {
            Ok(Dialled {
                stream: Box::new(here),
                trouble: Box::pin(std::future::ready(None)),
            })
        })
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn advice(&self) -> &'static str {
        ""
    }
}
