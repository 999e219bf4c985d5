//! A worker that is told what to do by the test, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};

use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::gate::{Gate, State, Wake, worker_tickets};
use crate::model::Snapshot;
use crate::proxy::samples;

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
        tls: Arc::default(),
        limiters: Arc::default(),
        backends: Arc::default(),
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

impl Wake for NobodyWaits {
    fn emptied(&self, _: Generation) {}
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What comes, until it contains `end`.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
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
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.port();
    let (id, snapshot) = samples::serving(port, server.local_addr().unwrap());
    let gate = Arc::new(Gate::new(1, State::Open, Arc::new(NobodyWaits)));
    let publication = Publication {
        snapshot,
        gates: Arc::new(HashMap::from([(id.clone(), Arc::clone(&gate))])),
        counts: Arc::default(),
        tls: Arc::default(),
        limiters: Arc::default(),
        backends: Arc::default(),
    };
    let commands = start(vec![
        Command::Publish(publication, oneshot::channel().0),
        Command::Listen(port, listener),
    ]);
    let withdrawn = gate.change(State::Closed).generation;
    gate.change(State::Open);
    let mut client = TcpStream::connect(address).unwrap();
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
fn an_order_to_cut_reaches_what_is_in_flight_at_an_endpoints_former_address() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.port();
    let (id, snapshot) = samples::serving(port, server.local_addr().unwrap());
    let gate = Arc::new(Gate::new(1, State::Open, Arc::new(NobodyWaits)));
    let gates = Arc::new(HashMap::from([(id.clone(), Arc::clone(&gate))]));
    let publication = |snapshot| Publication {
        snapshot,
        gates: Arc::clone(&gates),
        counts: Arc::default(),
        tls: Arc::default(),
        limiters: Arc::default(),
        backends: Arc::default(),
    };
    let commands = start(vec![
        Command::Publish(publication(Arc::clone(&snapshot)), oneshot::channel().0),
        Command::Listen(port, listener),
    ]);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(GET).unwrap();
    let (mut at_server, _) = server.accept().unwrap();
    read_until(&mut at_server, "\r\n\r\n");

    let mut moved = Arc::unwrap_or_clone(snapshot);
    moved.backends[0].endpoints[0].address = ([127, 0, 0, 1], 1).into();
    let publish = Command::Publish(publication(Arc::new(moved)), oneshot::channel().0);
    commands.send(publish).unwrap();
    let closed = gate.change(State::Closed).generation;
    commands.send(Command::Cut(id, closed)).unwrap();
    let answer = read_until(&mut client, "\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    wait_until("the count", || gate.in_flight() == 0);
    assert_eq!(gate.cut(), 1);
}

#[test]
fn who_waits_at_a_listener_that_is_taken_out_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
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
    TcpStream::connect(address).unwrap_err();
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
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (done, _) = oneshot::channel();
    let _commands = start(vec![
        publish(&[("http", port)]),
        Command::Listen(port, listener),
        Command::Unlisten(port, done),
    ]);
    std::thread::sleep(LIMIT);
}

/// A configuration of one endpoint, as a command, and what tells that it was obeyed and whether anybody still has it.
fn configured(
    port: u16,
    endpoint: SocketAddr,
    gate: &Arc<Gate>,
) -> (Command, oneshot::Receiver<()>, Weak<Snapshot>) {
    let (id, snapshot) = samples::serving(port, endpoint);
    let held = Arc::downgrade(&snapshot);
    let publication = Publication {
        snapshot,
        gates: Arc::new(HashMap::from([(id, Arc::clone(gate))])),
        counts: Arc::default(),
        tls: Arc::default(),
        limiters: Arc::default(),
        backends: Arc::default(),
    };
    let (done, obeyed) = oneshot::channel();
    (Command::Publish(publication, done), obeyed, held)
}

/// A worker with one listener before one server.
struct Scene {
    server: TcpListener,
    /// Of the listener.
    address: SocketAddr,
    gate: Arc<Gate>,
    commands: mpsc::UnboundedSender<Command>,
    /// The configuration in the beginning.
    first: Weak<Snapshot>,
}

impl Scene {
    fn start() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = server.local_addr().unwrap();
        let gate = Arc::new(Gate::new(1, State::Open, Arc::new(NobodyWaits)));
        let (command, _, first) = configured(address.port(), endpoint, &gate);
        let commands = start(vec![command, Command::Listen(address.port(), listener)]);
        Self {
            server,
            address,
            gate,
            commands,
            first,
        }
    }

    /// Puts the same in its place, and waits until nobody holds the first.
    fn configure_again(&self) {
        let endpoint = self.server.local_addr().unwrap();
        let (command, obeyed, now) = configured(self.address.port(), endpoint, &self.gate);
        self.commands.send(command).unwrap();
        obeyed.blocking_recv().unwrap();
        assert!(now.strong_count() > 0);
        wait_until("the end of the first configuration", || {
            self.first.strong_count() == 0
        });
    }
}

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";

#[test]
fn an_open_tunnel_holds_nothing_of_the_configuration_that_it_began_under() {
    let scene = Scene::start();
    let mut client = TcpStream::connect(scene.address).unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
    client.write_all(upgrade.as_bytes()).unwrap();
    let (mut at_server, _) = scene.server.accept().unwrap();
    read_until(&mut at_server, "\r\n\r\n");
    at_server.write_all(SWITCH.as_bytes()).unwrap();
    read_until(&mut client, "\r\n\r\n");

    scene.configure_again();
    client.write_all(b"up").unwrap();
    read_until(&mut at_server, "up");
    at_server.write_all(b"down").unwrap();
    read_until(&mut client, "down");
    assert_eq!(scene.gate.in_flight(), 1);
}

/// RFC 8441.
#[test]
fn nor_does_one_in_a_stream_of_http2() {
    let scene = Scene::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (response, body) = runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(scene.address).await.unwrap();
        let (mut send, mut connection) = h2::client::handshake(socket).await.unwrap();
        let ping = connection.ping_pong();
        tokio::spawn(connection);
        // Its settings are here with the answer: WebSockets are taken.
        ping.unwrap().ping(h2::Ping::opaque()).await.unwrap();
        let mut request = http::Request::new(());
        *request.method_mut() = http::Method::CONNECT;
        *request.uri_mut() = http::Uri::from_static("http://a/");
        let protocol = h2::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        send.send_request(request, false).unwrap()
    });
    let (mut at_server, _) = scene.server.accept().unwrap();
    let asked = read_until(&mut at_server, "\r\n\r\n");
    let key = asked.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        (name.eq_ignore_ascii_case("sec-websocket-key")).then_some(value)
    });
    let accept = crate::proxy::http1::WebSocketAccept::to(key.unwrap().as_bytes()).unwrap();
    let switch = SWITCH.replace("chat", "websocket");
    let accept = std::str::from_utf8(accept.as_bytes()).unwrap().to_owned();
    let switch = switch.replace(
        "\r\n\r\n",
        &format!("\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"),
    );
    at_server.write_all(switch.as_bytes()).unwrap();
    assert_eq!(runtime.block_on(response).unwrap().status(), 200);

    scene.configure_again();
    assert_eq!(scene.gate.in_flight(), 1);
    drop(body);
}
