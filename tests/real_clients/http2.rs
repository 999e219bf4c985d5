//! Clients of HTTP/2: curl, Python's httpx, Node's http2 and Go's net/http by prior knowledge and in TLS, Java's
//! `HttpClient` in TLS.

use std::path::Path;
use std::time::Duration;

use crate::drivers::{App, Client, Way, all_pass, drive, none_passes};
use crate::support::tls::Authority;
use crate::support::{Config, Lastcall, wait_until};
use crate::trust::Trust;

const fn client(name: &'static str, words: &'static [&'static str], checks: usize) -> Client {
    Client {
        name,
        words,
        checks,
    }
}

const CURL: Client = client("curl", &["./curl_http2.sh"], 6);
const HTTPX: Client = client("httpx", &["venv/bin/python", "httpx_client.py"], 7);
const NODE: Client = client("node", &["node", "node_http2.cjs"], 8);
const GO: Client = client("go", &["go-client"], 10);
const JAVA: Client = client("java", &["java", "Http2Client.java"], 5);
const PRIOR_KNOWLEDGE: [Client; 4] = [CURL, HTTPX, NODE, GO];
const IN_TLS: [Client; 5] = [CURL, HTTPX, NODE, GO, JAVA];

const WAY: Way<'_> = Way {
    authority: None,
    http2: true,
    behind_http2: false,
    rolling: None,
};

#[test]
fn every_client_works_by_prior_knowledge() {
    let app = App::start(&[]);
    let lastcall = Lastcall::start(Config::new(&[app.address]));
    for client in &PRIOR_KNOWLEDGE {
        all_pass(client, lastcall.address, WAY);
    }
}

#[test]
fn every_client_works_with_an_endpoint_of_http2() {
    let app = App::start(&["--h2c"]);
    let config = Config::new(&[app.address]).backend("web", "protocol: H2C");
    let lastcall = Lastcall::start(config);
    let way = Way {
        behind_http2: true,
        ..WAY
    };
    for client in &PRIOR_KNOWLEDGE {
        all_pass(client, lastcall.address, way);
    }
    // The control: the same without lastcall.
    for client in &PRIOR_KNOWLEDGE {
        all_pass(client, app.address, way);
    }
}

#[test]
fn every_client_works_in_tls() {
    let trust = Trust::new();
    let app = App::start(&[]);
    let lastcall = Lastcall::start(trust.before(&[app.address]));
    let file = trust.file("ca");
    let mut way = Way {
        authority: Some(Path::new(&file)),
        ..WAY
    };
    for client in &IN_TLS {
        all_pass(client, lastcall.address, way);
    }
    // The controls: the same without lastcall, and with another authority's certificate.
    let app = trust.app(&[]);
    way.behind_http2 = true;
    for client in &IN_TLS {
        all_pass(client, app.address, way);
    }
    std::fs::write(&file, Authority::new().pem).unwrap();
    for client in &IN_TLS {
        none_passes(client, lastcall.address, way);
    }
}

#[test]
fn against_a_broken_app_every_check_fails() {
    let trust = Trust::new();
    let app = trust.app(&["--broken"]);
    let file = trust.file("ca");
    let way = Way {
        authority: Some(Path::new(&file)),
        behind_http2: true,
        ..WAY
    };
    std::thread::scope(|scope| {
        for client in &IN_TLS {
            let target = app.address;
            scope.spawn(move || none_passes(client, target, way));
        }
    });
}

/// What tells a client to go on; it ends with this, also where the test fails.
struct Going(String);

impl Drop for Going {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Replaces each endpoint while the client uploads, with a hold before it is killed or without; what the client
/// says.
fn rolled(client: &Client, held: bool) -> String {
    let trust = Trust::new();
    let mut apps = vec![App::start(&[]), App::start(&[])];
    let addresses = |apps: &[App]| -> Vec<_> { apps.iter().map(|app| app.address).collect() };
    let mut lastcall = Lastcall::start(trust.before(&addresses(&apps)));
    let (ca, told) = (trust.file("ca"), trust.file("rolling"));
    std::fs::write(&told, "").unwrap();
    let going = Going(told.clone());
    let way = Way {
        authority: Some(Path::new(&ca)),
        rolling: Some(Path::new(&told)),
        ..WAY
    };
    let target = lastcall.address;
    std::thread::scope(|scope| {
        let going = going;
        let driven = scope.spawn(|| drive(client, target, way));
        for _ in 0..4 {
            let leaving = apps.remove(0);
            // It is at work.
            wait_until("uploads", crate::LIMIT, || {
                let in_flight = lastcall.in_flight(leaving.address);
                let some = in_flight.is_some_and(|count| count > 0.0);
                (some || driven.is_finished())
                    .then_some(())
                    .ok_or(in_flight)
            });
            if held {
                let hook = lastcall.hold(leaving.address, Duration::from_secs(30));
                let (code, said) = hook.released(crate::LIMIT);
                assert_eq!(code, 0, "{said}");
            }
            drop(leaving);
            let next = App::start(&[]);
            let address = next.address;
            apps.push(next);
            let mut config = lastcall.config();
            config.set_endpoints("web", &addresses(&apps));
            lastcall.reload(config);
            wait_until("the new endpoint", crate::LIMIT, || {
                lastcall.in_flight(address).ok_or("unknown")
            });
        }
        drop(going);
        let said = driven.join().unwrap().remove(0).1;
        if held && said != "ok" {
            // What lastcall says of it.
            eprintln!("{}", lastcall.scrape());
        }
        said
    })
}

#[test]
fn no_client_sees_its_servers_being_replaced() {
    std::thread::scope(|scope| {
        for client in &IN_TLS {
            scope.spawn(move || assert_eq!(rolled(client, true), "ok", "{}", client.name));
        }
    });
}

#[test]
fn a_client_does_see_a_server_that_is_killed_without_a_hold() {
    assert_ne!(rolled(&GO, false), "ok");
}
