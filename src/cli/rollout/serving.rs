//! What lastcall's status says of one pod: whether it may be drained, whether it is, whether it serves. Pure.

use std::collections::BTreeSet;

use crate::admin::schema::Status;
use crate::model::AdminState;
use crate::model::report::{
    BackendReport, DEREGISTERED, EndpointReport, IN_SERVICE, ServiceState, UNHEALTHY,
};

/// Whether a pod may be drained now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// Every Backend that it serves has another endpoint in service.
    May,
    /// This Backend has others, none of which is in service yet.
    Wait(String),
    /// It is all that this Backend has: without it every request fails.
    Last(String),
}

/// How far a pod's drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DrainProgress {
    /// Endpoints of the pod that take new work, or still have some.
    pub(super) left: usize,
    /// Requests in flight on them.
    pub(super) in_flight: u64,
    /// Requests that were cut on the pod's endpoints since lastcall started.
    pub(super) cut: u64,
}

/// Whether what the status says can be trusted to be all: while lastcall starts it knows of no endpoints, and a
/// pod that it does not know yet is not drained (Law 5).
pub(super) fn is_complete(status: &Status) -> bool {
    status.configuration.revision > 0 && status.ready
}

/// The Backends that have the pod as an endpoint, as `NAMESPACE/NAME`.
pub(super) fn backends(status: &Status, uid: &str) -> BTreeSet<String> {
    endpoints(status, uid)
        .map(|(backend, _)| full_name(backend))
        .collect()
}

/// Whether the pod may be drained: another endpoint of each Backend has to serve meanwhile.
pub(super) fn may_leave(status: &Status, uid: &str) -> Departure {
    let mut found = Departure::May;
    for (backend, _) in endpoints(status, uid).filter(|(_, own)| serves(own)) {
        let others = || {
            backend
                .endpoints
                .iter()
                .filter(|one| !is_its(one, uid) && one.weight > 0)
        };
        if others().any(serves) {
            continue;
        }
        if !others().any(could_serve) {
            return Departure::Last(full_name(backend));
        }
        found = Departure::Wait(full_name(backend));
    }
    found
}

/// How far the drain of the pod is, in all its Backends.
pub(super) fn progress(status: &Status, uid: &str) -> DrainProgress {
    let mut sum = DrainProgress {
        left: 0,
        in_flight: 0,
        cut: 0,
    };
    for (_, own) in endpoints(status, uid) {
        sum.left += usize::from(!is_drained(own));
        sum.in_flight += own.in_flight;
        sum.cut += own.cut_total;
    }
    sum
}

/// The first of the Backends in which the pod takes no new work.
pub(super) fn missing(status: &Status, uid: &str, wanted: &BTreeSet<String>) -> Option<String> {
    let in_service: BTreeSet<String> = endpoints(status, uid)
        .filter(|(_, own)| serves(own))
        .map(|(backend, _)| full_name(backend))
        .collect();
    wanted.difference(&in_service).next().cloned()
}

fn endpoints<'a>(
    status: &'a Status,
    uid: &'a str,
) -> impl Iterator<Item = (&'a BackendReport, &'a EndpointReport)> {
    status.backends.iter().flat_map(move |backend| {
        let own = backend.endpoints.iter().filter(move |one| is_its(one, uid));
        own.map(move |one| (backend, one))
    })
}

fn is_its(endpoint: &EndpointReport, uid: &str) -> bool {
    endpoint.pod_uid.as_deref() == Some(uid)
}

fn full_name(backend: &BackendReport) -> String {
    format!("{}/{}", backend.namespace, backend.name)
}

fn serves(endpoint: &EndpointReport) -> bool {
    endpoint.state == ServiceState::InService
        && endpoint.description == IN_SERVICE
        // Held, and kept serving for want of another: it is on its way out.
        && endpoint.reason.is_none()
}

/// Not ready yet, and nothing else is in its way.
fn could_serve(endpoint: &EndpointReport) -> bool {
    endpoint.description == UNHEALTHY && endpoint.admin_state == AdminState::Enabled
}

