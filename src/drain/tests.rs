//! The coordinator with a data plane that does as the test says: what is held, what lets go, and that
//! nothing else stands in a release's way.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;

use tokio::sync::Semaphore;

use super::*;
use crate::gate::{Admission, Gate, InFlight, WorkerSlot, worker_tickets};
use crate::model::{Backend, DrainPolicy, EndpointSpec, Member, ObjectName, Policy};

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

    fn cut(&self, id: &EndpointId) {
        self.cut.lock().unwrap().push(id.clone());
    }
}

struct NotLeaving;

impl LiveLookup for NotLeaving {
    fn leaving(&self, _: &HoldKey) -> Pin<Box<dyn Future<Output = Leaving> + Send>> {
        Box::pin(std::future::ready(Leaving::No))
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 7], port))
}

fn web() -> ObjectName {
    ObjectName::new("default", "web")
}

fn id(port: u16) -> EndpointId {
    EndpointId {
        backend: web(),
        member: Member::Static(address(port)),
    }
}

fn snapshot(ports: &[u16], draining: DrainPolicy) -> Arc<Snapshot> {
    let endpoints = ports.iter().map(|port| EndpointSpec {
        id: id(*port),
        address: address(*port),
        weight: 1,
        admin_state: AdminState::Enabled,
    });
    let backend = Backend {
        name: web(),
        endpoints: endpoints.collect(),
        policy: Policy::RoundRobin,
        admin_state: AdminState::Enabled,
        draining,
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
}

impl Scene {
    fn new(workers: Workers) -> Self {
        let workers = Arc::new(workers);
        let (coordinator, handle) = Coordinator::new(
            1,
            Arc::new(Arc::clone(&workers)),
            Arc::new(NotLeaving),
            Arc::new(|_| ()),
        );
        tokio::spawn(coordinator.run());
        let ticket = worker_tickets(1).remove(0);
        Self {
            handle,
            workers,
            slot: Rc::new(ticket.claim()),
        }
    }

    /// Two endpoints that take requests.
    async fn serving() -> Self {
        let scene = Self::new(Workers::default());
        let configured = snapshot(&[1, 2], DrainPolicy::default());
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
        let request = HoldRequest {
            key: HoldKey {
                id: format!("server-{port}"),
                container: String::new(),
            },
            targets: vec![Target {
                backend: web(),
                address: Some(address(port)),
            }],
            grace: None,
            restart: false,
        };
        self.handle.hold(request).await.unwrap()
    }

    async fn report(&self, port: u16) -> crate::model::report::EndpointReport {
        let backends = self.handle.report().await.unwrap();
        let mut endpoints = backends.into_iter().flat_map(|backend| backend.endpoints);
        endpoints
            .find(|one| one.address == address(port).to_string())
            .unwrap()
    }
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
    while scene.handle.report().await.unwrap()[0].total < 3 {
        tokio::task::yield_now().await;
    }
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
    while scene.workers.cut.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
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
    let without = snapshot(&[2], DrainPolicy::default());
    scene.handle.configure(without).await.unwrap();
    assert_eq!(
        scene.report(1).await.in_flight,
        1,
        "known until it is drained"
    );
    drop(last);
    while scene.handle.report().await.unwrap()[0].total > 1 {
        tokio::task::yield_now().await;
    }
    let with = snapshot(&[1, 2], DrainPolicy::default());
    scene.handle.configure(with).await.unwrap();
    assert!(scene.enter(1).is_some());
    assert!(
        !Arc::ptr_eq(&old, &scene.gate(1)),
        "nothing binds it to what it was"
    );
}
