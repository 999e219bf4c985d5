//! The status of a Backend: pure. Written on changes of state, and while something drains with its numbers;
//! never for in-flight numbers alone (live numbers come from the admin API).

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::status::{Said, conditions, planned};
use super::{Running, Unprotected};
use crate::api::Backend;
use crate::api::status::{BackendStatus, EndpointState, EndpointStatus};
use crate::model::ObjectName;
use crate::model::report::{BackendReport, DEREGISTERED, EndpointReport, IN_SERVICE, ServiceState};
use crate::plan::{Kind, ObjectRef};

/// The most that are listed.
const LISTED: usize = 100;
/// Times that are told from "so long ago" are the same within this.
const SLACK: Duration = Duration::from_secs(2);

/// The status of a Backend that reports this.
pub(super) fn backend(
    name: &ObjectName,
    object: &Backend,
    report: Option<&BackendReport>,
    running: &Running,
    now: &Time,
) -> Option<BackendStatus> {
    let before = object.status.clone().unwrap_or_default();
    let reference = ObjectRef {
        kind: Kind::Backend,
        name: name.clone(),
    };
    let verdict = running.verdicts.get(&reference)?;
    let unprotected = running.unprotected.get(name).cloned().unwrap_or_default();
    let mut reports: Vec<&EndpointReport> = report.iter().flat_map(|one| &one.endpoints).collect();
    // Those not plainly in service first.
    reports.sort_by_key(|one| one.description == IN_SERVICE);
    let count = |wanted: fn(&BackendReport) -> u64| {
        u32::try_from(report.map_or(0, wanted)).unwrap_or(u32::MAX)
    };
    let endpoints = reports
        .iter()
        .take(LISTED)
        .map(|one| endpoint(one, &before, now));
    let generation = object.metadata.generation;
    let mut said = planned(&verdict.conditions);
    said.push(ready(report));
    said.push(drained(&reports));
    said.extend(not_protected(&unprotected));
    Some(BackendStatus {
        total: count(|one| one.total),
        in_service: count(|one| one.in_service),
        draining: count(|one| one.draining),
        out_of_service: count(|one| one.out_of_service),
        unprotected: unprotected.pods,
        endpoints: endpoints.collect(),
        endpoints_omitted: u32::try_from(reports.len().saturating_sub(LISTED)).unwrap_or(u32::MAX),
        conditions: conditions(said, &before.conditions, generation, now),
        observed_generation: generation,
    })
}

fn endpoint(report: &EndpointReport, before: &BackendStatus, now: &Time) -> EndpointStatus {
    let old = before
        .endpoints
        .iter()
        .find(|old| old.address == report.address);
    let ago = |millis: u64, sign: i64| {
        let millis = i64::try_from(millis).unwrap_or(i64::MAX / 2) * sign;
        now.0
            .checked_add(SignedDuration::from_millis(millis))
            .ok()
            .map(Time)
    };
    EndpointStatus {
        address: report.address.clone(),
        pod: report.pod.clone(),
        state: match report.state {
            ServiceState::InService => EndpointState::InService,
            ServiceState::OutOfService => EndpointState::OutOfService,
        },
        description: report.description.clone(),
        reason: report.reason.clone(),
        in_flight: report.in_flight,
        since: steady(
            ago(report.since_millis, -1),
            old.and_then(|old| old.since.as_ref()),
        ),
        deadline: steady(
            report.deadline_millis.and_then(|left| ago(left, 1)),
            old.and_then(|old| old.deadline.as_ref()),
        ),
    }
}

/// The time as it was written before, where that is the same; in whole seconds, as the API keeps it.
fn steady(time: Option<Time>, before: Option<&Time>) -> Option<Time> {
    let time = time?;
    if let Some(before) = before
        && before.0.duration_since(time.0).unsigned_abs() <= SLACK
    {
        return Some(before.clone());
    }
    Timestamp::from_second(time.0.as_second()).ok().map(Time)
}

fn ready(report: Option<&BackendReport>) -> Said {
    let in_service = report.map_or(0, |one| one.in_service);
    let (reason, message) = if in_service > 0 {
        ("EndpointsInService", String::new())
    } else {
        (
            "NoEndpointInService",
            "requests for it are answered 503".to_owned(),
        )
    };
    Said {
        kind: "Ready",
        met: in_service > 0,
        reason,
        message,
    }
}

/// All that it has is out, and nothing is in flight.
fn drained(reports: &[&EndpointReport]) -> Said {
    let met = !reports.is_empty() && reports.iter().all(|one| one.description == DEREGISTERED);
    Said {
        kind: "Drained",
        met,
        reason: if met { "Drained" } else { "NotDrained" },
        message: String::new(),
    }
}

/// Law 8: every unprotected pod is visible.
fn not_protected(unprotected: &Unprotected) -> Option<Said> {
    (unprotected.pods > 0).then(|| Said {
        kind: "Unprotected",
        met: true,
        reason: "PodsWithoutHook",
        message: format!(
            "{} pods are not held when they are stopped, such as {}; pods that are made now get the hook",
            unprotected.pods, unprotected.example
        ),
    })
}

/// Whether a status has to be written over the one that is there.
pub(super) fn is_news(before: Option<&BackendStatus>, now: &BackendStatus) -> bool {
    let quiet = |status: &BackendStatus| {
        let mut status = status.clone();
        for endpoint in &mut status.endpoints {
            endpoint.in_flight = 0;
        }
        status
    };
    match before {
        None => true,
        // While something drains its numbers are of interest.
        Some(before) if now.draining > 0 => before != now,
        Some(before) => quiet(before) != quiet(now),
    }
}