fn is_drained(endpoint: &EndpointReport) -> bool {
    endpoint.state == ServiceState::OutOfService
        && endpoint.description == DEREGISTERED
        && endpoint.in_flight == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::test_parts::{backend, endpoint};
    use crate::model::report::{ConfigurationReport, DEREGISTERING};
    use ServiceState::{InService, OutOfService};

    fn of(uid: &str, state: ServiceState, description: &str, in_flight: u64) -> EndpointReport {
        EndpointReport {
            pod_uid: Some(uid.to_owned()),
            ..endpoint("10.0.0.7:80", state, description, in_flight)
        }
    }

    fn status(backends: Vec<BackendReport>) -> Status {
        Status {
            version: String::new(),
            uptime_seconds: 1,
            ready: true,
            missing: Vec::new(),
            shutting_down: false,
            configuration: ConfigurationReport {
                revision: 1,
                ..ConfigurationReport::default()
            },
            load_balancers: Vec::new(),
            backends,
        }
    }

    #[test]
    fn the_last_that_serves_a_backend_may_not_leave() {
        let own = || of("own", InService, IN_SERVICE, 1);
        let other = || of("other", InService, IN_SERVICE, 0);
        let starting = || of("starting", OutOfService, UNHEALTHY, 0);
        let drained = || of("gone", OutOfService, DEREGISTERED, 0);
        let kept = || EndpointReport {
            reason: Some("Held".to_owned()),
            ..of("kept", InService, IN_SERVICE, 1)
        };
        let unwanted = || EndpointReport {
            weight: 0,
            ..other()
        };
        let last = || Departure::Last("default/web".to_owned());
        let wait = || Departure::Wait("default/web".to_owned());
        for (endpoints, expected) in [
            (vec![own(), other()], Departure::May),
            (vec![other()], Departure::May),
            (vec![own()], last()),
            (vec![own(), drained()], last()),
            (vec![own(), kept()], last()),
            (vec![own(), unwanted()], last()),
            (vec![own(), starting()], wait()),
            (vec![of("own", OutOfService, UNHEALTHY, 0)], Departure::May),
            (
                vec![of("own", OutOfService, DEREGISTERED, 0)],
                Departure::May,
            ),
        ] {
            let seen = status(vec![backend("web", endpoints)]);
            assert_eq!(may_leave(&seen, "own"), expected, "{seen:?}");
        }
        // Each Backend for itself.
        let seen = status(vec![
            backend("web", vec![own(), other()]),
            backend("api", vec![own()]),
        ]);
        assert_eq!(
            may_leave(&seen, "own"),
            Departure::Last("default/api".to_owned())
        );
    }

    #[test]
    fn a_pod_is_drained_when_it_is_in_every_backend() {
        let drained = || of("own", OutOfService, DEREGISTERED, 0);
        let leaving = || EndpointReport {
            cut_total: 2,
            ..of("own", InService, DEREGISTERING, 3)
        };
        for (web, api, left, in_flight, cut) in [
            (drained(), drained(), 0, 0, 0),
            (drained(), leaving(), 1, 3, 2),
            (leaving(), leaving(), 2, 6, 4),
            (of("own", InService, IN_SERVICE, 0), drained(), 1, 0, 0),
            (of("own", OutOfService, UNHEALTHY, 0), drained(), 1, 0, 0),
            (of("own", OutOfService, DEREGISTERED, 1), drained(), 1, 1, 0),
            (of("other", InService, IN_SERVICE, 9), drained(), 0, 0, 0),
        ] {
            let seen = status(vec![backend("web", vec![web]), backend("api", vec![api])]);
            let expected = DrainProgress {
                left,
                in_flight,
                cut,
            };
            assert_eq!(progress(&seen, "own"), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_lastcall_that_starts_says_nothing_of_what_it_does_not_know() {
        let full = status(Vec::new());
        assert!(is_complete(&full));
        let mut starting = full.clone();
        starting.ready = false;
        assert!(!is_complete(&starting));
        let mut empty = full;
        empty.configuration.revision = 0;
        assert!(!is_complete(&empty));
    }

    #[test]
    fn a_replacement_serves_when_it_does_in_every_backend_of_the_old_one() {
        let new = || of("new", InService, IN_SERVICE, 0);
        let old = || of("old", OutOfService, DEREGISTERED, 0);
        let late = || of("new", OutOfService, UNHEALTHY, 0);
        let seen = |api| {
            status(vec![
                backend("web", vec![new(), old()]),
                backend("api", vec![old(), api]),
            ])
        };
        let wanted = backends(&seen(late()), "old");
        assert_eq!(wanted.len(), 2);
        assert_eq!(
            missing(&seen(late()), "new", &wanted),
            Some("default/api".to_owned())
        );
        assert_eq!(missing(&seen(new()), "new", &wanted), None);
    }
}
