//! One worker: a thread with a current-thread runtime that accepts, routes and forwards for itself. What
//! it shares with others are the gates, and numbers that it alone writes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};

use super::balance::Balancer;
use super::buffer::BufferPool;
use super::connection_counts::{Admitted, ConnectionCounts, Counted};
use super::http1::driver;
use super::keep_alive;
use super::rng::Rng;
use super::router::Router;
use super::stats::{Stats, WorkerStats};
use super::upstream::Upstream;
use crate::gate::{Gate, Generation, WorkerSlot, WorkerTicket};
use crate::model::{EndpointId, Listener, ObjectName, Snapshot};

/// What the control plane tells a worker. Each is acknowledged where somebody has to wait for it.
pub(super) enum Command {
    Publish(Publication, oneshot::Sender<()>),
    /// The endpoint's gate was closed: drop its idle connections.
    Closed(EndpointId),
    /// End what is in flight on the endpoint, if its gate is still in that generation.
    Cut(EndpointId, Generation),
    Listen(u16, std::net::TcpListener),
    /// Accept what waits, then give the socket up.
    Unlisten(u16, oneshot::Sender<()>),
    Shutdown(Shutdown, oneshot::Sender<()>),
}

/// A configuration with the live parts it needs.
#[derive(Clone)]
pub(super) struct Publication {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) gates: Arc<HashMap<EndpointId, Arc<Gate>>>,
    pub(super) counts: Arc<HashMap<ObjectName, Arc<ConnectionCounts>>>,
}

/// How far the process is on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shutdown {
    /// Not at all.
    No,
    /// Every response says that the connection closes.
    Announced,
    /// What clients have already sent is answered; idle connections close.
    Idle,
    /// What is still in flight is ended by force.
    Cut,
}

/// One worker's state, shared by its tasks.
pub struct Worker {
    pub(super) slot: Rc<WorkerSlot>,
    pub(super) buffers: Rc<BufferPool>,
    pub(super) rng: Rng,
    stats: Stats,
    view: RefCell<Rc<View>>,
    /// By port: where it accepts.
    doors: RefCell<HashMap<u16, Open>>,
    upstreams: RefCell<HashMap<EndpointId, Rc<Upstream>>>,
    next_key: Cell<u64>,
    connections: RefCell<Slab<Rc<Control>>>,
    shutdown: Cell<Shutdown>,
    date: RefCell<(Option<Instant>, String)>,
}

/// The configuration as this worker runs it.
#[derive(Default)]
pub(super) struct View {
    /// By port. Few, and looked up for each request: a tree needs no hash.
    sites: BTreeMap<u16, Rc<Site>>,
    pub(super) pools: Vec<Pool>,
}

impl View {
    /// What is served on the port; `None` once it was taken out of the configuration.
    pub(super) fn site(&self, port: u16) -> Option<Rc<Site>> {
        self.sites.get(&port).cloned()
    }
}

/// What is served on one port.
pub(super) struct Site {
    pub(super) snapshot: Arc<Snapshot>,
    at: usize,
    pub(super) listener: Listener,
    pub(super) router: Rc<Router>,
    counts: Arc<ConnectionCounts>,
}

impl Site {
    pub(super) fn load_balancer(&self) -> &crate::model::LoadBalancer {
        &self.snapshot.load_balancers[self.at]
    }
}

/// A port that this worker accepts on.
struct Door {
    port: u16,
    /// What is served there, or was until the port was taken out of the configuration: who waits in its
    /// queue then is let in, to be told so.
    site: RefCell<Rc<Site>>,
}

/// A door that is not closing yet.
struct Open {
    door: Rc<Door>,
    /// Ends it; what is sent hears when the last that waited was let in.
    close: oneshot::Sender<oneshot::Sender<()>>,
}

/// One Backend's endpoints.
pub(super) struct Pool {
    pub(super) endpoints: Vec<Rc<Upstream>>,
    pub(super) balancer: Balancer,
}

