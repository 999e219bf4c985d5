//! Holds of `lastcall-hold`: asked twice, asked of a lastcall that dies, for what is unknown, for the last
//! server there is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lastcall_hold::wire::Cause;
use lastcall_hold::{Outcome, Progress};

use crate::hold::{Hold, options};
use crate::is_soak;
use crate::pair;
use crate::status;
use crate::support::backend::Gate;
use crate::support::client::get;
use crate::support::{Backend, Config, Lastcall, RawClient, wait_until};

const GRACE: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(5);

/// Two servers whose answers wait for a gate; one request in flight on each.
struct Pair {
    servers: [Backend; 2],
    gate: Gate,
    lastcall: Lastcall,
    clients: Vec<RawClient>,
}

impl Pair {
    fn start(draining: &str) -> Self {
        let gate = Gate::new();
        let servers = pair::servers(&gate);
        let addresses = servers.each_ref().map(|server| server.address);
        let lastcall = Lastcall::start(Config::new(&addresses).load_balancer(draining));
        let clients = pair::requests_at_both(&lastcall, &servers);
        Self {
            servers,
            gate,
            lastcall,
            clients,
        }
    }

    fn leaving(&self) -> SocketAddr {
        self.servers[0].address
    }

    fn target(&self) -> String {
        format!("be/web/{}", self.leaving())
    }

    /// Lets the servers answer; every client must get its answer.
    fn finish(&mut self) {
        self.gate.open();
        for client in &mut self.clients {
            assert_eq!(client.read_response().status(), 200);
        }
    }

    /// Which servers 20 quick requests reached.
    fn reached(&self) -> [usize; 2] {
        let before = self.servers.each_ref().map(|server| server.seen().len());
        for _ in 0..20 {
            assert_eq!(get(self.lastcall.address, "/quick").unwrap().status(), 200);
        }
        let after = self.servers.each_ref().map(|server| server.seen().len());
        [after[0] - before[0], after[1] - before[1]]
    }
}

#[test]
fn two_callers_of_one_key_are_one_hold_and_both_are_released() {
    let mut pair = Pair::start("");
    let ask = || {
        let mut options = options(&pair.lastcall, &[pair.target()], GRACE);
        options.key = Some("container-1".to_owned());
        Hold::start(options)
    };
    let holds = [ask(), ask()];
    for hold in &holds {
        hold.wait_until_held();
    }
    let endpoint = status::wait_for(&pair.lastcall, pair.leaving(), status::DEREGISTERING);
    assert_eq!(endpoint["holds"], 1, "{endpoint}");
    assert_eq!(pair.lastcall.count("lastcall_holds"), Some(1));
    pair.finish();
    for hold in holds {
        assert_eq!(hold.released(SOON).cause(), (Cause::Drained, 0));
    }
    let drained = r#"lastcall_holds_total{cause="drained"}"#;
    assert_eq!(pair.lastcall.count(drained), Some(1));
    assert_eq!(pair.lastcall.count("lastcall_holds"), Some(0));
}

#[test]
fn two_containers_of_one_server_hold_until_both_are_free() {
    let mut pair = Pair::start("");
    let both: Vec<_> = pair
        .servers
        .iter()
        .map(|server| format!("be/web/{}", server.address))
        .collect();
    let one = Hold::of(&pair.lastcall, pair.leaving(), GRACE);
    let two = Hold::start(options(&pair.lastcall, &both, GRACE));
    two.wait_until_held();
    let endpoint = status::endpoint(&pair.lastcall, pair.leaving());
    assert_eq!(endpoint["holds"], 2, "{endpoint}");
    assert!(one.is_waiting() && two.is_waiting());
    pair.finish();
    assert_eq!(one.released(SOON).cause(), (Cause::Drained, 0));
    // All that there is was held: the last keeps serving for half of the time, or until it is told.
    assert!(two.is_waiting());
    let drained = pair.lastcall.cli(&["drain", &both[1]]);
    assert!(drained.status.success(), "{drained:?}");
    assert_eq!(two.released(SOON).cause(), (Cause::Drained, 0));
}

#[test]
fn a_held_server_gets_nothing_new_and_one_that_has_drained_is_released_at_once() {
    let mut pair = Pair::start("");
    let hold = Hold::of(&pair.lastcall, pair.leaving(), GRACE);
    assert_eq!(pair.reached(), [0, 20]);
    assert!(hold.is_waiting());
    pair.finish();
    assert_eq!(hold.released(SOON).cause(), (Cause::Drained, 0));
    assert_eq!(pair.reached(), [0, 20], "Law 2: nothing after the release");

    let begin = Instant::now();
    let mut again = options(&pair.lastcall, &[pair.target()], GRACE);
    again.key = Some("another container".to_owned());
    let released = Hold::start(again).released(SOON);
    assert_eq!(released.cause(), (Cause::Drained, 0));
    assert!(begin.elapsed() < SOON);

    let enabled = pair.lastcall.cli(&["enable", &pair.target()]);
    assert!(enabled.status.success(), "{enabled:?}");
    status::wait_for(&pair.lastcall, pair.leaving(), status::IN_SERVICE);
    let reached = pair.reached();
    assert!(
        reached[0] > 0,
        "enabled again, but got nothing: {reached:?}"
    );
}

