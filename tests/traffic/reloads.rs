//! The folder is written anew hundreds of times under load: endpoints come, go and change their weights, a
//! Backend with its route comes and goes, and now and then a file is bad. No request may notice, and
//! memory stays where it was.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use crate::flow::{Steady, alone, mixed};
use crate::short_or_long;
use crate::status::LIMIT;
use crate::support::plan::Planned;
use crate::support::{App, Config, Lastcall, free_port, wait_until};

const RATE: f64 = 200.0;

/// Endpoints that nobody sends anything to, other ones after each reload: a configuration or a gate that is
/// kept too long adds up to megabytes.
const BALLAST: usize = 100;

/// How much more may be resident at the end than in the second quarter of the reloads. The allocator's
/// own ups and downs are in it; a leak of one configuration a reload would be several times more.
const GROWTH: u64 = 6 << 20;

/// Requests of up to a second, some seconds of them.
fn load(seed: u64) -> Vec<Planned> {
    mixed(seed, RATE, Duration::from_secs(4), Duration::from_secs(1))
}

/// One state of the folder, by its number: no two in a row are the same, and every other one has none of the
/// servers of the one before.
struct Round {
    number: usize,
    in_service: Vec<SocketAddr>,
    gone: Vec<SocketAddr>,
}

impl Round {
    fn new(number: usize, apps: &[SocketAddr]) -> Self {
        let in_service = match number % 4 {
            0 => apps,
            2 => &apps[1..],
            _ => &apps[..1],
        };
        let gone = apps.iter().filter(|app| !in_service.contains(app));
        Self {
            number,
            in_service: in_service.to_vec(),
            gone: gone.copied().collect(),
        }
    }

    fn ballast(&self, nth: usize) -> String {
        format!("127.9.{}.{}", self.number % 250, nth % 250 + 1)
    }

    fn config(&self, base: &Config) -> Config {
        let mut config = base.clone();
        let endpoints = self.in_service.iter().enumerate().map(|(nth, app)| {
            let weight = 1 + (self.number + nth) % 5;
            format!(
                "address: {}, port: {}, weight: {weight}",
                app.ip(),
                app.port()
            )
        });
        set(&mut config, "web", endpoints);
        let ballast = (0..BALLAST).map(|nth| format!("address: {}, port: 9", self.ballast(nth)));
        set(&mut config, "ballast", ballast);
        let mut routes = "routes:\n".to_owned();
        for route in 0..=self.number % 3 {
            writeln!(
                routes,
                "- {{hostnames: [host-{}-{route}.example.com], backends: [{{name: ballast}}]}}",
                self.number
            )
            .unwrap();
        }
        config.load_balancer(&routes)
    }

    /// Waits until lastcall runs it.
    fn wait_for(&self, lastcall: &Lastcall) {
        let state = |backend: &str, endpoint: &str| {
            format!(
                r#"lastcall_endpoint_state{{namespace="default",backend="{backend}",endpoint="{endpoint}",state="in_service"}}"#
            )
        };
        wait_until("the configuration to be in service", LIMIT, || {
            let scrape = lastcall.scrape();
            let serves = |sample: String| scrape.contains(&format!("{sample} 1"));
            let right = serves(state("ballast", &format!("{}:9", self.ballast(0))))
                && self
                    .in_service
                    .iter()
                    .all(|app| serves(state("web", &app.to_string())))
                && !self
                    .gone
                    .iter()
                    .any(|app| serves(state("web", &app.to_string())));
            if right { Ok(()) } else { Err(scrape) }
        });
    }
}

fn set(config: &mut Config, backend: &str, endpoints: impl Iterator<Item = String>) {
    let endpoints: Vec<String> = endpoints.collect();
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    config.set_endpoints_as(backend, &endpoints);
}

fn reloads(lastcall: &Lastcall, result: &str) -> u64 {
    let sample = format!(r#"lastcall_config_reloads_total{{result="{result}"}}"#);
    lastcall.count(&sample).unwrap()
}

/// A file with a fault is refused, and changes nothing that runs (Law 4).
fn refuse_a_bad_file(lastcall: &mut Lastcall, round: &Round, good: &Config) {
    let before = reloads(lastcall, "failed");
    let mut bad = good.clone();
    let address = format!("address: 127.0.0.1, port: {}", 70_000 + round.number);
    set(&mut bad, "web", std::iter::once(address));
    lastcall.reload(bad);
    wait_until("the refusal", LIMIT, || {
        let now = reloads(lastcall, "failed");
        (now > before).then_some(()).ok_or(now)
    });
    round.wait_for(lastcall);
}

#[test]
fn reloads_under_load_lose_nothing_and_leave_nothing_behind() {
    let _alone = alone();
    let mut apps = ["a", "b", "c"].map(App::start);
    let addresses = apps.each_ref().map(|app| app.address);
    let base = Config::new(&addresses);
    let mut lastcall = Lastcall::start(Round::new(0, &addresses).config(&base));
    let load = Steady::start(lastcall.address, load);
    let rounds = short_or_long(200, 1000);
    let mut resident = Vec::new();
    for number in 1..=rounds {
        let round = Round::new(number, &addresses);
        let config = round.config(&base);
        lastcall.reload(config.clone());
        round.wait_for(&lastcall);
        if number % 10 == 0 {
            refuse_a_bad_file(&mut lastcall, &round, &config);
        }
        resident.push(lastcall.memory());
    }
    // What is free and not given back yet comes and goes; what is left behind stays in the least of them, too.
    let least = |part: &[u64]| part.iter().copied().min().unwrap();
    let quarter = rounds / 4;
    let warm = least(&resident[quarter..2 * quarter]);
    let end = least(&resident[3 * quarter..]);
    let ended = load.end();
    let requests = ended.sent;
    println!(
        "{rounds} reloads under {requests} requests; resident at the least {} KiB in their second \
         quarter, {} KiB in the last",
        warm / 1024,
        end / 1024
    );
    ended.nothing_failed();
    assert_eq!(reloads(&lastcall, "ok"), rounds as u64 + 1);
    assert_eq!(reloads(&lastcall, "failed"), rounds as u64 / 10);
    for app in &mut apps {
        let seen = app.seen();
        assert!(seen.begun > requests as u64 / 10, "{seen:?}");
        assert_eq!(seen.broken, 0, "{seen:?}");
    }
    assert_eq!(lastcall.count("lastcall_cuts_total"), Some(0));
    assert!(end < warm + GROWTH, "{warm} bytes resident, then {end}");
}

#[test]
fn a_reload_that_takes_the_only_server_away_is_seen_by_the_same_load() {
    let _alone = alone();
    let app = App::start("a");
    let config = Config::new(&[app.address]);
    let mut lastcall = Lastcall::start(config.clone());
    let load = Steady::start(lastcall.address, load);
    load.wait_for_more(50);
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    lastcall.reload(config.clone().endpoints("web", &[nobody]));
    load.wait_for_failures(10);
    lastcall.reload(config);
    let ended = load.end();
    let kinds = ended.kinds();
    println!("{} of {} failed: {kinds:?}", ended.failed.len(), ended.sent);
    assert_eq!(
        kinds.keys().collect::<Vec<_>>(),
        ["status502"],
        "nobody listens there"
    );
    assert!(
        ended.failed.len() < ended.sent,
        "all failed: it never came back"
    );
}
