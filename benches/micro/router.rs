//! What it costs to find a request's route among 10, 1,000 and 10,000 hosts, each
//! with a few paths, and to build the routers of 10,000 hosts.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use lastcall::model::{
    Expression, HostPattern, LoadBalancer, Match, NamedPattern, ObjectName, PathPattern, Retry,
    Route, RouteTimeouts, ValuePattern, WeightedBackend,
};
use lastcall::proxy::router::{Asked, Router};

const HOSTS: [usize; 3] = [10, 1_000, 10_000];

fn to(backend: usize) -> WeightedBackend {
    WeightedBackend {
        backend,
        weight: 1,
        timeouts: RouteTimeouts::default(),
        retry: Retry::default(),
    }
}

fn route(hostnames: Vec<HostPattern>, matches: Vec<Match>) -> Route {
    Route {
        hostnames,
        matches,
        filters: None,
        backends: vec![to(0)],
    }
}

/// A LoadBalancer with so many hosts, of which each tenth is a wildcard. Each has four paths: everything, a
/// prefix, an exact one, and one with a header.
fn load_balancer(hosts: usize) -> LoadBalancer {
    let canary = Match {
        headers: vec![NamedPattern {
            name: "X-Canary".into(),
            value: ValuePattern::Exact("1".into()),
        }],
        ..Match::prefix("/api/v1")
    };
    let exact = Match {
        path: PathPattern::Exact("/healthz".into()),
        ..Match::all()
    };
    let matches = [Match::all(), Match::prefix("/api/v1"), exact, canary];
    // As many hosts on a route as the schema allows.
    let names: Vec<HostPattern> = (0..hosts).map(|at| HostPattern::new(&host(at))).collect();
    let routes = names.chunks(16).flat_map(|some| {
        let one = |one: &Match| route(some.to_vec(), vec![one.clone()]);
        matches.iter().map(one).collect::<Vec<_>>()
    });
    LoadBalancer {
        routes: routes.collect(),
        ..LoadBalancer::new(ObjectName::new("default", "lb"))
    }
}

fn host(at: usize) -> String {
    if at % 10 == 5 {
        format!("*.tenant-{at}.example.com")
    } else {
        format!("shop-{at}.example.com")
    }
}

/// Looks up a host in the middle, over and over.
fn look_up(bencher: Bencher<'_, '_>, hosts: usize, host: &str, path: &str) {
    let router = Router::new(&load_balancer(hosts), &[], 0);
    let asked = Asked {
        host,
        path: path.as_bytes(),
        query: b"",
        method: b"GET",
        fields: &[],
        buf: b"",
    };
    assert_eq!(
        router.route(&asked).is_some(),
        host.starts_with("shop-6.") || host.starts_with("a.")
    );
    bencher.bench_local(|| black_box(router.route(black_box(&asked)).is_some()));
}

#[divan::bench(args = HOSTS)]
fn an_exact_host(bencher: Bencher<'_, '_>, hosts: usize) {
    look_up(bencher, hosts, "shop-6.example.com", "/");
}

#[divan::bench(args = HOSTS)]
fn an_exact_host_and_a_deep_path(bencher: Bencher<'_, '_>, hosts: usize) {
    look_up(bencher, hosts, "shop-6.example.com", "/api/v1/orders/17");
}

#[divan::bench(args = HOSTS)]
fn a_wildcard(bencher: Bencher<'_, '_>, hosts: usize) {
    look_up(bencher, hosts, "a.tenant-5.example.com", "/");
}

#[divan::bench(args = HOSTS)]
fn nobodys_host(bencher: Bencher<'_, '_>, hosts: usize) {
    look_up(bencher, hosts, "a-name.nobody.knows.example.org", "/");
}

/// As long as a head may be: what a client without scruples would send.
#[divan::bench(args = HOSTS)]
fn a_host_of_16000_labels(bencher: Bencher<'_, '_>, hosts: usize) {
    look_up(bencher, hosts, &"x.".repeat(16_000), "/");
}

/// A path of 8,000 segments under a host that has prefixes.
#[divan::bench(args = HOSTS)]
fn a_path_of_8000_segments(bencher: Bencher<'_, '_>, hosts: usize) {
    look_up(bencher, hosts, "shop-6.example.com", &"/x".repeat(4_000));
}

/// One configuration: 10,000 hosts over so many LoadBalancers. What one worker does when all of them are new.
#[divan::bench(args = [1, 100, 1_000], sample_count = 10)]
fn build_10000_hosts(bencher: Bencher<'_, '_>, load_balancers: usize) {
    let one = load_balancer(10_000 / load_balancers);
    let all = vec![one; load_balancers];
    bencher
        .counter(ItemsCount::new(10_000_usize))
        .bench_local(|| {
            let built: Vec<Router> = all.iter().map(|one| Router::new(one, &[], 0)).collect();
            black_box(built)
        });
}

/// What the workers do where none of them has changed.
#[divan::bench(sample_count = 10)]
fn see_that_10000_hosts_are_as_they_were(bencher: Bencher<'_, '_>) {
    let all = vec![load_balancer(100); 100];
    let again = all.clone();
    bencher
        .counter(ItemsCount::new(10_000_usize))
        .bench_local(|| assert!(black_box(&all) == black_box(&again)));
}

#[divan::bench]
fn compile_an_expression(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| Expression::new(black_box("/users/[0-9]+/orders(/.*)?")));
}

#[divan::bench]
fn match_an_expression(bencher: Bencher<'_, '_>) {
    let expression = Expression::new("/users/[0-9]+/orders(/.*)?").map(|e| e.for_worker());
    bencher.bench_local(|| {
        let regex = expression.as_ref().expect("an expression");
        assert!(regex.is_match(black_box(b"/users/17/orders/3")));
    });
}