#[test]
fn enabling_a_held_server_gives_it_work_again() {
    let mut pair = Pair::start("");
    let hold = Hold::of(&pair.lastcall, pair.leaving(), Duration::from_secs(12));
    assert_eq!(pair.reached(), [0, 20]);
    let enabled = pair.lastcall.cli(&["enable", &pair.target()]);
    assert!(enabled.status.success(), "{enabled:?}");
    status::wait_for(&pair.lastcall, pair.leaving(), status::IN_SERVICE);
    assert!(pair.reached()[0] > 0);
    // Its caller is still there: SIGTERM would come at a release, so it is held to the end, and then it gets
    // nothing more and what it has is cut.
    assert!(hold.is_waiting());
    let in_flight = status::endpoint(&pair.lastcall, pair.leaving())["inFlight"].as_u64();
    let released = hold.released(Duration::from_secs(24));
    assert_eq!(Some(released.cause().1), in_flight);
    assert_eq!(released.cause().0, Cause::Deadline);
    assert_eq!(pair.reached(), [0, 20]);
    pair.gate.open();
    let mut statuses: Vec<u16> = pair
        .clients
        .iter_mut()
        .map(|client| client.read_response().status())
        .collect();
    statuses.sort_unstable();
    let cut = usize::try_from(released.cause().1).unwrap();
    let split = statuses.len() - cut;
    assert!(
        statuses[..split].iter().all(|status| *status == 200),
        "{statuses:?}"
    );
    assert!(
        statuses[split..].iter().all(|status| *status == 503),
        "{statuses:?}"
    );
}

#[test]
fn lastcall_killed_and_started_again_in_the_middle_of_a_hold_releases_nobody_early() {
    let mut pair = Pair::start("connectionDraining: {minSeconds: 4}");
    let hold = Hold::of(&pair.lastcall, pair.leaving(), GRACE);
    let begin = Instant::now();
    pair.lastcall.kill();
    wait_until("the loss to be heard", status::LIMIT, || {
        let heard = hold.heard();
        let lost = heard
            .iter()
            .any(|progress| matches!(progress, Progress::Lost { .. }));
        lost.then_some(()).ok_or(heard)
    });
    assert!(hold.is_waiting(), "a dead lastcall is no release");
    let again = Instant::now();
    pair.lastcall.start_again();
    status::wait_for(&pair.lastcall, pair.leaving(), status::DEREGISTERING);
    assert!(hold.is_waiting());
    assert_eq!(
        pair.reached(),
        [0, 20],
        "the new lastcall knows of the drain"
    );
    // The old one's requests are gone with it; the minimum shows that the new one holds by its own rules.
    let released = hold.released(Duration::from_secs(20));
    assert_eq!(released.cause(), (Cause::Drained, 0));
    assert!(
        again.elapsed() > Duration::from_secs(3),
        "{:?}",
        again.elapsed()
    );
    assert!(begin.elapsed() > Duration::from_secs(4));
    pair.gate.open();
}

#[test]
fn lastcall_that_is_told_to_stop_releases_a_hold_after_its_last_request() {
    let mut pair = Pair::start("");
    let hold = Hold::of(&pair.lastcall, pair.leaving(), GRACE);
    pair.lastcall.signal(rustix::process::Signal::TERM);
    wait_until("the shutdown", status::LIMIT, || {
        let log = pair.lastcall.log();
        log.contains("shutting down").then_some(()).ok_or(log)
    });
    assert!(hold.is_waiting());
    pair.finish();
    assert_eq!(hold.released(SOON).cause(), (Cause::Drained, 0));
    assert_eq!(pair.lastcall.wait().code(), Some(0));
}

#[test]
fn an_unknown_target_is_refused_and_names_those_there_are() {
    let server = Backend::echo();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    for (target, known) in [
        ("be/wep", "default/web".to_owned()),
        ("be/web/127.0.0.1:1", server.address.to_string()),
    ] {
        let released = Hold::start(options(&lastcall, &[target.to_owned()], GRACE)).released(SOON);
        match &released.outcome {
            Outcome::Refused(problem) => {
                assert_eq!(problem.status, 404, "{problem:?}");
                assert!(problem.detail.contains(&known), "{problem:?}");
            }
            other => panic!("{target}: {other:?}"),
        }
        assert_eq!(released.outcome.exit_code(), 2);
    }
    status::wait_for(&lastcall, server.address, status::IN_SERVICE);
}

