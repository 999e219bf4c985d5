//! Whole rollouts against an API server and a lastcall that share one small world: pods, which drain when they
//! are told to, go when they are evicted, and are replaced.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::moving::{Mover, Progress};
use super::report::{Action, Rolled};
use super::workload::{Kind, Workload};
use super::{How, roll};
use crate::admin::test_parts::{Fake, backend, endpoint};
use crate::admin::{Draining, Parts, router};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::cluster::Cluster;
use crate::cli::cluster::test_server::{self, Asked, Seen, refusal};
use crate::cli::dial::{Dial, Dialled};
use crate::drain::{HoldRequest, HoldUpdate, TargetError};
use crate::model::report::{
    BackendReport, DEREGISTERED, DEREGISTERING, EndpointReport, IN_SERVICE, ServiceState, UNHEALTHY,
};
use crate::model::{AdminState, EndpointId, Target};

const PODS: &str = "/api/v1/namespaces/shop/pods";
const FOREVER: u32 = u32::MAX;

/// A pod of the world.
#[derive(Clone, Debug)]
struct Pod {
    name: String,
    held: bool,
    state: Option<String>,
    /// Looks at lastcall until it is drained, once it is told to; until it serves, where it is new.
    looks: u32,
    new: bool,
}

/// What happens, and what has.
#[derive(Debug, Default)]
struct World {
    pods: Vec<Pod>,
    /// Replacements get no hook.
    no_webhook: bool,
    /// Evictions that a budget still refuses.
    refusals: u32,
    /// What an eviction is answered with in place of success.
    eviction: Option<u16>,
    /// What a patch is answered with in place of success.
    patch: Option<u16>,
    /// Looks for which a lastcall that was restarted knows nothing yet, once something drains.
    unknowing: u32,
    made: u32,
    done: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    fn of(pods: &[(&str, bool)], change: impl FnOnce(&mut World)) -> Self {
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

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// What was done to pods, in order.
    fn done(&self) -> Vec<String> {
        self.lock().done.clone()
    }
}

impl World {
    fn answer(&mut self, asked: &Asked) -> (u16, Value) {
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
struct InMemory(Shared);

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

/// What came of a rollout.
struct Ended {
    rolled: Rolled,
    result: Result<(), Failure>,
    lines: Vec<String>,
}

impl Ended {
    fn actions(&self) -> Vec<Action> {
        self.rolled.pods.iter().map(|row| row.action).collect()
    }

    fn code(&self) -> u8 {
        self.result.as_ref().map_or_else(Failure::exit_code, |()| 0)
    }

    fn error(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }

    #[track_caller]
    fn said(&self, part: &str) {
        let found = self.lines.iter().any(|line| line.contains(part));
        assert!(found, "{part} is not in {:#?}", self.lines);
    }
}

const EARNEST: How = How {
    all: false,
    dry_run: false,
};

fn server(world: &Shared) -> (Cluster, Seen) {
    let world = world.clone();
    test_server::cluster(move |asked| world.lock().answer(asked))
}

async fn rollout(world: &Shared, how: How) -> Ended {
    rollout_until(world, how, std::future::pending()).await
}

async fn rollout_until(world: &Shared, how: How, interrupted: impl Future<Output = ()>) -> Ended {
    let (cluster, _) = server(world);
    let lastcall = Client::new(Arc::new(InMemory(world.clone())));
    let workload = Workload::read(&cluster, Kind::Deployment, "shop", "app")
        .await
        .unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let progress = Progress::new(move |line| told.lock().unwrap().push(line.to_owned()));
    let mover = Mover {
        cluster: &cluster,
        lastcall: &lastcall,
        workload: &workload,
        limit: Duration::from_mins(10),
        progress: &progress,
    };
    let (rolled, result) = roll(&mover, how, interrupted).await.unwrap();
    let lines = lines.lock().unwrap().clone();
    Ended {
        rolled,
        result,
        lines,
    }
}

#[tokio::test(start_paused = true)]
async fn pods_that_nothing_holds_are_drained_evicted_and_replaced_one_by_one() {
    let world = Shared::of(&[("a", false), ("b", true), ("c", false)], |_| {});
    let ended = rollout(&world, EARNEST).await;
    ended.result.as_ref().unwrap();
    assert_eq!(
        ended.actions(),
        [Action::Moved, Action::LeftAlone, Action::Moved]
    );
    assert_eq!(
        world.done(),
        ["a Draining", "a evicted", "c Draining", "c evicted"]
    );
    assert_eq!(ended.rolled.pods[0].replaced_by, ["new-1"]);
    assert!(ended.rolled.pods[0].drain_millis.is_some());
    for part in [
        "a: drains: 2 requests in flight",
        "a: drained",
        "new-1 is ready, and not yet in service in Backend default/web",
    ] {
        ended.said(part);
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_refuses_is_asked_again() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.refusals = 3;
    });
    let ended = rollout(&world, EARNEST).await;
    ended.result.as_ref().unwrap();
    ended.said("a: eviction refused for now: it would violate");
    assert_eq!(world.done(), ["a Draining", "a evicted"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_evicted_is_put_back() {
    for (change, code, says) in [
        // A budget that never lets it go.
        (
            (FOREVER, None),
            3,
            "disruption budget, when its time was over (--timeout)",
        ),
        ((0, Some(500)), 1, "pod a cannot be evicted: this pod"),
        (
            (0, Some(403)),
            4,
            "not allowed to create pods/eviction in namespace shop",
        ),
    ] {
        let world = Shared::of(&[("a", false), ("b", true), ("c", false)], |world| {
            (world.refusals, world.eviction) = change;
        });
        let ended = rollout(&world, EARNEST).await;
        assert_eq!(
            ended.actions(),
            [Action::PutBack, Action::LeftAlone, Action::NotBegun]
        );
        assert_eq!(world.done(), ["a Draining", "a back"]);
        assert_eq!(ended.code(), code);
        assert!(ended.error().contains(says), "{}", ended.error());
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_patched_is_not_touched() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.patch = Some(403);
    });
    let ended = rollout(&world, EARNEST).await;
    assert_eq!(ended.actions(), [Action::Failed, Action::LeftAlone]);
    let error = ended.error();
    assert!(
        error.starts_with("not allowed to patch pods in namespace shop"),
        "{error}"
    );
    assert!(!error.contains("put back"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_puts_the_pod_back_and_ends() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.pods[0].looks = FOREVER;
    });
    let interrupted = tokio::time::sleep(Duration::from_secs(20));
    let ended = rollout_until(&world, EARNEST, interrupted).await;
    assert_eq!(ended.code(), 130);
    assert_eq!(ended.actions(), [Action::PutBack, Action::LeftAlone]);
    assert_eq!(world.done(), ["a Draining", "a back"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_an_operator_has_drained_is_put_back_as_that() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.eviction = Some(500);
    });
    world.lock().pods[0].state = Some("Draining".to_owned());
    let (cluster, _) = {
        let world = world.clone();
        test_server::cluster(move |asked| {
            let (code, mut body) = world.lock().answer(asked);
            if let Some(pods) = body["items"]
                .as_array_mut()
                .filter(|_| asked.line() == format!("GET {PODS}"))
            {
                pods[0]["metadata"]["annotations"] =
                    json!({"lastcall.dev/admin-state": "Draining"});
            }
            (code, body)
        })
    };
    let lastcall = Client::new(Arc::new(InMemory(world.clone())));
    let workload = Workload::read(&cluster, Kind::Deployment, "shop", "app")
        .await
        .unwrap();
    let progress = Progress::new(|_| {});
    let mover = Mover {
        cluster: &cluster,
        lastcall: &lastcall,
        workload: &workload,
        limit: Duration::from_mins(1),
        progress: &progress,
    };
    let (_, result) = roll(&mover, EARNEST, std::future::pending()).await.unwrap();
    assert_eq!(result.unwrap_err().exit_code(), 1);
    assert_eq!(world.done(), ["a Draining", "a Draining"]);
}

#[tokio::test(start_paused = true)]
async fn the_only_endpoint_of_a_backend_is_left_alone_with_advice() {
    let world = Shared::of(&[("a", false)], |_| {});
    let ended = rollout(&world, EARNEST).await;
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.actions(), [Action::Failed]);
    let error = ended.error();
    for part in [
        "only endpoint of Backend default/web",
        "kubectl scale deployment/app --namespace shop --replicas=2",
        "then back to 1",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(world.done().is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_stops_when_a_replacement_is_not_held_either() {
    let world = Shared::of(&[("a", false), ("b", false)], |world| {
        world.no_webhook = true;
    });
    let ended = rollout(&world, EARNEST).await;
    assert_eq!(ended.actions(), [Action::Moved, Action::NotBegun]);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.error().contains("new-1: container app has no hook"),
        "{}",
        ended.error()
    );
    assert_eq!(world.done(), ["a Draining", "a evicted"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_changes_nothing() {
    let world = Shared::of(&[("a", false), ("b", true)], |_| {});
    let how = How {
        dry_run: true,
        ..EARNEST
    };
    let ended = rollout(&world, how).await;
    assert_eq!(ended.actions(), [Action::WouldMove, Action::LeftAlone]);
    assert!(world.done().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_held_are_evicted_as_they_are_where_all_are_to_move() {
    // The only one too: its own hook keeps it serving until the replacement does.
    let world = Shared::of(&[("a", true)], |_| {});
    let how = How {
        all: true,
        ..EARNEST
    };
    let ended = rollout(&world, how).await;
    ended.result.as_ref().unwrap();
    assert_eq!(ended.actions(), [Action::Moved]);
    assert_eq!(world.done(), ["a evicted"]);
}

#[tokio::test(start_paused = true)]
async fn law_5_a_lastcall_that_starts_anew_does_not_make_a_pod_drained() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.unknowing = 5;
    });
    let ended = rollout(&world, EARNEST).await;
    // The world itself fails an eviction that comes too early.
    ended.result.as_ref().unwrap();
    ended.said("lastcall is not ready");
    assert_eq!(world.done(), ["a Draining", "a evicted"]);
}
