//! Calls of the kubelet: when they are answered, and that nothing else answers them; whom they drain is in [`whom`].

mod whom;

use std::rc::Rc;

use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::gate::{Admission, Gate, InFlight, State as GateState, WorkerSlot, worker_tickets};
use crate::model::report::BackendReport;

/// Nothing waits for it to pass.
const LIMIT: Duration = Duration::from_secs(20);
const STOPPING: Option<Stopping> = Some(Stopping {
    grace: Duration::from_secs(330),
});

/// What a pod with a hook has, before anybody has deleted it.
const LIFE: PodLife = PodLife {
    deletion: None,
    grace: Some(Duration::from_secs(330)),
    original: Some(Duration::from_secs(30)),
    evidence: None,
};

struct Scene {
    parts: Parts,
    cluster: Arc<Says>,
    workers: Arc<Idle>,
    slot: Rc<WorkerSlot>,
}

impl Scene {
    /// A Backend with these pods, of which those with the same id are named with whether they are being deleted.
    async fn new(all: &[&str], named: &[(&str, bool)]) -> Self {
        let workers = Arc::default();
        let (parts, cluster) = with_workers(LIFE, &workers);
        let ticket = worker_tickets(1).remove(0);
        let scene = Self {
            parts,
            cluster,
            workers,
            slot: Rc::new(ticket.claim()),
        };
        let all: Vec<_> = all.iter().map(|uid| (*uid, None)).collect();
        scene.parts.draining.configure(pods(&all)).await.unwrap();
        scene.name(named);
        scene
    }

    /// From now on these have the id; whoever watches hears it only by [`Scene::change`].
    fn name(&self, named: &[(&str, bool)]) {
        let named = named.iter().map(|(uid, terminating)| Named {
            pod: Caller {
                namespace: "shop".to_owned(),
                pod: format!("pod-of-{uid}"),
                uid: (*uid).into(),
            },
            terminating: *terminating,
        });
        *self.cluster.named.lock().unwrap() = named.collect();
    }

    fn change(&self) {
        self.cluster.changes.send_modify(|change| *change += 1);
    }

    fn away(&self, away: bool) {
        self.cluster.away.store(away, Ordering::Relaxed);
    }

    /// The kubelet calls.
    fn call(&self) -> JoinHandle<Response> {
        self.call_at("/v1/prestop/shop/the-id/app")
    }

    fn call_at(&self, path: &str) -> JoinHandle<Response> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let router = router(self.parts.clone());
        tokio::spawn(async move { router.oneshot(request).await.unwrap() })
    }

    fn gate(&self, uid: &str) -> Arc<Gate> {
        let published = self.workers.0.lock().unwrap();
        Arc::clone(&published.as_ref().unwrap().gates[&endpoint(uid)])
    }

    fn is_open(&self, uid: &str) -> bool {
        self.gate(uid).phase().state == GateState::Open
    }

    fn enter(&self, uid: &str) -> Option<InFlight<Arc<Gate>>> {
        InFlight::enter(self.gate(uid), &self.slot, Admission::New).ok()
    }

    async fn report(&self) -> BackendReport {
        self.parts.draining.report().await.unwrap().remove(0)
    }

    async fn holds(&self) -> u64 {
        self.report().await.endpoints.iter().map(|e| e.holds).sum()
    }

    /// Waits until so many holds are under way.
    async fn held(&self, holds: u64) {
        until(async || self.holds().await == holds).await;
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap();
}

/// The answer, which comes soon.
async fn answer(call: JoinHandle<Response>) -> String {
    let response = timeout(LIMIT, call).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONNECTION], "close");
    let body = axum::body::to_bytes(response.into_body(), 10_000).await;
    String::from_utf8(body.unwrap().to_vec()).unwrap()
}

