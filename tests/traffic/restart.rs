//! Lastcall's own restart under load: the new process starts beside the old one on the same port
//! (SO_REUSEPORT), then the old one is told to stop. What is lost is counted, not guessed:
//!
//! - A request on a new connection: never, with or without a delay. Before a socket is closed, new
//!   handshakes are turned away (their clients send them again within a second and reach the new process)
//!   and the queue is emptied.
//! - A request in flight, or already sent: never.
//! - A request on a kept connection: none where `--shutdown-delay` is longer than clients keep connections,
//!   for then each is told in an answer. Without a delay idle connections are closed at once, and a
//!   request that a client sends in that moment is lost. HTTP/1.1 has no word for this: clients replay
//!   idempotent ones (RFC 9110 section 9.2.2).

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::flow::{Ended, Steady, alone, fresh_only, mixed};
use crate::short_or_long;
use crate::support::plan::Planned;
use crate::support::{App, Config, Lastcall};

const RATE: f64 = 200.0;

/// Longer than the load keeps idle connections (2 s).
const DELAY: &str = "--shutdown-delay=4s";

struct Servers {
    apps: [App; 2],
    config: Config,
    /// What runs now.
    lastcall: Lastcall,
}

impl Servers {
    fn start(flags: &[&str]) -> Self {
        let apps = ["a", "b"].map(App::start);
        let config = Config::new(&apps.each_ref().map(|app| app.address));
        let config = flags.iter().fold(config, |config, flag| config.flag(flag));
        Self {
            apps,
            lastcall: Lastcall::start(config.clone()),
            config,
        }
    }

    fn address(&self) -> SocketAddr {
        self.lastcall.address
    }

    /// Requests whose connection broke under a server.
    fn broken(&mut self) -> u64 {
        self.apps.iter_mut().map(|app| app.seen().broken).sum()
    }

    /// Starts another lastcall on the same port, and ends the one that ran by this signal.
    fn replace(&mut self, signal: Signal) {
        let mut old = std::mem::replace(&mut self.lastcall, Lastcall::start(self.config.clone()));
        let connections = accepted(&old);
        assert!(connections > 0, "the old one had nothing to do");
        old.signal(signal);
        let status = old.wait();
        if signal == Signal::TERM {
            assert_eq!(status.code(), Some(0));
            assert!(old.log().contains("shut down cut=0"), "{}", old.log());
        }
    }
}

/// Connections that this process has accepted.
fn accepted(lastcall: &Lastcall) -> u64 {
    let scrape = lastcall.scrape();
    let counts = scrape
        .lines()
        .filter(|line| line.starts_with("lastcall_connections_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

/// Replaces lastcall so many times under a load of these plans, so many requests apart.
fn restarts_under(
    plan: impl Fn(u64) -> Vec<Planned> + Send + 'static,
    servers: &mut Servers,
    (times, apart): (u32, u64),
    signal: Signal,
) -> Ended {
    let load = Steady::start(servers.address(), plan);
    for _ in 0..times {
        load.wait_for_more(apart);
        servers.replace(signal);
    }
    load.wait_for_more(50);
    let ended = load.end();
    println!(
        "{times} restarts by {signal:?} under {} requests: {} lost {:?}; 99 % took less than {:?}, all less \
         than {:?}",
        ended.sent,
        ended.failed.len(),
        ended.kinds(),
        ended.percentile(99),
        ended.percentile(100)
    );
    assert!(
        accepted(&servers.lastcall) > 0,
        "nobody reached the last one"
    );
    ended
}

/// Where a stream on a kept connection outlasts the delay, its answer began before anybody could be told:
/// such a client is one of those that only closing tells. The long ones are on connections of their own.
fn long_streams_on_their_own(mut plan: Vec<Planned>) -> Vec<Planned> {
    for planned in &mut plan {
        planned.fresh |= planned.work.duration() > Duration::from_secs(1);
    }
    plan
}

const PLAN: Duration = Duration::from_secs(4);

#[test]
fn with_a_delay_longer_than_connections_are_kept_nothing_is_lost() {
    let _alone = alone();
    let mut servers = Servers::start(&[DELAY]);
    let plan = |seed| long_streams_on_their_own(mixed(seed, RATE, PLAN, Duration::from_secs(3)));
    let ended = restarts_under(
        plan,
        &mut servers,
        (short_or_long(2, 10), 100),
        Signal::TERM,
    );
    ended.nothing_failed();
    assert_eq!(servers.broken(), 0);
}

#[test]
fn without_a_delay_only_a_request_on_a_connection_that_was_idle_can_be_lost() {
    let _alone = alone();
    let mut servers = Servers::start(&[]);
    let plan = |seed| mixed(seed, RATE, PLAN, Duration::from_secs(2));
    let times = short_or_long(4, 40);
    let ended = restarts_under(plan, &mut servers, (times, 200), Signal::TERM);
    for lost in &ended.failed {
        assert!(!lost.planned.fresh, "on a connection of its own: {lost:?}");
    }
    assert_eq!(servers.broken(), 0, "one that a server had begun was lost");
    // A few a restart at worst: those that were being written as their connections closed.
    assert!(ended.failed.len() * 100 < ended.sent, "{:?}", ended.failed);
}

#[test]
fn no_new_connection_is_lost_between_two_processes() {
    let _alone = alone();
    let mut servers = Servers::start(&[]);
    let plan = |seed| fresh_only(mixed(seed, 2.0 * RATE, PLAN, Duration::from_millis(200)));
    // Two seconds: who has to send its handshake again has done so before the next restart.
    let times = short_or_long(3, 40);
    let ended = restarts_under(plan, &mut servers, (times, 800), Signal::TERM);
    ended.nothing_failed();
    assert_eq!(servers.broken(), 0);
}

#[test]
fn killed_in_place_of_being_told_the_same_load_sees_failures() {
    let _alone = alone();
    let mut servers = Servers::start(&[]);
    let plan = |seed| mixed(seed, RATE, PLAN, Duration::from_secs(2));
    let ended = restarts_under(plan, &mut servers, (1, 200), Signal::KILL);
    assert!(ended.failed.len() > 5, "{:?}", ended.failed);
    assert!(servers.broken() > 0);
}
