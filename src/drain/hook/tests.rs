//! The hook server's answers, with a cluster that says what the test wants.

mod kubelet;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use lastcall_hold::wire::HoldLine;
use tower::ServiceExt;

use super::*;
use crate::drain::{Coordinator, DataPlane, Leaving, LiveLookup, Published};
use crate::gate::Generation;
use crate::model::grace::Evidence;
use crate::model::{
    AdminState, Backend, DrainPolicy, EndpointId, EndpointSpec, Member, ObjectName, Policy,
    Snapshot, Stopping,
};

/// Workers that do nothing but keep what they are given.
#[derive(Default)]
struct Idle(Mutex<Option<Published>>);

impl DataPlane for Idle {
    fn publish(&self, published: Published) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        *self.0.lock().unwrap() = Some(published);
        Box::pin(std::future::ready(()))
    }
    fn closed(&self, _: &EndpointId) {}
    fn cut(&self, _: &EndpointId, _: Generation) {}
}

impl LiveLookup for Idle {
    fn leaving(&self, _: &HoldKey) -> std::pin::Pin<Box<dyn Future<Output = Leaving> + Send>> {
        Box::pin(std::future::ready(Leaving::No))
    }
}

/// Knows one token, and says of its pod what it is told to.
struct Says {
    life: Mutex<PodLife>,
    /// How often it was asked for a life, as the API server would be.
    asked: AtomicU32,
    /// The pods with `the-id`.
    named: Mutex<Vec<Named>>,
    /// The API server does not answer.
    away: AtomicBool,
    /// The next look at pods panics.
    panics: AtomicBool,
    changes: watch::Sender<u64>,
}