/// A connection, as its worker reaches it from outside.
#[derive(Debug, Default)]
pub(super) struct Control {
    waker: RefCell<Option<Waker>>,
    /// The key of the endpoint that its exchange is in flight on; 0 for none.
    pub(super) upstream: Cell<u64>,
    /// Its exchange is to end by force.
    pub(super) cut: Cell<bool>,
}

impl Control {
    /// Remembers how to wake the connection's task; the waker of a task never changes.
    pub(super) fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if known.is_none() {
            *known = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// A connection's place in its worker; it is given up when this is dropped.
pub(super) struct Registered {
    worker: Rc<Worker>,
    key: usize,
    _counted: Counted,
    pub(super) control: Rc<Control>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(self.key);
        self.worker.stats().open.subtract(1);
    }
}

/// How often idle connections to endpoints are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// How long after the kernel stopped taking handshakes the last of them may still come into the queue.
pub(super) const HANDSHAKES_END: Duration = Duration::from_millis(250);

/// How long it is tried to accept what waits at a listener that closes.
const LAST_ACCEPTED: Duration = Duration::from_secs(5);

impl Worker {
    /// Runs a worker on the calling thread until its commands end.
    pub(super) fn run(
        ticket: WorkerTicket,
        seed: u64,
        stats: Stats,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> io::Result<()> {
        // A runtime whose tasks never leave the thread: none of a `LocalSet`'s second queue.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        let worker = Rc::new(Self {
            slot: Rc::new(ticket.claim()),
            buffers: Rc::default(),
            rng: Rng::new(seed),
            stats,
            view: RefCell::default(),
            doors: RefCell::default(),
            upstreams: RefCell::default(),
            next_key: Cell::new(1),
            connections: RefCell::default(),
            shutdown: Cell::new(Shutdown::No),
            date: RefCell::default(),
        });
        runtime.block_on(worker.obey(commands));
        Ok(())
    }

