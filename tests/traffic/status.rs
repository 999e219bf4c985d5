//! What `lastcall status -o json` says, for tests that wait for it.

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Lastcall, wait_until};

/// How long a state may take to come about.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Endpoints that take new work, in the words of Classic ELB.
pub const IN_SERVICE: &str = "N/A";
/// Endpoints that drain.
pub const DEREGISTERING: &str = "Instance deregistration currently in progress";
/// Endpoints that have drained.
pub const DEREGISTERED: &str = "Instance is not currently registered with the LoadBalancer";

/// The whole document.
#[track_caller]
pub fn status(lastcall: &Lastcall) -> Value {
    let output = lastcall.cli(&["status", "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// One endpoint of `web`; null where it is not known.
#[track_caller]
pub fn endpoint(lastcall: &Lastcall, address: SocketAddr) -> Value {
    let status = status(lastcall);
    let backends = status["backends"].as_array().unwrap();
    let web = backends.iter().find(|backend| backend["name"] == "web");
    web.and_then(|backend| {
        let endpoints = backend["endpoints"].as_array().unwrap();
        endpoints
            .iter()
            .find(|endpoint| endpoint["address"] == address.to_string())
    })
    .cloned()
    .unwrap_or_default()
}

/// Waits until an endpoint of `web` has this description, and returns what it reports.
#[track_caller]
pub fn wait_for(lastcall: &Lastcall, address: SocketAddr, description: &str) -> Value {
    wait_until(description, LIMIT, || {
        let endpoint = endpoint(lastcall, address);
        if endpoint["description"] == description {
            Ok(endpoint)
        } else {
            Err(endpoint)
        }
    })
}

/// Waits until so many requests are in flight on an endpoint of `web`.
#[track_caller]
pub fn wait_for_in_flight(lastcall: &Lastcall, address: SocketAddr, in_flight: u64) {
    wait_until("requests in flight", LIMIT, || {
        let endpoint = endpoint(lastcall, address);
        if endpoint["inFlight"] == in_flight {
            Ok(())
        } else {
            Err(endpoint)
        }
    });
}

/// The exit code, and what was said on both streams.
pub fn exit(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&said).into_owned(),
    )
}