impl Cluster for Says {
    fn caller<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, Refusal>> {
        let said = match token {
            "good" => Ok(Caller {
                namespace: "shop".to_owned(),
                pod: "web-1".to_owned(),
                uid: "uid-1".into(),
            }),
            "too early" => Err(Refusal::NoKeys("not fetched yet".to_owned())),
            _ => Err(Refusal::BadToken("signature".to_owned())),
        };
        Box::pin(std::future::ready(said))
    }
    fn life<'a>(&'a self, _: &'a Caller, _: &'a str) -> BoxFuture<'a, PodLife> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(*self.life.lock().unwrap()))
    }
    fn last_heard(&self, _: &Caller) -> Option<PodLife> {
        let life = *self.life.lock().unwrap();
        Some(PodLife {
            evidence: None,
            ..life
        })
    }
    fn named<'a>(&'a self, namespace: &'a str, id: &'a str) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            // It takes a moment, in which other things happen.
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(!self.panics.swap(false, Ordering::Relaxed), "on purpose");
            Found {
                pods: self.named_as_seen(namespace, id),
                live: !self.away.load(Ordering::Relaxed),
            }
        })
    }
    fn named_as_seen(&self, namespace: &str, id: &str) -> Vec<Named> {
        assert_eq!((namespace, id), ("shop", "the-id"));
        self.named.lock().unwrap().clone()
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn parts(life: PodLife) -> (Parts, Arc<Says>) {
    with_workers(life, &Arc::default())
}

fn with_workers(life: PodLife, idle: &Arc<Idle>) -> (Parts, Arc<Says>) {
    let (coordinator, draining) = Coordinator::new(
        1,
        Arc::clone(idle) as _,
        Arc::clone(idle) as _,
        Arc::new(|_| ()),
    );
    tokio::spawn(coordinator.run());
    let cluster = Arc::new(Says {
        life: Mutex::new(life),
        asked: AtomicU32::new(0),
        named: Mutex::default(),
        away: AtomicBool::default(),
        panics: AtomicBool::default(),
        changes: watch::channel(0).0,
    });
    let parts = Parts {
        draining,
        cluster: Arc::clone(&cluster) as _,
        node_shutdown: Duration::from_secs(20),
        calls: Calls::default(),
        peer_ready: watch::channel(false).1,
    };
    (parts, cluster)
}

fn request(token: Option<&str>, body: &str) -> Request<Body> {
    let mut request = Request::post(PRESTOP_PATH);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn law_5_whoever_proves_nothing_is_refused_and_not_released() {
    let (parts, _) = parts(PodLife::default());
    let app = r#"{"container":"app"}"#;
    for (token, body, status) in [
        (None, app, StatusCode::UNAUTHORIZED),
        (Some("forged"), app, StatusCode::UNAUTHORIZED),
        (Some("too early"), app, StatusCode::SERVICE_UNAVAILABLE),
        (Some("good"), "{}", StatusCode::BAD_REQUEST),
        (Some("good"), r#"{"container":""}"#, StatusCode::BAD_REQUEST),
    ] {
        let response = router(parts.clone())
            .oneshot(request(token, body))
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{token:?} {body}");
    }
}

#[tokio::test]
async fn a_pod_of_which_nothing_is_in_flight_is_let_go_at_once() {
    let (parts, _) = parts(PodLife::default());
    let request = request(Some("good"), r#"{"container":"app"}"#);
    let response = router(parts).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = axum::body::to_bytes(response.into_body(), 10_000)
        .await
        .unwrap();
    let last = body
        .split(|byte| *byte == b'\n')
        .rfind(|line| !line.is_empty())
        .unwrap();
    let last: HoldLine = serde_json::from_slice(last).unwrap();
    assert!(
        matches!(last, HoldLine::Released { cut: 0, .. }),
        "{last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn evidence_that_comes_after_the_hook_shortens_the_hold() {
    let life = PodLife {
        grace: Some(Duration::from_secs(330)),
        original: Some(Duration::from_secs(30)),
        ..PodLife::default()
    };
    let (parts, cluster) = parts(life);
    let (backend, snapshot) = one_pod();
    parts.draining.configure(snapshot).await.unwrap();
    // The only one of its Backend keeps serving until half of its time is gone.
    let begin = tokio::time::Instant::now();
    let request = request(Some("good"), r#"{"container":"app"}"#);
    let response = router(parts.clone()).oneshot(request).await.unwrap();
    cluster.life.lock().unwrap().evidence = Some(Evidence::Probe);
    cluster.changes.send_modify(|change| *change += 1);
    let body = axum::body::to_bytes(response.into_body(), 100_000)
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&body).contains("released"));
    // restartTimeoutSeconds is 10: not the 300 s that the pod's own grace would have allowed.
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(11), "{took:?}");
    let report = parts.draining.report().await.unwrap();
    assert_eq!(report[0].name, *backend.name);
    assert_eq!(report[0].in_service, 0);
}

#[tokio::test(start_paused = true)]
async fn a_grace_that_is_shortened_in_the_middle_is_heard_of_without_asking_at_every_change() {
    let stopping = |seconds| PodLife {
        deletion: Some(Duration::from_secs(seconds)),
        grace: Some(Duration::from_secs(330)),
        original: Some(Duration::from_secs(30)),
        evidence: None,
    };
    let (parts, cluster) = parts(stopping(330));
    parts.draining.configure(one_pod().1).await.unwrap();
    let begin = tokio::time::Instant::now();
    let request = request(Some("good"), r#"{"container":"app"}"#);
    let response = router(parts.clone()).oneshot(request).await.unwrap();
    for seconds in [330, 330, 330, 9] {
        *cluster.life.lock().unwrap() = stopping(seconds);
        cluster.changes.send_modify(|change| *change += 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let body = axum::body::to_bytes(response.into_body(), 100_000)
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&body).contains("released"));
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
    // Once, when the hook called.
    assert_eq!(cluster.asked.load(Ordering::Relaxed), 1);
}

/// A Backend with the pod as its only endpoint.
fn one_pod() -> (ObjectName, Arc<Snapshot>) {
    (web(), pods(&[("uid-1", None)]))
}

fn web() -> ObjectName {
    ObjectName::new("shop", "web")
}

fn endpoint(uid: &str) -> EndpointId {
    EndpointId {
        backend: web(),
        member: Member::Pod {
            uid: uid.into(),
            port: 80,
        },
    }
}

/// A Backend with these pods; those with a grace are being stopped.
fn pods(pods: &[(&str, Option<Stopping>)]) -> Arc<Snapshot> {
    let address = ([10, 0, 0, 7], 80).into();
    let endpoints = pods.iter().map(|(uid, stopping)| EndpointSpec {
        stopping: *stopping,
        ..EndpointSpec::fixed(endpoint(uid), address, 1, AdminState::Enabled)
    });
    let backend = Backend {
        name: web(),
        endpoints: endpoints.collect(),
        protocol: crate::model::EndpointProtocol::Http1,
        policy: Policy::RoundRobin,
        admin_state: AdminState::Enabled,
        draining: DrainPolicy::default(),
        tls: crate::model::UpstreamTls::No,
        send_proxy: None,
        slow_start: None,
        limits: None,
    };
    Arc::new(Snapshot {
        backends: vec![backend],
        ..Snapshot::default()
    })
}
