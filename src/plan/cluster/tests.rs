//! One test for each rule of how a cluster's objects become endpoints.

use serde_json::{Value, json};

use super::*;
use crate::model::{AdminState, EndpointSpec, Member, Stopping};
use crate::plan::tests::be;
use crate::plan::{ConditionKind, Facts, Kind, ObjectRef, Objects, plan};

fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

/// A pod that is ready, with one container and its port `http`.
pub(super) fn pod(of: &str, uid: &str, address: &str) -> Pod {
    Pod {
        labels: [("app", "web")].into_iter().collect(),
        addresses: [address.parse().unwrap()].into(),
        ports: [PodPort {
            name: "http".into(),
            port: 8080,
        }]
        .into(),
        ..Pod::sample(name(of), uid)
    }
}

/// An endpoint of a slice that is that pod, ready.
pub(super) fn listed(pod: &Pod) -> SliceEndpoint {
    SliceEndpoint {
        address: pod.addresses[0],
        ready: Some(true),
        serving: Some(true),
        terminating: Some(false),
        pod: Some(PodRef {
            name: pod.name.clone(),
            uid: Some(pod.uid.clone()),
        }),
    }
}

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: name.into(),
        port,
    }
}

/// The Service `web`, port 80 called http, with these slices.
pub(super) fn cluster(pods: Vec<Pod>, slices: Vec<Vec<SliceEndpoint>>) -> Cluster {
    let service = Service {
        ports: [port("http", 80)].into(),
        families: [Family::V4, Family::V6].into(),
        external: false,
        ..Service::default()
    };
    let slices = (0..).zip(slices).map(|(at, endpoints)| {
        let slice = Slice {
            service: "web".into(),
            ports: [port("http", 8080)].into(),
            endpoints: endpoints.into(),
        };
        (name(&format!("web-{at}")), Arc::new(slice))
    });
    Cluster {
        services: [(name("web"), Arc::new(service))].into(),
        slices: slices.collect(),
        pods: pods
            .into_iter()
            .map(|pod| (pod.name.clone(), Arc::new(pod)))
            .collect(),
        nodes: BTreeMap::new(),
        secrets: Arc::default(),
    }
}

#[allow(clippy::needless_pass_by_value)] // a literal, at every call
pub(super) fn facts_of(spec: Value, cluster: &Cluster) -> Facts {
    let objects = Objects {
        load_balancers: vec![],
        backends: vec![be("web", spec)],
    };
    facts(&objects, cluster)
}

/// The endpoints of the Service `web`'s port http.
pub(super) fn served(cluster: &Cluster) -> Vec<EndpointSpec> {
    let mut facts = facts_of(json!({"service": {"name": "web", "port": "http"}}), cluster);
    facts.endpoints.remove(&name("web")).unwrap()
}

fn uids(endpoints: &[EndpointSpec]) -> Vec<&str> {
    endpoints
        .iter()
        .filter_map(|spec| match &spec.id.member {
            Member::Pod { uid, .. } => Some(&**uid),
            Member::Static(_) => None,
        })
        .collect()
}

#[test]
fn an_endpoint_is_its_pods_uid_and_port() {
    let one = pod("web-1", "u1", "10.0.0.1");
    let found = served(&cluster(vec![one.clone()], vec![vec![listed(&one)]]));
    assert_eq!(found.len(), 1);
    let endpoint = &found[0];
    assert_eq!(endpoint.id.to_string(), "default/web/u1:8080");
    assert_eq!(endpoint.address.to_string(), "10.0.0.1:8080");
    assert_eq!(endpoint.pod.as_deref(), Some("web-1"));
    assert_eq!(
        (endpoint.weight, endpoint.ready, endpoint.stopping),
        (1, true, None)
    );
}

/// PITFALLS 10, 37.
#[test]
fn conditions_are_read_terminating_first_and_absent_means_true() {
    let (yes, no) = (Some(true), Some(false));
    for (ready, serving, terminating, deleted, can) in [
        (yes, yes, no, false, true),
        (None, None, None, false, true),
        (no, no, no, false, false),
        (no, None, None, false, false),
        // Not terminating: `serving` says nothing that `ready` does not.
        (no, yes, no, false, false),
        (yes, no, no, false, true),
        // Terminating: it serves on where it can.
        (no, yes, yes, false, true),
        (no, no, yes, false, false),
        (no, None, yes, false, false),
        (None, None, yes, false, true),
        // publishNotReadyAddresses: ready says nothing of one that terminates.
        (yes, no, yes, false, false),
        // The pod is known to be deleted before its slice follows.
        (yes, yes, no, true, true),
        (no, yes, no, true, true),
        (yes, no, no, true, false),
        (yes, None, None, true, true),
    ] {
        let mut one = pod("web-1", "u1", "10.0.0.1");
        one.deletion = deleted.then_some(Duration::from_secs(7));
        let endpoint = SliceEndpoint {
            ready,
            serving,
            terminating,
            ..listed(&one)
        };
        let found = served(&cluster(vec![one], vec![vec![endpoint]]));
        let row = (ready, serving, terminating, deleted);
        assert_eq!(found[0].ready, can, "{row:?}");
        let leaving = deleted || terminating == yes;
        assert_eq!(found[0].stopping.is_some(), leaving, "{row:?}");
    }
}

