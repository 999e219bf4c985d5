//! Status, as it follows from what runs: what is news, and what is told in which words.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{Running, Unprotected, backend_status, status};
use crate::api::status::{BackendStatus, LoadBalancerStatus};
use crate::api::{Backend, LoadBalancer};
use crate::model::ObjectName;
use crate::model::report::{
    BackendReport, DEREGISTERED, DEREGISTERING, EndpointReport, IN_SERVICE, ServiceState,
    sample_endpoint,
};
use crate::plan::allotment::{Allotment, allot};
use crate::plan::cluster::{Cluster, facts};
use crate::plan::{Objects, plan};

fn at(seconds: i64) -> Time {
    Time(Timestamp::from_second(1_800_000_000 + seconds).unwrap())
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    serde_json::from_value(json!({
        "apiVersion": "lastcall.dev/v1alpha1", "kind": kind,
        "metadata": {"namespace": "shop", "name": name, "generation": 3}, "spec": spec,
    }))
    .unwrap()
}

fn web() -> Backend {
    let spec = json!({"static": [{"address": "10.0.0.7", "port": 80}]});
    object("Backend", "web", &spec)
}

fn shop() -> LoadBalancer {
    let spec = json!({
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        "defaultBackend": {"name": "web"},
    });
    object("LoadBalancer", "shop", &spec)
}

/// What runs when these are planned.
fn running() -> Running {
    let objects = Objects {
        load_balancers: vec![shop()],
        backends: vec![web()],
    };
    let ports = allot(&objects, &Allotment::default(), &(20_000..=20_001));
    let mut known = facts(&objects, &Cluster::default());
    known.ports = Some(ports.clone());
    Running {
        verdicts: plan(&objects, &known).verdicts,
        ports,
        ..Running::default()
    }
}

fn endpoint(address: &str, state: ServiceState, description: &str) -> EndpointReport {
    sample_endpoint(address, state, description, 4)
}

fn report(endpoints: Vec<EndpointReport>) -> BackendReport {
    let count = |description: &str| {
        let of_it = endpoints
            .iter()
            .filter(|one| one.description == description);
        of_it.count() as u64
    };
    BackendReport {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        total: endpoints.len() as u64,
        in_service: count(IN_SERVICE),
        draining: count(DEREGISTERING),
        out_of_service: count(DEREGISTERED),
        endpoints,
    }
}

fn serving() -> BackendReport {
    report(vec![endpoint(
        "10.0.0.7:80",
        ServiceState::InService,
        IN_SERVICE,
    )])
}

fn draining() -> BackendReport {
    let leaving = EndpointReport {
        deadline_millis: Some(50_000),
        ..endpoint("10.0.0.7:80", ServiceState::InService, DEREGISTERING)
    };
    report(vec![leaving])
}

/// The status that is written at this second over that one.
fn backend(before: Option<&BackendStatus>, report: &BackendReport, second: i64) -> BackendStatus {
    let mut object = web();
    object.status = before.cloned();
    backend_status::backend(&name("web"), &object, Some(report), &running(), &at(second)).unwrap()
}

/// A condition's status and reason.
fn said<'a>(status: &'a BackendStatus, kind: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().find(|one| one.type_ == kind)?;
    Some((&found.status, &found.reason))
}

#[test]
fn a_later_look_at_the_same_state_is_no_news() {
    let before = backend(None, &serving(), 0);
    assert!(backend_status::is_news(None, &before));
    // Half a minute later: it has been so for longer, and other numbers are in flight.
    let mut later = serving();
    later.endpoints[0].since_millis += 30_100;
    later.endpoints[0].in_flight = 17;
    later.endpoints[0].requests_total = 1_000;
    let now = backend(Some(&before), &later, 30);
    assert_eq!(now.endpoints[0].since, before.endpoints[0].since);
    assert!(!backend_status::is_news(Some(&before), &now));
}

#[test]
fn while_something_drains_its_numbers_are_news_and_its_times_stay() {
    let before = backend(None, &draining(), 0);
    let mut same = draining();
    same.endpoints[0].since_millis += 3_000;
    same.endpoints[0].deadline_millis = Some(47_000);
    let now = backend(Some(&before), &same, 3);
    assert!(!backend_status::is_news(Some(&before), &now));
    same.endpoints[0].in_flight = 3;
    let now = backend(Some(&before), &same, 3);
    assert_eq!(now.endpoints[0].deadline, before.endpoints[0].deadline);
    assert!(backend_status::is_news(Some(&before), &now));
    // A deadline that was cut short is told.
    same.endpoints[0].deadline_millis = Some(7_000);
    let now = backend(Some(&before), &same, 3);
    assert_eq!(now.endpoints[0].deadline, Some(at(10)));
}

#[test]
fn a_backends_conditions_follow_its_endpoints() {
    let gone = report(vec![endpoint(
        "10.0.0.7:80",
        ServiceState::OutOfService,
        DEREGISTERED,
    )]);
    let ready = ("True", "EndpointsInService");
    let none = ("False", "NoEndpointInService");
    for (report, is_ready, drained) in [
        (serving(), ready, "False"),
        (draining(), none, "False"),
        (gone, none, "True"),
        (report(Vec::new()), none, "False"),
    ] {
        let status = backend(None, &report, 0);
        assert_eq!(said(&status, "Ready"), Some(is_ready), "{report:?}");
        let found = said(&status, "Drained").map(|(status, _)| status);
        assert_eq!(found, Some(drained), "{report:?}");
        assert_eq!(said(&status, "Unprotected"), None);
        assert_eq!(status.observed_generation, Some(3));
    }
}