    async fn obey(self: Rc<Self>, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                _ = sweep.tick() => {
                    self.sweep();
                    continue;
                }
            };
            match command {
                None => return,
                Some(Command::Publish(publication, done)) => {
                    self.publish(&publication);
                    let _ = done.send(());
                }
                Some(Command::Closed(id)) => {
                    if let Some(upstream) = self.upstreams.borrow().get(&id) {
                        upstream.close_idle();
                    }
                }
                Some(Command::Cut(id, generation)) => self.cut(&id, generation),
                Some(Command::Listen(port, listener)) => self.listen(port, listener),
                Some(Command::Unlisten(port, done)) => {
                    let door = self.doors.borrow_mut().remove(&port);
                    // Where nothing listens, `done` is dropped, which says the same.
                    if let Some(door) = door {
                        let _ = door.close.send(done);
                    }
                }
                Some(Command::Shutdown(shutdown, done)) => {
                    self.shut_down(shutdown);
                    let _ = done.send(());
                }
            }
        }
    }

    /// Opens a port that the configuration has.
    fn listen(self: &Rc<Self>, port: u16, listener: std::net::TcpListener) {
        let Some(site) = self.view().site(port) else {
            tracing::error!(port, "a listener that is not in the configuration");
            return;
        };
        let (close, closing) = oneshot::channel();
        let door = Rc::new(Door {
            port,
            site: RefCell::new(site),
        });
        let open = Open {
            door: Rc::clone(&door),
            close,
        };
        self.doors.borrow_mut().insert(port, open);
        tokio::task::spawn_local(Rc::clone(self).accept(door, listener, closing));
    }

    async fn accept(
        self: Rc<Self>,
        door: Rc<Door>,
        listener: std::net::TcpListener,
        mut closing: oneshot::Receiver<oneshot::Sender<()>>,
    ) {
        let port = door.port;
        let _fatal = FatalPanic;
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(port, %error, "listener unusable");
                return;
            }
        };
        let done = loop {
            tokio::select! {
                biased;
                done = &mut closing => break done.ok(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(&door, stream, peer),
                    Err(error) => accept_failed(port, &error).await,
                },
            }
        };
        self.accept_the_last(&door, &listener).await;
        drop(listener);
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// The queue's last: handshakes that were under way when new ones were turned away. What cannot be
    /// accepted now may be in a moment, when others have ended.
    async fn accept_the_last(self: &Rc<Self>, door: &Door, listener: &TcpListener) {
        let patience = Instant::now() + LAST_ACCEPTED;
        loop {
            match tokio::time::timeout(HANDSHAKES_END, listener.accept()).await {
                Ok(Ok((stream, peer))) => self.admit(door, stream, peer),
                Ok(Err(error)) if Instant::now() < patience => {
                    accept_failed(door.port, &error).await;
                }
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    fn admit(self: &Rc<Self>, door: &Door, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let site = Rc::clone(&door.site.borrow());
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if !site.load_balancer().allows(peer.ip()) {
            self.stats().turned_away.add(1);
            return;
        }
        let limit = site.load_balancer().limits.connections;
        let admitted = site.counts.admit(&site.listener.name, limit);
        if !matches!(admitted, Admitted::Served(_)) {
            self.stats().turned_away.add(1);
        }
        let (counted, refused) = match admitted {
            Admitted::Served(counted) => (counted, false),
            Admitted::Refused(counted) => (counted, true),
            Admitted::Dropped => return,
        };
        let registered = self.register(counted);
        // Answers are small and whole: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        keep_alive::watch(&stream);
        let worker = Rc::clone(self);
        let mut connection = driver::Connection::new(stream, peer, door.port, worker, registered);
        if refused {
            tokio::task::spawn_local(async move { connection.refuse().await });
        } else {
            tokio::task::spawn_local(async move { connection.serve().await });
        }
    }

    fn register(self: &Rc<Self>, counted: Counted) -> Registered {
        let control = Rc::new(Control::default());
        let key = self.connections.borrow_mut().insert(Rc::clone(&control));
        self.stats().connections.add(1);
        self.stats().open.add(1);
        Registered {
            worker: Rc::clone(self),
            key,
            _counted: counted,
            control,
        }
    }

    /// Swaps the configuration whole. Exchanges under way keep what they began with.
    fn publish(&self, publication: &Publication) {
        let snapshot = &publication.snapshot;
        let mut view = View::default();
        let mut known = self.upstreams.borrow_mut();
        for backend in &snapshot.backends {
            let mut endpoints = Vec::with_capacity(backend.endpoints.len());
            for spec in &backend.endpoints {
                let Some(gate) = publication.gates.get(&spec.id) else {
                    continue;
                };
                let same = known
                    .get(&spec.id)
                    .filter(|u| u.is(spec.address, gate))
                    .cloned();
                let upstream = same.unwrap_or_else(|| {
                    let key = self.next_key.replace(self.next_key.get() + 1);
                    Rc::new(Upstream::new(
                        spec.id.clone(),
                        spec.address,
                        key,
                        Arc::clone(gate),
                    ))
                });
                upstream.set_weight(spec.weight);
                known.insert(spec.id.clone(), Rc::clone(&upstream));
                endpoints.push(upstream);
            }
            let weights: Vec<u32> = backend.endpoints.iter().map(|e| e.weight).collect();
            let balancer = Balancer::new(backend.policy, &weights, self.slot.index());
            view.pools.push(Pool {
                endpoints,
                balancer,
            });
        }
        for (at, load_balancer) in snapshot.load_balancers.iter().enumerate() {
            let router = Rc::new(Router::new(load_balancer, self.slot.index()));
            let counts = publication.counts.get(&load_balancer.name);
            for listener in &load_balancer.listeners {
                let site = Site {
                    snapshot: Arc::clone(snapshot),
                    at,
                    listener: listener.clone(),
                    router: Rc::clone(&router),
                    counts: counts.cloned().unwrap_or_default(),
                };
                view.sites.insert(listener.port, Rc::new(site));
            }
        }
        drop(known);
        for open in self.doors.borrow().values() {
            if let Some(site) = view.site(open.door.port) {
                open.door.site.replace(site);
            }
        }
        self.view.replace(Rc::new(view));
        self.forget_unused();
    }

    /// Drops upstreams that are no longer configured and have nothing in flight.
    fn forget_unused(&self) {
        let view = self.view();
        let configured: std::collections::HashSet<u64> = view
            .pools
            .iter()
            .flat_map(|p| &p.endpoints)
            .map(|u| u.key)
            .collect();
        self.upstreams.borrow_mut().retain(|_, upstream| {
            configured.contains(&upstream.key) || Rc::strong_count(upstream) > 1
        });
    }

    fn sweep(&self) {
        let now = Instant::now();
        for upstream in self.upstreams.borrow().values() {
            upstream.sweep(now);
        }
    }

    fn cut(&self, id: &EndpointId, generation: Generation) {
        let key = match self.upstreams.borrow().get(id) {
            Some(upstream) if upstream.generation() == generation => upstream.key,
            // Gone, or withdrawn in between: what is in flight may have entered since.
            Some(_) | None => return,
        };
        for (_, control) in &*self.connections.borrow() {
            if control.upstream.get() == key {
                control.cut.set(true);
                control.wake();
            }
        }
    }

    fn shut_down(&self, shutdown: Shutdown) {
        self.shutdown.set(shutdown);
        for (_, control) in &*self.connections.borrow() {
            if shutdown == Shutdown::Cut {
                control.cut.set(true);
            }
            control.wake();
        }
    }

    /// How far the process is on its way down.
    pub(super) fn shutdown(&self) -> Shutdown {
        self.shutdown.get()
    }

    /// The configuration as it is now; hold it for one request only.
    pub(super) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// This worker's numbers.
    pub(super) fn stats(&self) -> &WorkerStats {
        self.stats.worker(self.slot.index())
    }

    /// Calls `with` with the time as `Date` has it, made once a second.
    pub(super) fn with_date<T>(&self, now: Instant, with: impl FnOnce(&str) -> T) -> T {
        let mut date = self.date.borrow_mut();
        let fresh = date
            .0
            .is_some_and(|at| now.saturating_duration_since(at) < Duration::from_millis(500));
        if !fresh {
            *date = (
                Some(now),
                httpdate::fmt_http_date(std::time::SystemTime::now()),
            );
        }
        with(&date.1)
    }
}

/// Ends the process where it is dropped by a panic. The runtime would keep a panic of a task to itself: this
/// worker's share of a port's connections would wait in its queue for ever.
struct FatalPanic;

impl Drop for FatalPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("accepting has failed for good: ending the process");
            std::process::abort();
        }
    }
}