#[test]
fn what_is_left_of_a_deleted_pods_life_is_what_its_object_says() {
    let seconds = |s| {
        Some(Stopping {
            grace: Duration::from_secs(s),
        })
    };
    let mut one = pod("web-1", "u1", "10.0.0.1");
    let terminating = SliceEndpoint {
        terminating: Some(true),
        ..listed(&one)
    };
    // Seen in the slice first: what its spec grants.
    let early = served(&cluster(vec![one.clone()], vec![vec![terminating.clone()]]));
    assert_eq!(early[0].stopping, seconds(30));
    one.deletion = Some(Duration::from_secs(5));
    let known = served(&cluster(vec![one.clone()], vec![vec![terminating]]));
    assert_eq!(known[0].stopping, seconds(5));
    let ahead = served(&cluster(vec![one.clone()], vec![vec![listed(&one)]]));
    assert_eq!(ahead[0].stopping, seconds(5));
}

/// PITFALLS 13.
#[test]
fn an_endpoint_is_left_out_until_its_very_pod_is_known() {
    let one = pod("web-1", "u1", "10.0.0.1");
    let again = pod("web-1", "u2", "10.0.0.1");
    let endpoint = vec![vec![listed(&one)]];
    assert!(served(&cluster(vec![], endpoint.clone())).is_empty());
    assert!(served(&cluster(vec![again], endpoint.clone())).is_empty());
    let elsewhere = Pod {
        name: ObjectName::new("other", "web-1"),
        ..one.clone()
    };
    assert!(served(&cluster(vec![elsewhere], endpoint.clone())).is_empty());
    assert_eq!(uids(&served(&cluster(vec![one], endpoint))), ["u1"]);
}

#[test]
fn a_pod_that_has_ended_is_no_endpoint() {
    let over = Pod {
        over: true,
        ..pod("web-1", "u1", "10.0.0.1")
    };
    let cluster = cluster(vec![over.clone()], vec![vec![listed(&over)]]);
    assert!(served(&cluster).is_empty());
    let selected = json!({"pods": {"selector": {"matchLabels": {"app": "web"}}, "port": 1}});
    assert!(facts_of(selected, &cluster).endpoints[&name("web")].is_empty());
}

#[test]
fn an_address_that_is_no_pods_is_itself() {
    let listed = |address: &str, ready| SliceEndpoint {
        address: address.parse().unwrap(),
        ready,
        serving: None,
        terminating: None,
        pod: None,
    };
    let both = vec![
        vec![listed("10.0.0.9", Some(false)), listed("10.0.0.8", None)],
        // The same servers once more, in the family that the Service does not prefer.
        vec![listed("fd00::8", None)],
    ];
    let found = served(&cluster(vec![], both.clone()));
    let plain: Vec<_> = found
        .iter()
        .map(|e| (e.id.member.to_string(), e.ready, e.pod.is_none()))
        .collect();
    assert_eq!(
        plain,
        [
            ("10.0.0.8:8080".to_owned(), true, true),
            ("10.0.0.9:8080".to_owned(), false, true)
        ]
    );
    // Where there is no other family, that one.
    assert_eq!(served(&cluster(vec![], both[1..].to_vec())).len(), 1);
}

#[test]
fn of_two_families_each_endpoint_has_the_one_its_service_prefers() {
    let both = pod("web-1", "u1", "10.0.0.1");
    let six_only = pod("web-2", "u2", "fd00::2");
    let six = SliceEndpoint {
        address: "fd00::1".parse().unwrap(),
        ..listed(&both)
    };
    let slices = vec![vec![listed(&both)], vec![six, listed(&six_only)]];
    let mut cluster = cluster(vec![both, six_only], slices);
    let addresses = |cluster: &Cluster| -> Vec<String> {
        let found = served(cluster);
        found.iter().map(|e| e.address.to_string()).collect()
    };
    assert_eq!(addresses(&cluster), ["10.0.0.1:8080", "[fd00::2]:8080"]);
    let mut service = (*cluster.services[&name("web")]).clone();
    service.families = [Family::V6, Family::V4].into();
    cluster.services.insert(name("web"), Arc::new(service));
    assert_eq!(addresses(&cluster), ["[fd00::1]:8080", "[fd00::2]:8080"]);
}