/// Law 8.
#[test]
fn pods_that_nothing_holds_are_told_of_with_an_example() {
    let mut running = running();
    let unprotected = Unprotected {
        pods: 2,
        example: "web-1: container app has no hook".to_owned(),
    };
    running.unprotected.insert(name("web"), unprotected);
    let status =
        backend_status::backend(&name("web"), &web(), Some(&serving()), &running, &at(0)).unwrap();
    assert_eq!(status.unprotected, 2);
    assert_eq!(
        said(&status, "Unprotected"),
        Some(("True", "PodsWithoutHook"))
    );
    let condition = status.conditions.last().unwrap();
    assert!(
        condition
            .message
            .contains("web-1: container app has no hook")
    );
}

#[test]
fn of_many_endpoints_those_that_are_not_plainly_in_service_are_listed_first() {
    let mut all: Vec<EndpointReport> = (0..150)
        .map(|one| {
            endpoint(
                &format!("10.0.1.{one}:80"),
                ServiceState::InService,
                IN_SERVICE,
            )
        })
        .collect();
    all.push(endpoint(
        "10.0.0.7:80",
        ServiceState::InService,
        DEREGISTERING,
    ));
    let status = backend(None, &report(all), 0);
    assert_eq!((status.total, status.endpoints.len()), (151, 100));
    assert_eq!(status.endpoints_omitted, 51);
    assert_eq!(status.endpoints[0].address, "10.0.0.7:80");
}

#[test]
fn an_object_that_was_not_planned_yet_is_not_written() {
    let nothing = Running::default();
    let (web, shop) = (web(), shop());
    let backend = backend_status::backend(&name("web"), &web, None, &nothing, &at(0));
    assert!(backend.is_none());
    let balancer = status::load_balancer(&name("shop"), &shop, None, &nothing, &at(0));
    assert!(balancer.is_none());
}

fn balancer(
    before: Option<&LoadBalancerStatus>,
    service: Option<&Value>,
    running: &Running,
    second: i64,
) -> LoadBalancerStatus {
    let mut object = shop();
    object.status = before.cloned();
    let service: Option<Service> = service.map(|one| serde_json::from_value(one.clone()).unwrap());
    status::load_balancer(
        &name("shop"),
        &object,
        service.as_ref(),
        running,
        &at(second),
    )
    .unwrap()
}

#[test]
fn a_load_balancer_is_programmed_when_it_is_bound_and_has_an_address() {
    let running = running();
    let mut taken = running.clone();
    let failed = (20_000, "address already in use".to_owned());
    taken.failed_ports.extend([failed]);
    let full = Running {
        ports: Allotment::default(),
        ..running.clone()
    };
    let inside = json!({"spec": {"type": "ClusterIP", "clusterIPs": ["10.96.0.9"]}});
    let waiting = json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"]}});
    let outside = json!({
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]}},
    });
    let (bound, unbound) = ("Programmed", "PortUnavailable");
    for (running, service, reason, listener, addresses) in [
        (
            &running,
            Some(&inside),
            "Programmed",
            bound,
            vec!["10.96.0.9"],
        ),
        (
            &running,
            Some(&waiting),
            "AddressNotAssigned",
            bound,
            vec![],
        ),
        (&running, None, "AddressNotAssigned", bound, vec![]),
        (
            &running,
            Some(&outside),
            "Programmed",
            bound,
            vec!["192.0.2.1", "lb.example.com"],
        ),
        (
            &taken,
            Some(&inside),
            "ListenersNotBound",
            unbound,
            vec!["10.96.0.9"],
        ),
        (
            &full,
            Some(&inside),
            "ListenersNotBound",
            unbound,
            vec!["10.96.0.9"],
        ),
    ] {
        let status = balancer(None, service, running, 0);
        let found: Vec<&str> = status.addresses.iter().map(|one| &*one.value).collect();
        assert_eq!(found, addresses);
        let programmed = |all: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
            let found = all.iter().find(|one| one.type_ == "Programmed");
            found.unwrap().reason.clone()
        };
        assert_eq!(programmed(&status.conditions), reason);
        assert_eq!(programmed(&status.listeners[0].conditions), listener);
    }
}

#[test]
fn a_condition_that_says_the_same_keeps_its_time() {
    let (running, service) = (running(), json!({"spec": {"clusterIPs": ["10.96.0.9"]}}));
    let before = balancer(None, Some(&service), &running, 0);
    let same = balancer(Some(&before), Some(&service), &running, 60);
    assert_eq!(same, before);
    let other = balancer(Some(&before), None, &running, 60);
    let times: Vec<(&str, &Time)> = other
        .conditions
        .iter()
        .map(|one| (&*one.type_, &one.last_transition_time))
        .collect();
    assert!(times.contains(&("Programmed", &at(60))), "{times:?}");
    assert!(times.contains(&("Accepted", &at(0))), "{times:?}");
}
