//! The coordinator with a data plane that does as the test says: what is held, what lets go, and that
//! nothing else stands in a release's way.

mod asked_again;
mod pods;
mod vanished;

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;

use tokio::sync::Semaphore;

use super::*;
use crate::gate::{Admission, Gate, Generation, InFlight, State, WorkerSlot, worker_tickets};
use crate::model::report::ServiceState;
use crate::model::{
    Backend, DrainPolicy, EndpointProtocol, EndpointSpec, Member, ObjectName, Policy, UpstreamTls,
};

/// Long enough for a busy machine; nothing waits for it to pass.
const LIMIT: Duration = Duration::from_secs(20);

/// Workers that take a configuration in when they are allowed to.
#[derive(Default)]
struct Workers {
    published: Mutex<Option<Published>>,
    allowed: Option<Semaphore>,
    cut: Mutex<Vec<EndpointId>>,
}

impl DataPlane for Arc<Workers> {
    fn publish(&self, published: Published) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let workers = Arc::clone(self);
        Box::pin(async move {
            if let Some(allowed) = &workers.allowed {
                allowed.acquire().await.unwrap().forget();
            }
            *workers.published.lock().unwrap() = Some(published);
        })
    }

    fn closed(&self, _: &EndpointId) {}

    fn cut(&self, id: &EndpointId, _: Generation) {
        self.cut.lock().unwrap().push(id.clone());
    }
}

/// What a live look-up says.
struct Says(Leaving);

impl LiveLookup for Says {
    fn leaving(&self, _: &HoldKey) -> Pin<Box<dyn Future<Output = Leaving> + Send>> {
        Box::pin(std::future::ready(self.0))
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 7], port))
}

fn web() -> ObjectName {
    ObjectName::new("default", "web")
}

fn target(port: u16) -> Target {
    Target {
        backend: web(),
        address: Some(address(port)),
    }
}

fn id(port: u16) -> EndpointId {
    EndpointId {
        backend: web(),
        member: Member::Static(address(port)),
    }
}

fn snapshot(ports: &[u16], draining: DrainPolicy) -> Arc<Snapshot> {
    let endpoints = ports
        .iter()
        .map(|port| EndpointSpec::fixed(id(*port), address(*port), 1, AdminState::Enabled));
    let backend = Backend {
        name: web(),
        endpoints: endpoints.collect(),
        protocol: EndpointProtocol::Http1,
        policy: Policy::RoundRobin,
        admin_state: AdminState::Enabled,
        draining,
        tls: UpstreamTls::No,
        send_proxy: None,
        slow_start: None,
        limits: None,
    };
    Arc::new(Snapshot {
        backends: vec![backend],
        ..Snapshot::default()
    })
}

