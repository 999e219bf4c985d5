//! Two servers whose answers wait for a gate, and requests in flight on both.

use crate::status;
use crate::support::backend::{self, Gate};
use crate::support::{Backend, Lastcall, RawClient, wait_until};

/// A request that waits for the gate.
pub const SLOW: &str = "POST /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n";

/// Requests of [`requests_at_both`].
const REQUESTS: usize = 8;

/// Servers that answer `/quick` at once, and everything else when the gate is opened.
pub fn servers(gate: &Gate) -> [Backend; 2] {
    [(); 2].map(|()| {
        let gate = gate.clone();
        Backend::start(move |seen| match seen.target() {
            "/quick" => backend::ok("quick"),
            _ => backend::slow(&gate, "slow"),
        })
    })
}

/// Clients whose requests are in flight on both servers.
pub fn requests_at_both(lastcall: &Lastcall, servers: &[Backend; 2]) -> Vec<RawClient> {
    // Round robin, each worker for itself: enough for both servers.
    let clients = (0..REQUESTS).map(|_| RawClient::sending(lastcall.address, SLOW));
    let clients = clients.collect();
    wait_until("requests at both", status::LIMIT, || {
        let counts = servers.each_ref().map(Backend::in_flight);
        (counts.iter().sum::<usize>() == REQUESTS && !counts.contains(&0))
            .then_some(())
            .ok_or(counts)
    });
    clients
}
