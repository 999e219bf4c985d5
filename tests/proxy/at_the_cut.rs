//! The moment in which the data plane is ended by force, step by step: a worker inside the test, which can be
//! stopped between two of its tasks.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use lastcall::gate::{Gate, Generation, State, Wake};
use lastcall::model::{
    AdminState, Backend as ModelBackend, DrainPolicy, EndpointId, EndpointProtocol, EndpointSpec,
    Limits, Listener, LoadBalancer, Member, ObjectName, Policy, Protocol, Retry, RouteTimeouts,
    Snapshot, UpstreamTls, WeightedBackend,
};
use lastcall::proxy::Workers;

use crate::LIMIT;
use crate::resend::black_hole;
use crate::support::backend::{self, Backend};
use crate::support::{End, RawClient, free_port, wait_until};

/// One worker that serves one listener.
struct Scene {
    workers: Workers,
    gates: Vec<Arc<Gate>>,
    address: SocketAddr,
}

impl Scene {
    fn start(endpoints: &[SocketAddr], limits: Limits, wake: &Arc<dyn Wake>) -> Self {
        let port = free_port();
        let specs: Vec<EndpointSpec> = endpoints.iter().map(|at| spec(*at)).collect();
        let gates: Vec<Arc<Gate>> = specs
            .iter()
            .map(|_| Arc::new(Gate::new(1, State::Open, Arc::clone(wake))))
            .collect();
        let by_id: HashMap<EndpointId, Arc<Gate>> = specs
            .iter()
            .zip(&gates)
            .map(|(spec, gate)| (spec.id.clone(), Arc::clone(gate)))
            .collect();
        let workers = Workers::start(1, Ipv4Addr::LOCALHOST.into()).unwrap();
        let snapshot = Arc::new(snapshot(port, specs, limits));
        block_on(workers.publish(snapshot, Arc::new(by_id)));
        Self {
            workers,
            gates,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        }
    }

    /// Ends everything by force, as a second signal does.
    fn cut_all(&self) {
        block_on(self.workers.cut_all());
    }

    fn open_connections(&self) -> u64 {
        self.workers.stats().sum(|stats| &stats.open)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn spec(address: SocketAddr) -> EndpointSpec {
    let id = EndpointId {
        backend: ObjectName::new("default", "web"),
        member: Member::Static(address),
    };
    EndpointSpec::fixed(id, address, 1, AdminState::Enabled)
}

fn snapshot(port: u16, endpoints: Vec<EndpointSpec>, limits: Limits) -> Snapshot {
    let load_balancer = LoadBalancer {
        listeners: vec![Listener {
            name: "http".into(),
            port,
            protocol: Protocol::Http,
            hostname: None,
            tls: None,
            proxy_protocol: false,
        }],
        default_backend: Some(WeightedBackend {
            backend: 0,
            weight: 1,
            timeouts: RouteTimeouts::default(),
            retry: Retry::default(),
        }),
        limits,
        ..LoadBalancer::new(ObjectName::new("default", "test"))
    };
    let backend = ModelBackend {
        name: ObjectName::new("default", "web"),
        endpoints,
        protocol: EndpointProtocol::Http1,
        policy: Policy::RoundRobin,
        admin_state: AdminState::Enabled,
        draining: DrainPolicy::default(),
        tls: UpstreamTls::No,
        send_proxy: None,
        slow_start: None,
        limits: None,
    };
    Snapshot {
        load_balancers: vec![load_balancer],
        backends: vec![backend],
    }
}

/// Nobody to be woken.
struct Nobody;

impl Wake for Nobody {
    fn emptied(&self, _: Generation) {}
}

fn nobody() -> Arc<dyn Wake> {
    Arc::new(Nobody)
}

/// Stops the worker's thread the first time that a closed gate empties, until the test lets it go on.
struct Stop {
    once: AtomicBool,
    stopped: Mutex<Sender<()>>,
    go: Mutex<Receiver<()>>,
}

impl Wake for Stop {
    fn emptied(&self, _: Generation) {
        if !self.once.swap(true, Ordering::SeqCst) {
            self.stopped.lock().unwrap().send(()).unwrap();
            // An error: the test has ended.
            let _ = self.go.lock().unwrap().recv();
        }
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn what_a_client_has_sent_is_answered_even_where_the_worker_has_not_heard_of_it() {
    let held = backend::Gate::new();
    let awaited = held.clone();
    let server = Backend::start(move |seen| match seen.target() {
        "/held" => backend::slow(&awaited, "held"),
        _ => backend::ok("quick"),
    });
    let ((stopped, has_stopped), (go, goes)) = (channel(), channel());
    let stop: Arc<dyn Wake> = Arc::new(Stop {
        once: AtomicBool::new(false),
        stopped: Mutex::new(stopped),
        go: Mutex::new(goes),
    });
    let scene = Scene::start(&[server.address], Limits::default(), &stop);
    // Connections are ended in the order in which they came.
    let _first = RawClient::sending(scene.address, GET.replace("/ ", "/held "));
    server.wait_for_requests(1);
    let mut second = RawClient::connect(scene.address);
    assert_eq!(second.ask(GET).body_text(), "quick");
    scene.gates[0].change(State::Closed);
    std::thread::scope(|scope| {
        scope.spawn(|| scene.cut_all());
        // The worker has been told, ends the first request, and comes to the idle connection next.
        has_stopped.recv_timeout(LIMIT).unwrap();
        second.send(GET);
        go.send(()).unwrap();
        assert_eq!(second.read_response().status(), 503);
    });
    held.open();
}

#[test]
fn a_request_is_cut_once_however_many_endpoints_there_are() {
    let (holes, _sockets): (Vec<_>, Vec<_>) = (0..3).map(|_| black_hole()).unzip();
    let scene = Scene::start(&holes, Limits::default(), &nobody());
    let mut client = RawClient::sending(scene.address, GET);
    wait_until("the request to be in flight", LIMIT, || {
        let in_flight: u64 = scene.gates.iter().map(|gate| gate.in_flight()).sum();
        (in_flight == 1).then_some(()).ok_or(in_flight)
    });
    scene.cut_all();
    assert_eq!(client.read_response().status(), 503);
    assert_eq!(scene.workers.totals().cuts, 1);
    assert_eq!(scene.gates.iter().map(|gate| gate.cut()).sum::<u64>(), 1);
}

#[test]
fn who_has_got_everything_is_not_waited_for() {
    let server = Backend::echo();
    let limits = Limits {
        body_bytes: Some(10),
        ..Limits::default()
    };
    let scene = Scene::start(&[server.address], limits, &nobody());
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
    let mut client = RawClient::sending(scene.address, head);
    // The answer and its end have come; what the client may still send is read and dropped.
    assert_eq!(client.read_to_end().1, End::Fin);
    assert_eq!(scene.open_connections(), 1);
    scene.cut_all();
    assert_eq!(scene.open_connections(), 0);
}

#[test]
fn who_was_turned_away_is_not_waited_for() {
    let server = Backend::echo();
    let limits = Limits {
        connections: 0,
        ..Limits::default()
    };
    let scene = Scene::start(&[server.address], limits, &nobody());
    let mut client = RawClient::connect(scene.address);
    assert_eq!(client.read_to_end().1, End::Fin);
    assert_eq!(scene.open_connections(), 1);
    scene.cut_all();
    assert_eq!(scene.open_connections(), 0);
}
