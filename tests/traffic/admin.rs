//! What operators do with the CLI while requests are in flight, and the exit codes that scripts see.

use crate::pair;
use crate::status::{self, exit};
use crate::support::backend::Gate;
use crate::support::client::get;
use crate::support::{Backend, Config, Lastcall, RawClient, wait_until};

struct Scene {
    servers: [Backend; 2],
    gate: Gate,
    lastcall: Lastcall,
}

impl Scene {
    fn start() -> Self {
        let gate = Gate::new();
        let servers = pair::servers(&gate);
        let lastcall = Lastcall::start(Config::new(
            &servers.each_ref().map(|server| server.address),
        ));
        Self {
            servers,
            gate,
            lastcall,
        }
    }

    fn target(&self, server: usize) -> String {
        format!("be/web/{}", self.servers[server].address)
    }

    /// One request in flight on the first server: the other is out of the way meanwhile.
    fn one_in_flight(&self) -> RawClient {
        let other = self.target(1);
        assert_eq!(self.run(&["drain", "--wait", &other]).0, 0);
        let client = RawClient::sending(self.lastcall.address, pair::SLOW);
        self.servers[0].wait_for_requests(1);
        assert_eq!(self.run(&["enable", &other]).0, 0);
        client
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        exit(&self.lastcall.cli(arguments))
    }
}

#[test]
fn drain_wait_returns_when_the_last_request_has_finished_and_then_disables() {
    let scene = Scene::start();
    let mut client = scene.one_in_flight();
    let target = scene.target(0);
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| {
            scene.run(&[
                "drain", "--wait", "--then", "disable", "-o", "json", &target,
            ])
        });
        status::wait_for(
            &scene.lastcall,
            scene.servers[0].address,
            status::DEREGISTERING,
        );
        assert!(!draining.is_finished());
        scene.gate.open();
        assert_eq!(client.read_response().status(), 200);
        let (code, said) = draining.join().unwrap();
        assert_eq!(code, 0, "{said}");
        let json: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(json["state"], "Disabled", "{json}");
        assert_eq!(json["waited"]["reached"], true, "{json}");
        assert_eq!(json["waited"]["cut"], 0, "{json}");
    });
    let endpoint = status::endpoint(&scene.lastcall, scene.servers[0].address);
    assert_eq!(endpoint["adminState"], "Disabled", "{endpoint}");
    assert_eq!(endpoint["cutTotal"], 0, "{endpoint}");

    assert_eq!(scene.run(&["enable", &target]).0, 0);
    status::wait_for(
        &scene.lastcall,
        scene.servers[0].address,
        status::IN_SERVICE,
    );
}

#[test]
fn disable_cuts_at_once_and_enable_brings_it_back() {
    let scene = Scene::start();
    let mut client = scene.one_in_flight();
    let target = scene.target(0);
    assert_eq!(scene.run(&["disable", &target]).0, 0);
    assert_eq!(client.read_response().status(), 503);
    let endpoint = status::wait_for(
        &scene.lastcall,
        scene.servers[0].address,
        status::DEREGISTERED,
    );
    assert_eq!(endpoint["cutTotal"], 1, "{endpoint}");
    assert_eq!(scene.run(&["enable", &target]).0, 0);
    status::wait_for(
        &scene.lastcall,
        scene.servers[0].address,
        status::IN_SERVICE,
    );
    scene.gate.open();
}

#[test]
fn a_whole_backend_that_drains_answers_503_and_comes_back() {
    let scene = Scene::start();
    let (code, said) = scene.run(&["drain", "--wait", "be/web"]);
    assert_eq!(code, 0, "{said}");
    let answer = get(scene.lastcall.address, "/quick").unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.field("retry-after").is_some(), "{}", answer.head);
    assert_eq!(scene.run(&["enable", "be/web"]).0, 0);
    assert_eq!(
        scene
            .run(&["wait", "be/web", "--for=in-service", "--timeout", "5s"])
            .0,
        0
    );
    assert_eq!(get(scene.lastcall.address, "/quick").unwrap().status(), 200);
}

#[test]
fn exit_codes_tell_scripts_what_happened() {
    let mut scene = Scene::start();
    let client = scene.one_in_flight();
    let target = scene.target(0);
    // 2: no such target, or a wrong command line.
    assert_eq!(scene.run(&["drain", "be/none"]).0, 2);
    assert_eq!(scene.run(&["drain", "be/web/127.0.0.1:1"]).0, 2);
    assert_eq!(scene.run(&["drain", "web"]).0, 2);
    assert_eq!(scene.run(&["drain", "--timeout", "0s", &target]).0, 2);
    // 3: not reached in time.
    let waits = ["wait", &target, "--for=drained", "--timeout", "300ms"];
    let (code, said) = scene.run(&waits);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("1 request(s) in flight"), "{said}");
    // 0 while it is in service.
    assert_eq!(scene.run(&["wait", &target, "--for=in-service"]).0, 0);
    assert_eq!(scene.run(&["status"]).0, 0);

    // 1: the configuration itself says otherwise.
    let address = scene.servers[0].address;
    let mut config = scene.lastcall.config();
    config.set_endpoints_as(
        "web",
        &[&format!(
            "address: {}, port: {}, adminState: Draining",
            address.ip(),
            address.port()
        )],
    );
    scene.lastcall.reload(config);
    status::wait_for(&scene.lastcall, address, status::DEREGISTERING);
    let (code, said) = scene.run(&["enable", &target]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("configured otherwise") && said.contains("adminState"),
        "{said}"
    );

    // 4: nobody there to ask.
    drop(client);
    scene.lastcall.kill();
    let (code, said) = scene.run(&["status"]);
    assert_eq!(code, 4, "{said}");
    scene.gate.open();
}

#[test]
fn a_wait_for_a_drain_outlives_a_restart_of_lastcall() {
    let mut scene = Scene::start();
    let client = scene.one_in_flight();
    let target = scene.target(0);
    let socket = scene.lastcall.admin_socket();
    let draining = std::thread::spawn(move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_lastcall"))
            .args(["drain", "--wait", "--timeout", "60s", &target])
            .arg("--admin-socket")
            .arg(socket)
            .output()
            .unwrap()
    });
    status::wait_for(
        &scene.lastcall,
        scene.servers[0].address,
        status::DEREGISTERING,
    );
    drop(client);
    scene.lastcall.kill();
    assert!(!draining.is_finished());
    scene.lastcall.start_again();
    let (code, said) = exit(&draining.join().unwrap());
    assert_eq!(code, 0, "{said}");
    wait_until("the drain to be known again", status::LIMIT, || {
        let endpoint = status::endpoint(&scene.lastcall, scene.servers[0].address);
        (endpoint["adminState"] == "Draining")
            .then_some(())
            .ok_or(endpoint)
    });
    scene.gate.open();
}