#[test]
fn the_last_server_keeps_serving_for_half_of_its_time() {
    let server = Backend::echo();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let grace = Duration::from_secs(6);
    let hold = Hold::of(&lastcall, server.address, grace);
    let mut answered = 0;
    while hold.is_waiting() {
        match get(lastcall.address, "/").unwrap().status() {
            200 => answered += 1,
            // Closed a moment before the word of it arrives.
            503 => break,
            other => panic!("{other}"),
        }
    }
    let released = hold.released(SOON);
    assert_eq!(released.cause(), (Cause::Drained, 0));
    let half = grace.mul_f64(0.4)..grace.mul_f64(0.9);
    assert!(half.contains(&released.held()), "{:?}", released.held());
    assert!(answered > 10, "{answered} answered while held");
    assert_eq!(get(lastcall.address, "/").unwrap().status(), 503);
}

#[test]
fn the_last_server_leaves_when_its_replacement_is_there_and_nobody_waits_for_either() {
    let old = Backend::echo();
    let new = Backend::echo();
    let mut lastcall = Lastcall::start(Config::new(&[old.address]));
    let hold = Hold::of(&lastcall, old.address, GRACE);
    assert_eq!(get(lastcall.address, "/").unwrap().status(), 200);
    assert!(hold.is_waiting());
    let config = lastcall
        .config()
        .endpoints("web", &[old.address, new.address]);
    lastcall.reload(config);
    while hold.is_waiting() {
        assert_eq!(get(lastcall.address, "/").unwrap().status(), 200);
    }
    let released = hold.released(SOON);
    assert_eq!(released.cause(), (Cause::Drained, 0));
    assert!(released.held() < Duration::from_secs(20));
    for _ in 0..20 {
        assert_eq!(get(lastcall.address, "/").unwrap().status(), 200);
    }
    assert!(new.seen().len() >= 20);
}

#[test]
fn the_last_server_drains_at_once_where_the_configuration_says_so() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]);
    let lastcall =
        Lastcall::start(config.load_balancer("connectionDraining: {lastEndpoint: Drain}"));
    let released = Hold::of(&lastcall, server.address, GRACE).released(SOON);
    assert_eq!(released.cause(), (Cause::Drained, 0));
    assert_eq!(get(lastcall.address, "/").unwrap().status(), 503);
}

#[test]
fn a_drain_lasts_its_minimum_also_where_nothing_is_in_flight() {
    let servers = [Backend::echo(), Backend::echo()];
    let config = Config::new(&servers.each_ref().map(|server| server.address));
    let lastcall = Lastcall::start(config.load_balancer("connectionDraining: {minSeconds: 2}"));
    let released = Hold::of(&lastcall, servers[0].address, GRACE).released(Duration::from_secs(20));
    let held = released.held();
    assert!(
        held >= Duration::from_secs(2) && held < Duration::from_secs(20),
        "{held:?}"
    );
}

#[test]
fn a_hold_of_a_restart_has_the_shorter_time() {
    let mut pair = Pair::start("connectionDraining: {restartTimeoutSeconds: 2}");
    let mut restart = options(&pair.lastcall, &[pair.target()], GRACE);
    restart.restart = true;
    let released = Hold::start(restart).released(Duration::from_secs(20));
    assert_eq!(released.cause().0, Cause::Deadline);
    assert!(
        released.held() < Duration::from_secs(20),
        "{:?}",
        released.held()
    );
    pair.gate.open();
    pair.clients.clear();
}

#[test]
fn a_caller_that_vanishes_and_comes_back_finds_its_hold() {
    let mut pair = Pair::start("");
    let mut hook = pair.lastcall.hold(pair.leaving(), GRACE);
    status::wait_for(&pair.lastcall, pair.leaving(), status::DEREGISTERING);
    assert!(hook.is_waiting());
    drop(hook);
    let again = Hold::of(&pair.lastcall, pair.leaving(), GRACE);
    let endpoint = status::endpoint(&pair.lastcall, pair.leaving());
    assert_eq!(endpoint["holds"], 1, "{endpoint}");
    assert_eq!(pair.reached(), [0, 20]);
    pair.finish();
    assert_eq!(again.released(SOON).cause(), (Cause::Drained, 0));
}

#[test]
fn a_caller_that_stays_away_has_its_hold_withdrawn_after_30_seconds() {
    if !is_soak() {
        return;
    }
    let mut pair = Pair::start("");
    let mut hook = pair.lastcall.hold(pair.leaving(), GRACE);
    status::wait_for(&pair.lastcall, pair.leaving(), status::DEREGISTERING);
    assert!(hook.is_waiting());
    drop(hook);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(25) {
        assert_eq!(pair.reached(), [0, 20], "withdrawn too early");
    }
    wait_until("the hold to be withdrawn", status::LIMIT, || {
        let endpoint = status::endpoint(&pair.lastcall, pair.leaving());
        (endpoint["description"] == status::IN_SERVICE)
            .then_some(())
            .ok_or(endpoint)
    });
    assert!(pair.lastcall.log().contains("hold withdrawn"));
    assert!(pair.reached()[0] > 0);
    pair.finish();
}