/// A coordinator that runs, and the one worker there is.
struct Scene {
    handle: Handle,
    workers: Arc<Workers>,
    slot: Rc<WorkerSlot>,
    /// What was told of, in order.
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Scene {
    fn new(workers: Workers) -> Self {
        Self::with(workers, Leaving::No)
    }

    fn with(workers: Workers, leaving: Leaving) -> Self {
        let workers = Arc::new(workers);
        let entries: Arc<Mutex<Vec<Entry>>> = Arc::default();
        let told = Arc::clone(&entries);
        let (coordinator, handle) = Coordinator::new(
            1,
            Arc::new(Arc::clone(&workers)),
            Arc::new(Says(leaving)),
            Arc::new(move |entry| told.lock().unwrap().push(entry.clone())),
        );
        tokio::spawn(coordinator.run());
        let ticket = worker_tickets(1).remove(0);
        Self {
            handle,
            workers,
            slot: Rc::new(ticket.claim()),
            entries,
        }
    }

    /// Holds under way, by what was told: those that began less those that ended.
    fn holds_told(&self) -> i32 {
        let entries = self.entries.lock().unwrap();
        let count = |entry: &Entry| match entry {
            Entry::HoldStarted { .. } => 1,
            Entry::Released { .. } | Entry::HoldUnheard { .. } | Entry::HoldWithdrawn { .. } => -1,
            _ => 0,
        };
        entries.iter().map(count).sum()
    }

    /// Three endpoints that take requests: two may leave, and one is there that can take their work.
    async fn serving() -> Self {
        let scene = Self::new(Workers::default());
        let configured = snapshot(&[1, 2, 3], DrainPolicy::default());
        scene.handle.configure(configured).await.unwrap();
        scene
    }

    fn gate(&self, port: u16) -> Arc<Gate> {
        let published = self.workers.published.lock().unwrap();
        Arc::clone(&published.as_ref().unwrap().gates[&id(port)])
    }

    fn enter(&self, port: u16) -> Option<InFlight<Arc<Gate>>> {
        InFlight::enter(self.gate(port), &self.slot, Admission::New).ok()
    }

    async fn hold(&self, port: u16) -> mpsc::UnboundedReceiver<HoldUpdate> {
        self.hold_as(&format!("server-{port}"), &[port], None).await
    }

    async fn hold_as(
        &self,
        key: &str,
        ports: &[u16],
        grace: Option<Duration>,
    ) -> mpsc::UnboundedReceiver<HoldUpdate> {
        let request = HoldRequest {
            key: HoldKey {
                id: key.to_owned(),
                container: String::new(),
            },
            scope: HoldScope::Targets(ports.iter().map(|port| target(*port)).collect()),
            grace,
            restart: false,
            spare_last: false,
        };
        self.handle.hold(request).await.unwrap()
    }

    async fn enable(&self, port: u16) {
        let enabled = self
            .handle
            .set_admin_state(target(port), AdminState::Enabled, None);
        enabled.await.unwrap();
        until(async || self.gate(port).phase().state == State::Open).await;
    }

    async fn report(&self, port: u16) -> crate::model::report::EndpointReport {
        let backends = self.handle.report().await.unwrap();
        let mut endpoints = backends.into_iter().flat_map(|backend| backend.endpoints);
        endpoints
            .find(|one| one.address == address(port).to_string())
            .unwrap()
    }
}

/// Waits for a condition.
async fn until(condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap();
}

/// The end of a hold.
async fn released(updates: &mut mpsc::UnboundedReceiver<HoldUpdate>) -> Released {
    let end = async {
        loop {
            if let HoldUpdate::Released(released) = updates.recv().await.unwrap() {
                return released;
            }
        }
    };
    tokio::time::timeout(LIMIT, end).await.unwrap()
}

/// What a holder has heard so far says nothing of an end.
fn is_held(updates: &mut mpsc::UnboundedReceiver<HoldUpdate>) -> bool {
    while let Ok(update) = updates.try_recv() {
        if matches!(update, HoldUpdate::Released(_)) {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_hold_lasts_until_the_last_request_leaves_and_nothing_enters_meanwhile() {
    let scene = Scene::serving().await;
    let (first, second) = (scene.enter(1).unwrap(), scene.enter(1).unwrap());
    let mut hold = scene.hold(1).await;
    drop(first);
    assert!(scene.enter(1).is_none() && scene.enter(2).is_some());
    assert_eq!(scene.report(1).await.in_flight, 1);
    assert!(is_held(&mut hold));
    drop(second);
    let released = released(&mut hold).await;
    assert_eq!((released.cause, released.cut), (ReleaseCause::Drained, 0));
    assert!(
        scene.enter(1).is_none(),
        "a released server gets nothing more"
    );
}

#[tokio::test]
async fn a_release_waits_for_no_worker_that_takes_a_configuration_in() {
    let scene = Scene::new(Workers {
        allowed: Some(Semaphore::new(1)),
        ..Workers::default()
    });
    let configured = snapshot(&[1, 2], DrainPolicy::default());
    scene.handle.configure(configured).await.unwrap();
    let last = scene.enter(1).unwrap();
    let mut hold = scene.hold(1).await;
    // From here on no worker takes anything in.
    let handle = scene.handle.clone();
    let configured = snapshot(&[1, 2, 3], DrainPolicy::default());
    let configuring = tokio::spawn(async move { handle.configure(configured).await });
    until(async || scene.handle.report().await.unwrap()[0].total == 3).await;
    drop(last);
    assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
    assert!(!configuring.is_finished());
    scene.workers.allowed.as_ref().unwrap().add_permits(1);
    configuring.await.unwrap().unwrap();
    assert!(scene.enter(3).is_some());
}

#[tokio::test]
async fn calls_of_one_key_are_one_hold_and_all_hear_its_end() {
    let scene = Scene::serving().await;
    let last = scene.enter(1).unwrap();
    let (mut one, mut again) = (scene.hold(1).await, scene.hold(1).await);
    assert_eq!(scene.report(1).await.holds, 1);
    assert!(is_held(&mut one) && is_held(&mut again));
    drop(last);
    assert_eq!(released(&mut one).await, released(&mut again).await);
}

#[tokio::test]
async fn without_draining_a_hold_cuts_and_says_so() {
    let scene = Scene::new(Workers::default());
    let configured = DrainPolicy {
        enabled: false,
        ..DrainPolicy::default()
    };
    let configured = snapshot(&[1, 2], configured);
    scene.handle.configure(configured).await.unwrap();
    let cut = scene.enter(1).unwrap();
    let mut hold = scene.hold(1).await;
    until(async || !scene.workers.cut.lock().unwrap().is_empty()).await;
    assert_eq!(*scene.workers.cut.lock().unwrap(), [id(1)]);
    cut.count_cut();
    drop(cut);
    let released = released(&mut hold).await;
    assert_eq!((released.cause, released.cut), (ReleaseCause::Cut, 1));
}

#[tokio::test]
async fn an_endpoint_that_is_taken_out_drains_and_is_new_when_it_comes_back() {
    let scene = Scene::serving().await;
    let old = scene.gate(1);
    let last = scene.enter(1).unwrap();
    let without = snapshot(&[2, 3], DrainPolicy::default());
    scene.handle.configure(without).await.unwrap();
    assert_eq!(
        scene.report(1).await.in_flight,
        1,
        "known until it is drained"
    );
    drop(last);
    until(async || scene.handle.report().await.unwrap()[0].total == 2).await;
    let with = snapshot(&[1, 2, 3], DrainPolicy::default());
    scene.handle.configure(with).await.unwrap();
    assert!(scene.enter(1).is_some());
    assert!(
        !Arc::ptr_eq(&old, &scene.gate(1)),
        "nothing binds it to what it was"
    );
}

#[tokio::test]
async fn nobody_leaves_by_a_configuration_before_every_worker_runs_it() {
    let scene = Scene::new(Workers {
        allowed: Some(Semaphore::new(1)),
        ..Workers::default()
    });
    let policy = DrainPolicy::default();
    scene
        .handle
        .configure(snapshot(&[1], policy))
        .await
        .unwrap();
    let old = scene.gate(1);
    let handle = scene.handle.clone();
    let configuring = tokio::spawn(async move { handle.configure(snapshot(&[2], policy)).await });
    // The last that serves is held, and what is to replace it cannot be asked yet.
    until(async || scene.handle.report().await.unwrap()[0].total == 2).await;
    let mut hold = scene.hold(1).await;
    scene.report(1).await;
    assert!(is_held(&mut hold));
    assert_eq!(old.phase().state, State::Open);
    scene.workers.allowed.as_ref().unwrap().add_permits(1);
    configuring.await.unwrap().unwrap();
    assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
    assert_eq!(old.phase().state, State::Closed);
    assert!(scene.enter(2).is_some());
}
