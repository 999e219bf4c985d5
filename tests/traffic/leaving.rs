//! Endpoints that leave by the file: taken out, put back, `adminState`.

use std::net::SocketAddr;

use crate::pair;
use crate::status;
use crate::support::backend::Gate;
use crate::support::client::get;
use crate::support::{Backend, Config, Lastcall, RawClient, wait_until};

struct Scene {
    servers: [Backend; 2],
    gate: Gate,
    lastcall: Lastcall,
    clients: Vec<RawClient>,
}

/// Two servers with requests in flight on both.
fn scene() -> Scene {
    let gate = Gate::new();
    let servers = pair::servers(&gate);
    let addresses = servers.each_ref().map(|server| server.address);
    let lastcall = Lastcall::start(Config::new(&addresses));
    let clients = pair::requests_at_both(&lastcall, &servers);
    Scene {
        servers,
        gate,
        lastcall,
        clients,
    }
}

impl Scene {
    fn addresses(&self) -> [SocketAddr; 2] {
        self.servers.each_ref().map(|server| server.address)
    }

    fn endpoints(&mut self, endpoints: &[SocketAddr]) {
        let config = self.lastcall.config().endpoints("web", endpoints);
        self.lastcall.reload(config);
    }

    /// Gives the first server this admin state in the file.
    fn admin_state(&mut self, state: &str) {
        let [first, second] = self.addresses();
        let mut config = self.lastcall.config();
        let one =
            |address: SocketAddr| format!("address: {}, port: {}", address.ip(), address.port());
        config.set_endpoints_as(
            "web",
            &[
                &format!("{}, adminState: {state}", one(first)),
                &one(second),
            ],
        );
        self.lastcall.reload(config);
    }

    fn reached_first(&self) -> usize {
        let before = self.servers[0].seen().len();
        for _ in 0..20 {
            assert_eq!(get(self.lastcall.address, "/quick").unwrap().status(), 200);
        }
        self.servers[0].seen().len() - before
    }

    fn finish(&mut self) {
        self.gate.open();
        for client in &mut self.clients {
            assert_eq!(client.read_response().status(), 200);
        }
    }
}

#[test]
fn an_endpoint_taken_out_of_the_file_drains() {
    let mut scene = scene();
    let [first, second] = scene.addresses();
    assert!(scene.reached_first() > 0);
    scene.endpoints(&[second]);
    let endpoint = status::wait_for(&scene.lastcall, first, status::DEREGISTERING);
    assert_eq!(endpoint["reason"], "Removed", "{endpoint}");
    assert_eq!(scene.reached_first(), 0);
    scene.finish();
    wait_until("it to be forgotten", status::LIMIT, || {
        let endpoint = status::endpoint(&scene.lastcall, first);
        endpoint.is_null().then_some(()).ok_or(endpoint)
    });
    scene.lastcall.wait_for_log("drain completed");
    assert_eq!(scene.lastcall.count("lastcall_cuts_total"), Some(0));
    assert_eq!(scene.reached_first(), 0);
}

#[test]
fn an_endpoint_put_back_while_it_drains_serves_again() {
    let mut scene = scene();
    let [first, second] = scene.addresses();
    scene.endpoints(&[second]);
    status::wait_for(&scene.lastcall, first, status::DEREGISTERING);
    assert_eq!(scene.reached_first(), 0);
    scene.endpoints(&[first, second]);
    let endpoint = status::wait_for(&scene.lastcall, first, status::IN_SERVICE);
    assert!(
        endpoint["inFlight"].as_u64() > Some(0),
        "its state was kept: {endpoint}"
    );
    assert!(scene.reached_first() > 0);
    scene.finish();
}

#[test]
fn an_endpoint_that_was_forgotten_and_is_back_serves_again() {
    let mut scene = scene();
    let [first, second] = scene.addresses();
    scene.finish();
    scene.endpoints(&[second]);
    wait_until("it to be forgotten", status::LIMIT, || {
        let endpoint = status::endpoint(&scene.lastcall, first);
        endpoint.is_null().then_some(()).ok_or(endpoint)
    });
    scene.endpoints(&[first, second]);
    status::wait_for(&scene.lastcall, first, status::IN_SERVICE);
    assert!(scene.reached_first() > 0);
}

#[test]
fn draining_in_the_file_finishes_what_is_in_flight_and_disabled_cuts_it() {
    let mut scene = scene();
    let first = scene.addresses()[0];
    scene.admin_state("Draining");
    let endpoint = status::wait_for(&scene.lastcall, first, status::DEREGISTERING);
    assert_eq!(endpoint["reason"], "AdminStateDraining", "{endpoint}");
    assert_eq!(scene.reached_first(), 0);
    let in_flight = endpoint["inFlight"].as_u64().unwrap();
    assert!(in_flight > 0);

    scene.admin_state("Disabled");
    wait_until("the cut", status::LIMIT, || {
        let endpoint = status::endpoint(&scene.lastcall, first);
        (endpoint["cutTotal"] == in_flight && endpoint["inFlight"] == 0)
            .then_some(())
            .ok_or(endpoint)
    });
    scene.gate.open();
    let answers: Vec<u16> = scene
        .clients
        .iter_mut()
        .map(|client| client.read_response().status())
        .collect();
    let cut = answers.iter().filter(|status| **status == 503).count();
    assert_eq!(cut as u64, in_flight, "{answers:?}");

    scene.admin_state("Enabled");
    status::wait_for(&scene.lastcall, first, status::IN_SERVICE);
    assert!(scene.reached_first() > 0);
}