/// A connection that failed before it was accepted says nothing about the next. Anything else (no
/// descriptors, no memory) would fail again at once, so it is waited.
async fn accept_failed(port: u16, error: &io::Error) {
    if !is_of_one_connection(error) {
        tracing::error!(port, %error, "no connection accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Linux reports what became of the connection that is accepted as a failure of accept itself (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
        NetworkDown, NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{State, worker_tickets};
    use crate::proxy::samples;
    use std::io::{Read, Write};
    use tokio::sync::oneshot::error::TryRecvError;

    /// Long enough for a busy machine; nothing waits for it to pass.
    const LIMIT: Duration = Duration::from_secs(20);

    /// A worker that finds these commands when it starts, in one go.
    fn start(commands: Vec<Command>) -> mpsc::UnboundedSender<Command> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for command in commands {
            sender.send(command).unwrap();
        }
        let ticket = worker_tickets(1).remove(0);
        std::thread::spawn(|| Worker::run(ticket, 1, Stats::new(1), receiver));
        sender
    }

    fn publish(listeners: &[(&str, u16)]) -> Command {
        let publication = Publication {
            snapshot: samples::snapshot(listeners),
            gates: Arc::default(),
            counts: Arc::default(),
        };
        Command::Publish(publication, oneshot::channel().0)
    }

    fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < LIMIT, "waited for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    struct NobodyWaits;

    impl crate::gate::Wake for NobodyWaits {
        fn emptied(&self, _: Generation) {}
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// What comes, until it contains `end`.
    fn read_until(stream: &mut std::net::TcpStream, end: &str) -> String {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut text = String::new();
        while !text.contains(end) {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).unwrap();
            assert_ne!(length, 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        text
    }

    #[test]
    fn what_entered_after_a_drain_was_withdrawn_is_not_cut_by_its_order() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let port = address.port();
        let (id, snapshot) = samples::serving(port, server.local_addr().unwrap());
        let gate = Arc::new(Gate::new(1, State::Open, Arc::new(NobodyWaits)));
        let publication = Publication {
            snapshot,
            gates: Arc::new(HashMap::from([(id.clone(), Arc::clone(&gate))])),
            counts: Arc::default(),
        };
        let commands = start(vec![
            Command::Publish(publication, oneshot::channel().0),
            Command::Listen(port, listener),
        ]);
        let withdrawn = gate.change(State::Closed).generation;
        gate.change(State::Open);
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(GET).unwrap();
        let (mut at_server, _) = server.accept().unwrap();
        read_until(&mut at_server, "\r\n\r\n");

        let (done, mut obeyed) = oneshot::channel();
        commands.send(Command::Cut(id.clone(), withdrawn)).unwrap();
        commands.send(Command::Unlisten(0, done)).unwrap();
        wait_until("the order", || {
            obeyed.try_recv() == Err(TryRecvError::Closed)
        });
        at_server
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
        let answer = read_until(&mut client, "ok");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

        // The order of a drain that stands is carried out.
        client.write_all(GET).unwrap();
        read_until(&mut at_server, "\r\n\r\n");
        let stands = gate.change(State::Closed).generation;
        commands.send(Command::Cut(id, stands)).unwrap();
        let answer = read_until(&mut client, "\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        wait_until("the count", || gate.in_flight() == 0);
        assert_eq!(gate.cut(), 1);
    }

    #[test]
    fn who_waits_at_a_listener_that_is_taken_out_is_told_so() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let (done, mut closed) = oneshot::channel();
        let _commands = start(vec![
            publish(&[("http", address.port())]),
            Command::Listen(address.port(), listener),
            publish(&[]),
            Command::Unlisten(address.port(), done),
        ]);
        client.set_read_timeout(Some(LIMIT)).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("this listener was removed"), "{answer}");
        // In the end it is closed all the same.
        wait_until("its end", || closed.try_recv() != Err(TryRecvError::Empty));
        std::net::TcpStream::connect(address).unwrap_err();
    }

    /// Runs this same test in a process of its own, which a panic may end.
    fn in_a_process(test: &str) -> std::process::ExitStatus {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env("LASTCALL_TEST_PANIC", "1")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
    }

    #[test]
    fn a_panic_while_accepting_ends_the_process() {
        use std::os::unix::process::ExitStatusExt;

        if std::env::var_os("LASTCALL_TEST_PANIC").is_none() {
            let name = concat!(module_path!(), "::a_panic_while_accepting_ends_the_process");
            let (_, name) = name.split_once("::").unwrap();
            let (abort, ended) = (6, in_a_process(name));
            assert_eq!(ended.signal(), Some(abort), "{ended:?}");
            return;
        }
        // The runtime panics over a socket that blocks; any panic would do.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (done, _) = oneshot::channel();
        let _commands = start(vec![
            publish(&[("http", port)]),
            Command::Listen(port, listener),
            Command::Unlisten(port, done),
        ]);
        std::thread::sleep(LIMIT);
    }

    #[test]
    fn a_failed_accept_waits_unless_it_was_the_connection_that_failed() {
        let (emfile, enfile, enobufs, enomem, einval) = (24, 23, 105, 12, 22);
        for number in [emfile, enfile, enobufs, enomem, einval] {
            let error = io::Error::from_raw_os_error(number);
            assert!(!is_of_one_connection(&error), "{error}");
        }
        let (econnaborted, econnreset, enetdown, eintr) = (103, 104, 100, 4);
        for number in [econnaborted, econnreset, enetdown, eintr] {
            let error = io::Error::from_raw_os_error(number);
            assert!(is_of_one_connection(&error), "{error}");
        }
    }
}
