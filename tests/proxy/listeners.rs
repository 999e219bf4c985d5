//! When a port takes connections, and when it must not any more.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::LIMIT;
use crate::support::backend::{self, Backend, Gate};
use crate::support::{Config, End, Lastcall, RawClient, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn connect(lastcall: &Lastcall) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&lastcall.address, Duration::from_millis(200))
}

fn wait_until_nobody_listens(lastcall: &Lastcall) {
    wait_until("the listener to be closed", LIMIT, || {
        match connect(lastcall) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            other => Err(other),
        }
    });
}

/// Waits until the log has a line with `text` so many times.
fn wait_for_log(lastcall: &Lastcall, text: &str, times: usize) {
    wait_until(text, LIMIT, || {
        let log = lastcall.log();
        let seen = log.matches(text).count();
        if seen >= times { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn a_change_of_the_configuration_opens_no_listener_of_a_process_that_is_leaving() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Backend::start(move |_| backend::slow(&held, "slow"));
    let mut lastcall = Lastcall::start(Config::new(&[server.address]));
    let mut client = RawClient::sending(lastcall.address, GET);
    server.wait_for_requests(1);
    lastcall.signal(Signal::TERM);
    wait_until_nobody_listens(&lastcall);
    let config = lastcall.config();
    lastcall.reload(config.backend("web", "balance: {policy: LeastRequest}"));
    wait_for_log(&lastcall, "configuration in service", 2);
    let error = connect(&lastcall).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    gate.open();
    assert_eq!(client.read_response().status(), 200);
    assert_eq!(lastcall.wait().code(), Some(0));
}

/// How many descriptors a process may have open from here on.
fn limit_descriptors(lastcall: &Lastcall, current: Option<u64>) {
    let pid = i32::try_from(lastcall.pid()).ok().and_then(Pid::from_raw);
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap();
}

#[test]
fn what_waits_at_a_closing_listener_is_served_even_when_accepting_it_fails_at_first() {
    const FAILED: &str = "no connection accepted";
    let server = Backend::echo();
    let mut lastcall = Lastcall::start(Config::new(&[server.address]));
    // As if others had used up all there are: the connection waits in the kernel's queue.
    limit_descriptors(&lastcall, Some(0));
    let mut client = RawClient::sending(lastcall.address, GET);
    wait_for_log(&lastcall, FAILED, 1);
    lastcall.signal(Signal::TERM);
    wait_for_log(&lastcall, "shutting down", 1);
    wait_until("more of it while it closes", LIMIT, || {
        assert_eq!(client.end_now(), End::Open);
        let log = lastcall.log();
        let (_, closing) = log.split_once("shutting down").unwrap();
        let seen = closing.matches(FAILED).count();
        if seen >= 3 { Ok(()) } else { Err(seen) }
    });
    limit_descriptors(&lastcall, getrlimit(Resource::Nofile).maximum);
    let answer = client.read_response();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(client.read_to_end().1, End::Fin);
    assert_eq!(lastcall.wait().code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named_and_tried_again_when_lastcall_is_told_to_reload() {
    let server = Backend::echo();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let more = format!(
        "apiVersion: lastcall.dev/v1alpha1\nkind: LoadBalancer\nmetadata: {{name: more}}\nspec:\n  \
         listeners: [{{name: http, port: {}, protocol: HTTP}}]\n  defaultBackend: {{name: web}}\n",
        address.port()
    );
    std::fs::write(lastcall.configuration().join("more.yaml"), more).unwrap();
    wait_for_log(&lastcall, "configuration in service", 2);
    let status = || String::from_utf8(lastcall.cli(&["status"]).stdout).unwrap();
    let fault = format!("port {}", address.port());
    assert!(status().contains(&fault), "{}", status());
    // The rest of the configuration is in service.
    assert_eq!(RawClient::connect(lastcall.address).ask(GET).status(), 200);
    drop(taken);
    lastcall.signal(Signal::HUP);
    wait_until("the port to be served", LIMIT, || {
        TcpStream::connect(address).map(drop)
    });
    assert_eq!(RawClient::connect(address).ask(GET).status(), 200);
    wait_until("the status to say so", LIMIT, || {
        let text = status();
        if text.contains(&fault) {
            Err(text)
        } else {
            Ok(())
        }
    });
}
