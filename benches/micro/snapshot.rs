//! What it costs to plan a configuration: 1,000 Backends with 10 endpoints each, from files and from a cluster's
//! facts, and the routes to them. It runs on the control plane, once for each change.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use lastcall::api;
use lastcall::model::{AdminState, EndpointId, EndpointSpec, Member, ObjectName};
use lastcall::plan::{Facts, Objects, plan};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const BACKENDS: [usize; 2] = [100, 1_000];
const ENDPOINTS: usize = 10;
/// Backends that one LoadBalancer routes to.
const EACH: usize = 10;

fn object<T: DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> T {
    serde_json::from_value(json!({
        "apiVersion": api::API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }))
    .expect("the benchmark's own object")
}

/// The address of an endpoint of a Backend.
fn address(backend: usize, endpoint: usize) -> SocketAddr {
    let number = u32::try_from(backend * ENDPOINTS + endpoint).expect("some thousands");
    let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
    SocketAddr::new(IpAddr::V4(ip), 8080)
}

/// So many Backends whose source `spec` tells, and the LoadBalancers that lead to them.
fn objects(backends: usize, spec: impl Fn(usize) -> Value) -> Objects {
    let one = |at| object("Backend", &format!("backend-{at}"), &spec(at));
    let load_balancer = |at: usize| {
        let routes: Vec<Value> = (at * EACH..(at + 1) * EACH)
            .map(|backend| {
                json!({
                    "hostnames": [format!("shop-{backend}.example.com")],
                    "backends": [{"name": format!("backend-{backend}")}],
                })
            })
            .collect();
        let spec = json!({
            "listeners": [{"name": "http", "port": 1_000 + at}],
            "routes": routes,
        });
        object("LoadBalancer", &format!("lb-{at}"), &spec)
    };
    Objects {
        load_balancers: (0..backends / EACH).map(load_balancer).collect(),
        backends: (0..backends).map(one).collect(),
    }
}

/// As files say it.
fn of_files(backends: usize) -> Objects {
    objects(backends, |backend| {
        let endpoint = |at| {
            let address = address(backend, at);
            json!({"address": address.ip(), "port": address.port()})
        };
        json!({"static": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>()})
    })
}

/// As a cluster has it: Services, and what their EndpointSlices said.
fn of_a_cluster(backends: usize) -> (Objects, Facts) {
    let service = |at| json!({"service": {"name": format!("service-{at}"), "port": 80}});
    let endpoints = (0..backends).map(|backend| {
        let name = ObjectName::new("default", &format!("backend-{backend}"));
        let one = |at| {
            let address = address(backend, at);
            let id = EndpointId {
                backend: name.clone(),
                member: Member::Static(address),
            };
            EndpointSpec::fixed(id, address, 1, AdminState::Enabled)
        };
        (name.clone(), (0..ENDPOINTS).map(one).collect())
    });
    let facts = Facts {
        endpoints: endpoints.collect::<BTreeMap<_, _>>(),
        ..Facts::default()
    };
    (objects(backends, service), facts)
}

fn measure(bencher: Bencher<'_, '_>, backends: usize, objects: &Objects, facts: &Facts) {
    let planned = plan(objects, facts).snapshot;
    let endpoints: usize = planned.backends.iter().map(|b| b.endpoints.len()).sum();
    assert_eq!(endpoints, backends * ENDPOINTS);
    bencher
        .counter(ItemsCount::new(endpoints))
        .bench_local(|| plan(black_box(objects), black_box(facts)));
}

#[divan::bench(args = BACKENDS, sample_count = 20)]
fn backends_of_files(bencher: Bencher<'_, '_>, backends: usize) {
    measure(bencher, backends, &of_files(backends), &Facts::default());
}

#[divan::bench(args = BACKENDS, sample_count = 20)]
fn backends_of_a_cluster(bencher: Bencher<'_, '_>, backends: usize) {
    let (objects, facts) = of_a_cluster(backends);
    measure(bencher, backends, &objects, &facts);
}

/// With what ran before among the facts, as it is with every change but the first.
#[divan::bench(args = BACKENDS, sample_count = 20)]
fn backends_of_a_cluster_again(bencher: Bencher<'_, '_>, backends: usize) {
    let (objects, facts) = of_a_cluster(backends);
    let before = Some(Arc::new(plan(&objects, &facts).snapshot));
    measure(bencher, backends, &objects, &Facts { before, ..facts });
}