/// Not answered, however long one waits. Time is paused.
async fn stays_held(call: &mut JoinHandle<Response>, how_long: Duration) {
    assert!(timeout(how_long, call).await.is_err(), "answered");
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_when_the_last_request_has_left() {
    let scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    let last = scene.enter("a").unwrap();
    let mut call = scene.call();
    scene.held(1).await;
    assert!(scene.enter("a").is_none() && scene.enter("b").is_some());
    stays_held(&mut call, SECOND * 60).await;
    drop(last);
    let said = answer(call).await;
    assert!(said.starts_with("drained after 60."), "{said}");
    assert!(scene.enter("a").is_none(), "it gets nothing more");
}

#[tokio::test(start_paused = true)]
async fn the_same_call_twice_is_one_hold_and_both_are_answered() {
    let scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    let last = scene.enter("a").unwrap();
    let calls = [scene.call(), scene.call()];
    scene.held(1).await;
    let mut third = scene.call();
    stays_held(&mut third, SECOND).await;
    assert_eq!(scene.holds().await, 1);
    drop(last);
    for call in calls.into_iter().chain([third]) {
        assert!(answer(call).await.starts_with("drained"));
    }
}

#[tokio::test(start_paused = true)]
async fn each_container_has_its_own_hold() {
    let scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    let last = scene.enter("a").unwrap();
    let (app, proxy) = (scene.call(), scene.call_at("/v1/prestop/shop/the-id/proxy"));
    scene.held(2).await;
    drop(last);
    answer(app).await;
    answer(proxy).await;
}

#[tokio::test(start_paused = true)]
async fn law_6_a_kubelet_that_vanished_leaves_a_pod_that_serves_again() {
    let scene = Scene::new(&["a", "b"], &[("a", false)]).await;
    let call = scene.call();
    scene.name(&[("a", false)]);
    let last = scene.enter("a").unwrap();
    scene.held(1).await;
    call.abort();
    assert_eq!(scene.parts.calls.ended(LIMIT).await, 0);
    sleep(SECOND * 20).await;
    assert!(!scene.is_open("a"));
    sleep(SECOND * 15).await;
    assert!(scene.is_open("a"));
    drop(last);
}

#[tokio::test(start_paused = true)]
async fn a_grace_that_is_shortened_shortens_the_hold() {
    let scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    scene.cluster.life.lock().unwrap().deletion = Some(SECOND * 330);
    let stuck = scene.enter("a").unwrap();
    let mut call = scene.call();
    stays_held(&mut call, SECOND * 5).await;
    scene.cluster.life.lock().unwrap().deletion = Some(SECOND * 30);
    scene.change();
    let said = answer(call).await;
    assert!(said.starts_with("deadline after 20."), "{said}");
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn law_5_a_panic_within_a_hold_lets_nobody_go() {
    let scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    scene.cluster.panics.store(true, Ordering::Relaxed);
    let last = scene.enter("a").unwrap();
    let mut call = scene.call();
    stays_held(&mut call, SECOND * 30).await;
    assert!(!scene.is_open("a"), "it was begun again");
    drop(last);
    answer(call).await;
}

#[tokio::test(start_paused = true)]
async fn law_5_without_a_coordinator_nobody_is_answered() {
    let workers: Arc<Idle> = Arc::default();
    let (mut parts, cluster) = with_workers(LIFE, &workers);
    let ended = Coordinator::new(
        1,
        Arc::clone(&workers) as _,
        Arc::clone(&workers) as _,
        Arc::new(|_| ()),
    );
    parts.draining = ended.1;
    drop(ended.0);
    let pod = Caller {
        namespace: "shop".to_owned(),
        pod: "web-1".to_owned(),
        uid: "a".into(),
    };
    *cluster.named.lock().unwrap() = vec![Named {
        pod,
        terminating: true,
    }];
    let request = Request::get("/v1/prestop/shop/the-id/app");
    let answered = router(parts).oneshot(request.body(Body::empty()).unwrap());
    assert!(timeout(SECOND * 3600, answered).await.is_err());
}

#[tokio::test]
async fn a_path_that_is_more_than_names_asks_the_cluster_nothing() {
    let scene = Scene::new(&["a"], &[("a", true)]).await;
    for path in [
        "shop/the-id%2Ca%3Db/app",
        "sh%2Fop/the-id/app",
        "shop/the-id/%20",
    ] {
        let call = scene.call_at(&format!("/v1/prestop/{path}"));
        let response = timeout(LIMIT, call).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    assert!(scene.is_open("a"));
}

#[tokio::test(start_paused = true)]
async fn a_leaving_replica_hands_its_calls_to_a_ready_peer_at_most_seven_times() {
    let mut scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    let (ready, peer_ready) = watch::channel(false);
    scene.parts.peer_ready = peer_ready;
    let last = scene.enter("a").unwrap();
    let path = "/v1/prestop/shop/the-id/app";
    let (first, second) = (scene.call(), scene.call_at(&format!("{path}?hops=6")));
    let mut seventh = scene.call_at(&format!("{path}?hops=7"));
    scene.held(1).await;
    assert!(!first.is_finished());
    ready.send_replace(true);
    for (call, there) in [(first, 1), (second, 7)] {
        let response = timeout(LIMIT, call).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        let headers = response.headers();
        assert_eq!(headers[header::LOCATION], format!("{path}?hops={there}"));
        assert_eq!(headers[header::CONNECTION], "close");
    }
    stays_held(&mut seventh, SECOND * 30).await;
    drop(last);
    answer(seventh).await;
}

/// Over a socket, as the kubelet has it: no byte comes before the release, and then the connection ends.
#[tokio::test]
async fn not_one_byte_is_sent_before_the_release() {
    let scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = axum::serve(listener, router(scene.parts.clone()));
    tokio::spawn(async move { serving.await });
    let ask = b"GET /v1/prestop/shop/the-id/app HTTP/1.1\r\nHost: h\r\n\r\n";
    let last = scene.enter("a").unwrap();
    let mut kubelet = TcpStream::connect(address).await.unwrap();
    kubelet.write_all(ask).await.unwrap();
    // Another one vanishes.
    let mut gone = TcpStream::connect(address).await.unwrap();
    gone.write_all(ask).await.unwrap();
    until(async || scene.parts.calls.ended(Duration::ZERO).await == 2).await;
    scene.held(1).await;
    drop(gone);
    until(async || scene.parts.calls.ended(Duration::ZERO).await == 1).await;
    let early = kubelet.try_read(&mut [0; 1]);
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(last);
    let mut said = String::new();
    let read = timeout(LIMIT, kubelet.read_to_string(&mut said)).await;
    read.unwrap().unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
    assert_eq!(scene.parts.calls.ended(LIMIT).await, 0);
}

/// Or a process that is leaving would end between the release and its answer.
#[tokio::test(start_paused = true)]
async fn a_call_is_under_way_until_its_answer_was_taken() {
    let scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    let response = timeout(LIMIT, scene.call()).await.unwrap().unwrap();
    assert_eq!(scene.parts.calls.ended(Duration::ZERO).await, 1);
    let body = axum::body::to_bytes(response.into_body(), 10_000).await;
    assert!(!body.unwrap().is_empty());
    assert_eq!(scene.parts.calls.ended(Duration::ZERO).await, 0);
}
