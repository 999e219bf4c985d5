//! Holds of pods: by UID, over whatever Backends, and how a pod comes back (Law 6) or leaves without a hook.

use super::*;
use crate::model::Stopping;

const UID: &str = "uid-1";

fn pod_endpoint(stopping: Option<Stopping>) -> EndpointSpec {
    let id = EndpointId {
        backend: web(),
        member: Member::Pod {
            uid: UID.into(),
            port: 1,
        },
    };
    EndpointSpec {
        stopping,
        ..EndpointSpec::fixed(id, address(1), 1, AdminState::Enabled)
    }
}

/// The pod beside as many static endpoints.
fn with_pod(stopping: Option<Stopping>, others: &[u16]) -> Arc<Snapshot> {
    let mut snapshot = Arc::unwrap_or_clone(snapshot(others, DrainPolicy::default()));
    let endpoints = &mut snapshot.backends[0].endpoints;
    endpoints.push(pod_endpoint(stopping));
    endpoints.sort_by(|a, b| a.id.cmp(&b.id));
    Arc::new(snapshot)
}

impl Scene {
    async fn configured(snapshot: Arc<Snapshot>) -> Self {
        let scene = Self::new(Workers::default());
        scene.handle.configure(snapshot).await.unwrap();
        scene
    }

    fn pod_gate(&self) -> Arc<Gate> {
        let published = self.workers.published.lock().unwrap();
        Arc::clone(&published.as_ref().unwrap().gates[&pod_endpoint(None).id])
    }

    fn pod_state(&self) -> State {
        self.pod_gate().phase().state
    }

    async fn hold_pod(&self, container: &str) -> mpsc::UnboundedReceiver<HoldUpdate> {
        self.hold_as_told(container, false).await
    }

    /// The same by somebody who proves it, or on hearsay.
    async fn hold_as_told(
        &self,
        container: &str,
        hearsay: bool,
    ) -> mpsc::UnboundedReceiver<HoldUpdate> {
        let request = HoldRequest {
            key: key(container),
            scope: HoldScope::Pod(UID.into()),
            grace: None,
            restart: false,
            spare_last: hearsay,
        };
        self.handle.hold(request).await.unwrap()
    }
}

fn key(container: &str) -> HoldKey {
    HoldKey {
        id: UID.to_owned(),
        container: container.to_owned(),
    }
}

const GRACE: Stopping = Stopping {
    grace: Duration::from_mins(1),
};

#[tokio::test]
async fn law_2_a_pod_of_which_nothing_is_known_is_let_go_and_comes_closed_if_it_comes() {
    let scene = Scene::configured(snapshot(&[2, 3], DrainPolicy::default())).await;
    let mut hold = scene.hold_pod("app").await;
    assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
    // Alone in its Backend, so nothing but the hold keeps it closed.
    scene.handle.configure(with_pod(None, &[])).await.unwrap();
    assert_eq!(scene.pod_state(), State::Closed);
    scene.handle.came_back(key("app"));
    until(async || scene.pod_state() == State::Open).await;
}

#[tokio::test]
async fn law_6_a_pod_serves_again_when_every_container_that_was_let_go_is_back() {
    let scene = Scene::configured(with_pod(None, &[2])).await;
    for container in ["app", "sidecar"] {
        let mut hold = scene.hold_pod(container).await;
        assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
    }
    scene.handle.came_back(key("app"));
    scene.handle.report().await.unwrap();
    assert_eq!(scene.pod_state(), State::Closed);
    scene.handle.came_back(key("sidecar"));
    until(async || scene.pod_state() == State::Open).await;
}

#[tokio::test]
async fn what_came_back_drains_again_at_its_next_stop() {
    let scene = Scene::configured(with_pod(None, &[2])).await;
    for _ in 0..2 {
        let request = InFlight::enter(scene.pod_gate(), &scene.slot, Admission::New).ok();
        let mut hold = scene.hold_pod("app").await;
        until(async || scene.pod_state() == State::Closed).await;
        assert!(is_held(&mut hold));
        drop(request);
        assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
        scene.handle.came_back(key("app"));
        until(async || scene.pod_state() == State::Open).await;
    }
}

#[tokio::test]
async fn a_pod_that_is_gone_leaves_nothing_behind() {
    let scene = Scene::configured(snapshot(&[2], DrainPolicy::default())).await;
    let mut hold = scene.hold_pod("app").await;
    released(&mut hold).await;
    scene.handle.pod_gone(UID.into());
    scene.handle.configure(with_pod(None, &[2])).await.unwrap();
    assert_eq!(scene.pod_state(), State::Open);
}