#[test]
fn an_endpoint_in_two_slices_is_there_once_and_ready_if_either_says_so() {
    let one = pod("web-1", "u1", "10.0.0.1");
    let old = SliceEndpoint {
        ready: Some(false),
        ..listed(&one)
    };
    for slices in [
        vec![vec![old.clone()], vec![listed(&one)]],
        vec![vec![listed(&one)], vec![old]],
    ] {
        let found = served(&cluster(vec![one.clone()], slices));
        assert_eq!((found.len(), found[0].ready), (1, true));
    }
}

#[test]
fn a_services_port_is_found_by_number_or_name_and_leads_to_the_slices_of_that_name() {
    let one = pod("web-1", "u1", "10.0.0.1");
    let mut cluster = cluster(vec![one.clone()], vec![vec![listed(&one)]]);
    let service = Service {
        ports: [port("http", 80), port("admin", 81)].into(),
        ..(*cluster.services[&name("web")]).clone()
    };
    cluster.services.insert(name("web"), Arc::new(service));
    // Two slices: pods of one Service can give a named port different numbers.
    let two = pod("web-2", "u2", "10.0.0.2");
    let other = Slice {
        service: "web".into(),
        ports: [port("admin", 9000), port("http", 8888)].into(),
        endpoints: [listed(&two)].into(),
    };
    cluster.pods.insert(two.name.clone(), Arc::new(two));
    cluster.slices.insert(name("web-x"), Arc::new(other));
    for (wanted, found) in [
        (json!(80), vec!["10.0.0.1:8080", "10.0.0.2:8888"]),
        (json!("http"), vec!["10.0.0.1:8080", "10.0.0.2:8888"]),
        (json!(81), vec!["10.0.0.2:9000"]),
        (json!("admin"), vec!["10.0.0.2:9000"]),
    ] {
        let facts = facts_of(
            json!({"service": {"name": "web", "port": wanted}}),
            &cluster,
        );
        let addresses: Vec<String> = facts.endpoints[&name("web")]
            .iter()
            .map(|e| e.address.to_string())
            .collect();
        assert_eq!(addresses, found, "{wanted}");
    }
}

/// The condition that the verdict of the one Backend has.
fn refs(spec: &Value, cluster: &Cluster) -> (bool, &'static str, Option<String>, String) {
    let objects = Objects {
        load_balancers: vec![],
        backends: vec![be("web", spec.clone())],
    };
    let planned = plan(&objects, &facts(&objects, cluster));
    let object = ObjectRef {
        kind: Kind::Backend,
        name: name("web"),
    };
    let condition = planned.verdicts[&object].get(ConditionKind::ResolvedRefs);
    let c = condition.unwrap().clone();
    (c.met, c.reason, c.field, c.message)
}

/// Law 4.
#[test]
fn what_is_not_there_is_named_with_its_field_and_what_there_is() {
    let one = pod("web-1", "u1", "10.0.0.1");
    let mut cluster = cluster(vec![one], vec![]);
    let external = Service {
        external: true,
        ..Service::default()
    };
    cluster.services.insert(name("far"), Arc::new(external));
    let unnamed = Service {
        ports: [port("", 80)].into(),
        ..Service::default()
    };
    cluster.services.insert(name("plain"), Arc::new(unnamed));
    let app = json!({"matchLabels": {"app": "web"}});
    let odd = |operator: &str, values: Value| {
        json!({"pods": {"port": 1, "selector": {
            "matchExpressions": [{"key": "app", "operator": operator, "values": values}]}}})
    };
    for (spec, reason, field, says) in [
        (
            json!({"service": {"name": "gone", "port": 80}}),
            "ServiceNotFound",
            "spec.service.name",
            "default/gone",
        ),
        (
            json!({"service": {"name": "far", "port": 80}}),
            "ServiceWithoutEndpoints",
            "spec.service.name",
            "ExternalName",
        ),
        (
            json!({"service": {"name": "web", "port": 8080}}),
            "PortNotFound",
            "spec.service.port",
            "port 8080; it has: http (80)",
        ),
        (
            json!({"service": {"name": "plain", "port": "http"}}),
            "PortNotFound",
            "spec.service.port",
            "port http; it has: 80",
        ),
        (
            json!({"pods": {"selector": app, "port": "metrics"}}),
            "PortNotFound",
            "spec.pods.port",
            "metrics",
        ),
        (
            odd("Like", json!(["x"])),
            "InvalidSelector",
            "spec.pods.selector.matchExpressions[0].operator",
            "\"Like\"; allowed: In, NotIn, Exists, DoesNotExist",
        ),
        (
            odd("In", json!([])),
            "InvalidSelector",
            "spec.pods.selector.matchExpressions[0].values",
            "at least one",
        ),
    ] {
        let (met, why, at, message) = refs(&spec, &cluster);
        assert_eq!((met, why, at.as_deref()), (false, reason, Some(field)));
        assert!(message.contains(says), "{message}");
    }
    let (met, ..) = refs(&json!({"service": {"name": "web", "port": 80}}), &cluster);
    assert!(met, "a Service without endpoints is one that is there");
}

