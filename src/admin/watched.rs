//! Whether a target has reached what somebody waits for: pure, from one report to the next.

use std::collections::BTreeMap;

use super::schema::Goal;
use crate::model::Target;
use crate::model::report::{BackendReport, DEREGISTERED, EndpointReport, IN_SERVICE, ServiceState};

/// A target under watch.
pub(super) struct Watched {
    target: Target,
    goal: Goal,
    /// Requests that were cut at each endpoint: when it was first seen, and when it was last seen.
    cuts: BTreeMap<String, (u64, u64)>,
}

/// What one report says of it.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    /// The endpoints that there are.
    pub(super) endpoints: Vec<EndpointReport>,
    /// Requests in flight on them.
    pub(super) in_flight: u64,
    /// Whether the goal is reached.
    pub(super) reached: bool,
}

impl Watched {
    pub(super) fn new(target: Target, goal: Goal) -> Self {
        Self {
            target,
            goal,
            cuts: BTreeMap::new(),
        }
    }

    /// Looks at a report.
    pub(super) fn see(&mut self, reports: Vec<BackendReport>) -> Seen {
        let endpoints: Vec<_> = reports
            .into_iter()
            .filter(|report| {
                *report.namespace == *self.target.backend.namespace
                    && *report.name == *self.target.backend.name
            })
            .flat_map(|report| report.endpoints)
            .filter(|endpoint| covers(&self.target, endpoint))
            .collect();
        for endpoint in &endpoints {
            let cut = endpoint.cut_total;
            self.cuts
                .entry(endpoint.address.clone())
                .or_insert((cut, cut))
                .1 = cut;
        }
        Seen {
            in_flight: endpoints.iter().map(|endpoint| endpoint.in_flight).sum(),
            reached: self.reached(&endpoints),
            endpoints,
        }
    }

    /// Requests that were cut since the watch began.
    pub(super) fn cut(&self) -> u64 {
        self.cuts
            .values()
            .map(|(first, last)| last.saturating_sub(*first))
            .sum()
    }

    fn reached(&self, endpoints: &[EndpointReport]) -> bool {
        match self.goal {
            // An endpoint that is gone from the report is drained: it stays there while it is not.
            Goal::Drained => endpoints.iter().all(is_drained),
            Goal::InService => !endpoints.is_empty() && endpoints.iter().all(is_in_service),
        }
    }
}

/// Whether the target means this endpoint of its Backend.
pub(super) fn covers(target: &Target, endpoint: &EndpointReport) -> bool {
    target
        .address
        .is_none_or(|address| endpoint.address.parse() == Ok(address))
}

/// Unhealthy is out of service too, but it may come back by itself: that is not drained.
fn is_drained(endpoint: &EndpointReport) -> bool {
    endpoint.state == ServiceState::OutOfService
        && endpoint.description == DEREGISTERED
        && endpoint.in_flight == 0
}

fn is_in_service(endpoint: &EndpointReport) -> bool {
    endpoint.state == ServiceState::InService && endpoint.description == IN_SERVICE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::test_parts::{backend, endpoint};
    use crate::model::report::DEREGISTERING;

    fn watched(target: &str, goal: Goal) -> Watched {
        Watched::new(Target::parse(target, "default").unwrap(), goal)
    }

    fn report(
        first: (ServiceState, &str, u64),
        second: (ServiceState, &str, u64),
    ) -> Vec<BackendReport> {
        vec![
            backend(
                "other",
                vec![endpoint(
                    "127.0.0.1:1",
                    ServiceState::InService,
                    IN_SERVICE,
                    9,
                )],
            ),
            backend(
                "web",
                vec![
                    endpoint("127.0.0.1:1", first.0, first.1, first.2),
                    endpoint("127.0.0.1:2", second.0, second.1, second.2),
                ],
            ),
        ]
    }

    #[test]
    fn a_target_is_drained_when_all_that_it_covers_is() {
        use ServiceState::{InService, OutOfService};
        let unhealthy = "Instance has failed at least the UnhealthyThreshold number of health checks consecutively";
        let taken = (InService, IN_SERVICE, 0);
        for (state, drained, in_service) in [
            (taken, false, true),
            ((InService, DEREGISTERING, 3), false, false),
            ((InService, DEREGISTERING, 0), false, false),
            ((OutOfService, unhealthy, 0), false, false),
            ((OutOfService, DEREGISTERED, 1), false, false),
            ((OutOfService, DEREGISTERED, 0), true, false),
        ] {
            let one = |goal| watched("be/web/127.0.0.1:1", goal).see(report(state, taken));
            assert_eq!(one(Goal::Drained).reached, drained, "{state:?}");
            assert_eq!(one(Goal::InService).reached, in_service, "{state:?}");
            assert_eq!(one(Goal::Drained).in_flight, state.2);
            let whole = watched("be/web", Goal::Drained).see(report(state, taken));
            assert!(!whole.reached, "the other endpoint is in service");
        }
    }

    #[test]
    fn an_endpoint_that_is_gone_is_drained_but_not_in_service() {
        assert!(watched("be/web", Goal::Drained).see(Vec::new()).reached);
        assert!(!watched("be/web", Goal::InService).see(Vec::new()).reached);
    }

    #[test]
    fn cuts_count_from_the_begin_of_the_watch_and_outlive_the_endpoint() {
        let mut watched = watched("be/web", Goal::Drained);
        let with_cuts = |total| {
            let mut one = endpoint("127.0.0.1:1", ServiceState::InService, DEREGISTERING, 1);
            one.cut_total = total;
            vec![backend("web", vec![one])]
        };
        watched.see(with_cuts(5));
        assert_eq!(watched.cut(), 0);
        watched.see(with_cuts(7));
        watched.see(Vec::new());
        assert_eq!(watched.cut(), 2);
    }
}