#[tokio::test]
async fn a_pod_without_a_hook_drains_when_its_object_says_that_it_is_stopping() {
    let scene = Scene::configured(with_pod(None, &[2])).await;
    let configured = with_pod(Some(GRACE), &[2]);
    scene.handle.configure(configured).await.unwrap();
    assert_eq!(scene.pod_state(), State::Closed);
    let backends = scene.handle.report().await.unwrap();
    let reasons = backends[0]
        .endpoints
        .iter()
        .map(|one| one.reason.as_deref());
    assert!(reasons.clone().any(|reason| reason == Some("PodStopping")));
}

#[tokio::test(start_paused = true)]
async fn the_last_pod_that_is_stopping_serves_until_half_of_its_grace_is_gone() {
    let scene = Scene::configured(with_pod(Some(GRACE), &[])).await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(scene.pod_state(), State::Open);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.pod_state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_hold_whose_grace_is_shortened_ends_with_it() {
    let scene = Scene::configured(with_pod(None, &[2])).await;
    let request = InFlight::enter(scene.pod_gate(), &scene.slot, Admission::New).unwrap();
    let begin = tokio::time::Instant::now();
    let mut hold = scene.hold_pod("app").await;
    let allowance = Allowance {
        grace: Duration::from_secs(5),
        restart: false,
    };
    scene.handle.shorten(key("app"), allowance);
    let end = released(&mut hold).await;
    assert_eq!(end.cause, ReleaseCause::Deadline);
    let took = begin.elapsed();
    assert!((5..7).contains(&took.as_secs()), "{took:?}");
    drop(request);
}

#[tokio::test]
async fn a_pod_that_is_not_ready_is_out_of_service_and_replaces_nobody() {
    let mut unready = pod_endpoint(None);
    unready.ready = false;
    let mut configured = Arc::unwrap_or_clone(snapshot(&[2], DrainPolicy::default()));
    configured.backends[0].endpoints.push(unready);
    configured.backends[0]
        .endpoints
        .sort_by(|a, b| a.id.cmp(&b.id));
    let scene = Scene::configured(Arc::new(configured)).await;
    let backends = scene.handle.report().await.unwrap();
    assert_eq!((backends[0].in_service, backends[0].out_of_service), (1, 1));
    // The last that is ready keeps serving.
    let mut hold = scene.hold(2).await;
    assert!(is_held(&mut hold));
    assert_eq!(scene.gate(2).phase().state, State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_hook_was_a_sleep_is_held_as_long_at_least() {
    let mut slow = pod_endpoint(None);
    slow.min = Duration::from_secs(7);
    let mut configured = Arc::unwrap_or_clone(snapshot(&[2], DrainPolicy::default()));
    configured.backends[0].endpoints.push(slow);
    configured.backends[0]
        .endpoints
        .sort_by(|a, b| a.id.cmp(&b.id));
    let scene = Scene::configured(Arc::new(configured)).await;
    let begin = tokio::time::Instant::now();
    let mut hold = scene.hold_pod("app").await;
    assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
    let took = begin.elapsed();
    assert!((7..9).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn on_hearsay_the_last_endpoint_is_not_drained_until_somebody_proves_it() {
    let scene = Scene::configured(with_pod(None, &[])).await;
    let mut rumour = scene.hold_as_told("app", true).await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(scene.pod_state(), State::Open);
    // Its own call, from another container or the same.
    let mut proved = scene.hold_as_told("app", false).await;
    assert_eq!(scene.pod_state(), State::Closed);
    for hold in [&mut rumour, &mut proved] {
        assert_eq!(released(hold).await.cause, ReleaseCause::Drained);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_spared_is_held_no_more_when_its_hold_has_ended() {
    let scene = Scene::configured(with_pod(None, &[])).await;
    let mut rumour = scene.hold_as_told("app", true).await;
    tokio::time::sleep(Duration::from_secs(290)).await;
    let end = released(&mut rumour).await;
    assert_eq!((end.cause, end.cut), (ReleaseCause::Deadline, 0));
    assert_eq!(scene.pod_state(), State::Open);
    // It replaces others again, and is itself held as if nothing had been.
    scene.handle.configure(with_pod(None, &[2])).await.unwrap();
    let mut other = scene.hold(2).await;
    assert_eq!(released(&mut other).await.cause, ReleaseCause::Drained);
    assert_eq!(scene.pod_state(), State::Open);
}

#[tokio::test]
async fn on_hearsay_a_pod_that_comes_later_is_closed_unless_it_is_the_last() {
    for (others, state) in [(&[][..], State::Open), (&[2, 3], State::Closed)] {
        let scene = Scene::configured(snapshot(others, DrainPolicy::default())).await;
        let mut rumour = scene.hold_as_told("app", true).await;
        assert_eq!(released(&mut rumour).await.cause, ReleaseCause::Drained);
        scene
            .handle
            .configure(with_pod(None, others))
            .await
            .unwrap();
        assert_eq!(scene.pod_state(), state, "{others:?}");
    }
}