#[test]
fn selectors_take_the_pods_that_kubernetes_says_they_take() {
    let labelled = |of: &str, labels: &[(&str, &str)]| Pod {
        labels: labels.iter().copied().collect(),
        ..pod(of, of, "10.0.0.1")
    };
    let elsewhere = Pod {
        name: ObjectName::new("other", "z"),
        ..labelled("z", &[("app", "web")])
    };
    let cluster = cluster(
        vec![
            labelled("a", &[("tier", "front"), ("app", "web")]),
            labelled("b", &[("app", "web")]),
            labelled("c", &[("app", "db"), ("tier", "back")]),
            labelled("d", &[]),
            elsewhere,
        ],
        vec![],
    );
    let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    for (selector, wanted) in [
        (json!({"matchLabels": {"app": "web"}}), vec!["a", "b"]),
        (
            json!({"matchLabels": {"app": "web", "tier": "front"}}),
            vec!["a"],
        ),
        (expression("app", "In", json!(["db", "x"])), vec!["c"]),
        (
            expression("app", "NotIn", json!(["db"])),
            vec!["a", "b", "d"],
        ),
        (expression("tier", "Exists", Value::Null), vec!["a", "c"]),
        (
            expression("tier", "DoesNotExist", Value::Null),
            vec!["b", "d"],
        ),
        (
            json!({"matchLabels": {"app": "web"},
                   "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
            vec!["b"],
        ),
        (json!({}), vec![]),
    ] {
        let spec = json!({"pods": {"selector": selector, "port": 8080}});
        let facts = facts_of(spec, &cluster);
        assert_eq!(uids(&facts.endpoints[&name("web")]), wanted, "{selector}");
    }
}

#[test]
fn a_selected_pods_port_is_a_number_or_what_a_container_calls_it() {
    let named = pod("a", "a", "10.0.0.1");
    let nameless = Pod {
        ports: [].into(),
        ready: false,
        deletion: Some(Duration::from_secs(3)),
        ..pod("b", "b", "10.0.0.2")
    };
    let unborn = Pod {
        addresses: [].into(),
        ..pod("c", "c", "10.0.0.3")
    };
    let cluster = cluster(vec![named, nameless, unborn], vec![]);
    let found = |port: Value| {
        let selector = json!({"matchLabels": {"app": "web"}});
        let facts = facts_of(
            json!({"pods": {"selector": selector, "port": port}}),
            &cluster,
        );
        facts.endpoints[&name("web")].clone()
    };
    assert_eq!(uids(&found(json!("http"))), ["a"]);
    assert_eq!(found(json!("http"))[0].address.port(), 8080);
    let both = found(json!(99));
    assert_eq!(uids(&both), ["a", "b"]);
    assert_eq!((both[0].ready, both[0].stopping), (true, None));
    assert!(!both[1].ready && both[1].stopping.is_some());
}

#[test]
fn a_pods_annotation_is_its_admin_state_and_what_means_nothing_is_said() {
    let pods = [
        ("a", None),
        ("b", Some("Draining")),
        ("c", Some("Disabled")),
        ("d", Some("Enabled")),
        ("e", Some("draining")),
        ("f", Some("")),
    ];
    let pods: Vec<Pod> = pods
        .into_iter()
        .map(|(of, word)| Pod {
            admin_state: word.map(Into::into),
            ..pod(of, of, "10.0.0.1")
        })
        .collect();
    let slices = vec![pods.iter().map(listed).collect()];
    let cluster = cluster(pods, slices);
    let states: Vec<AdminState> = served(&cluster).iter().map(|e| e.admin_state).collect();
    let (on, draining, off) = (
        AdminState::Enabled,
        AdminState::Draining,
        AdminState::Disabled,
    );
    assert_eq!(states, [on, draining, off, on, on, on]);

    let objects = Objects {
        load_balancers: vec![],
        backends: vec![be("web", json!({"service": {"name": "web", "port": 80}}))],
    };
    let planned = plan(&objects, &facts(&objects, &cluster));
    let verdict = planned.verdicts.values().next().unwrap();
    let advice = verdict.get(ConditionKind::AnnotationIgnored).unwrap();
    assert!(advice.is_fault());
    for word in ["pods e, f is ignored", "\"draining\"", "Enabled, Draining"] {
        assert!(advice.message.contains(word), "{}", advice.message);
    }
    assert!(verdict.get(ConditionKind::ResolvedRefs).unwrap().met);
}
