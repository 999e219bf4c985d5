//! Metrics of each endpoint: what it has had and has in flight, and which state it is in. Used by `metrics`.

use super::exposition::{Families, Family, flag, float};
use crate::model::report::{BackendReport, DEREGISTERING, EndpointReport, ServiceState};

/// One number of an endpoint.
type Read = fn(&EndpointReport) -> u64;

/// The families of every endpoint of these Backends.
pub(super) fn endpoints(families: &mut Families, backends: &[BackendReport]) {
    const GAUGES: [(&str, &str, Read); 2] = [
        ("lastcall_endpoint_in_flight", "Requests in flight", |one| {
            one.in_flight
        }),
        (
            "lastcall_endpoint_holds",
            "preStop calls that wait for it",
            |one| one.holds,
        ),
    ];
    const COUNTERS: [(&str, &str, Read); 2] = [
        (
            "lastcall_endpoint_requests_total",
            "Requests it was picked for",
            |one| one.requests_total,
        ),
        (
            "lastcall_endpoint_cuts_total",
            "Requests of it that were ended by force",
            |one| one.cut_total,
        ),
    ];
    for (name, help, read) in GAUGES {
        each_endpoint(&mut families.gauge(name, help), backends, read);
    }
    for (name, help, read) in COUNTERS {
        each_endpoint(&mut families.counter(name, help), backends, read);
    }
    let mut states = families.gauge(
        "lastcall_endpoint_state",
        "1 for the state the endpoint is in, 0 for the others",
    );
    for (backend, one) in all(backends) {
        for state in ["in_service", "draining", "out_of_service"] {
            let labels = endpoint_labels(backend, one);
            let [namespace, name, address] = labels;
            let labels = [namespace, name, address, ("state", state)];
            states.put(&labels, flag(state == state_of(one)));
        }
    }
}

fn each_endpoint(family: &mut Family<'_>, backends: &[BackendReport], read: Read) {
    for (backend, one) in all(backends) {
        family.put(&endpoint_labels(backend, one), float(read(one)));
    }
}

fn all(backends: &[BackendReport]) -> impl Iterator<Item = (&BackendReport, &EndpointReport)> {
    backends
        .iter()
        .flat_map(|backend| backend.endpoints.iter().map(move |one| (backend, one)))
}

fn endpoint_labels<'a>(
    backend: &'a BackendReport,
    one: &'a EndpointReport,
) -> [(&'static str, &'a str); 3] {
    [
        ("namespace", &backend.namespace),
        ("backend", &backend.name),
        ("endpoint", &one.address),
    ]
}

fn state_of(one: &EndpointReport) -> &'static str {
    match one.state {
        ServiceState::InService if one.description == DEREGISTERING => "draining",
        ServiceState::InService => "in_service",
        ServiceState::OutOfService => "out_of_service",
    }
}
