//! What holds of every plan, whatever the objects are.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::tests::{be, lb};
use super::*;

/// Few names and ports, so that references hit, miss and collide.
const NAMES: &[&str] = &["a", "b", "c", "d"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES)
}

fn load_balancer() -> impl Strategy<Value = api::LoadBalancer> {
    let listeners = prop::collection::vec(1_u16..6, 1..4);
    let backends = prop::collection::vec((name(), 0_u32..3), 1..4);
    let routes = prop::collection::vec(backends, 0..4);
    let default = prop::option::of(name());
    (name(), listeners, routes, default, 1_u32..9).prop_map(
        |(name, ports, routes, default, seconds)| {
            let listeners: Vec<_> = (0..)
                .zip(&ports)
                .map(|(at, port)| json!({"name": format!("l{at}"), "port": port}))
                .collect();
            let routes: Vec<_> = routes
                .iter()
                .map(|backends| {
                    let backends: Vec<_> = backends
                        .iter()
                        .map(|(name, weight)| json!({"name": name, "weight": weight}))
                        .collect();
                    json!({ "backends": backends })
                })
                .collect();
            let mut spec = json!({
                "listeners": listeners,
                "routes": routes,
                "connectionDraining": {"timeoutSeconds": seconds},
            });
            if let Some(default) = default {
                spec["defaultBackend"] = json!({ "name": default });
            }
            lb(name, spec)
        },
    )
}

fn backend() -> impl Strategy<Value = api::Backend> {
    let endpoints = prop::collection::vec((1_u8..4, 1_u16..4), 0..6);
    (name(), endpoints, prop::option::of(0_u32..9)).prop_map(|(name, endpoints, min)| {
        let listed: Vec<_> = endpoints
            .iter()
            .map(|(last, port)| json!({"address": format!("10.0.0.{last}"), "port": port}))
            .collect();
        let mut spec = json!({ "static": listed });
        if let Some(min) = min {
            spec["connectionDraining"] = json!({ "minSeconds": min });
        }
        be(name, spec)
    })
}

fn objects() -> impl Strategy<Value = Objects> {
    let load_balancers = prop::collection::vec(load_balancer(), 0..5);
    let backends = prop::collection::vec(backend(), 0..5);
    (load_balancers, backends).prop_map(|(mut load_balancers, mut backends)| {
        // A source gives each name once.
        let mut seen = BTreeSet::new();
        load_balancers.retain(|o| seen.insert(o.metadata.name.clone()));
        seen.clear();
        backends.retain(|o| seen.insert(o.metadata.name.clone()));
        Objects {
            load_balancers,
            backends,
        }
    })
}

proptest! {
    #[test]
    fn a_plan_is_sound_and_does_not_depend_on_order(objects in objects()) {
        let planned = plan(&objects, &Facts::default());
        let mut turned = objects.clone();
        turned.load_balancers.reverse();
        turned.backends.reverse();
        prop_assert_eq!(&plan(&turned, &Facts::default()), &planned);

        let snapshot = &planned.snapshot;
        prop_assert_eq!(planned.verdicts.len(), objects.load_balancers.len() + objects.backends.len());
        prop_assert!(snapshot.backends.is_sorted_by(|a, b| a.name < b.name));
        prop_assert!(snapshot.load_balancers.is_sorted_by(|a, b| a.name < b.name));
        let mut ports = BTreeSet::new();
        for load_balancer in &snapshot.load_balancers {
            for listener in &load_balancer.listeners {
                prop_assert!(ports.insert(listener.port), "port {} twice", listener.port);
            }
            let written = objects
                .load_balancers
                .iter()
                .find(|o| o.metadata.name.as_deref() == Some(&*load_balancer.name.name))
                .expect("planned from an object");
            // No route is lost: one that serves nothing answers 503.
            prop_assert!(load_balancer.routes.len() >= written.spec.routes.len());
            for route in &load_balancer.routes {
                let weight: u32 = route.backends.iter().map(|b| b.weight).sum();
                prop_assert!(route.backends.is_empty() || weight > 0);
                prop_assert!(route.backends.iter().all(|b| b.backend < snapshot.backends.len()));
            }
        }
        // Every port that somebody wants is served by somebody.
        let wanted: BTreeSet<u16> = objects
            .load_balancers
            .iter()
            .flat_map(|o| o.spec.listeners.iter().map(|l| l.port))
            .collect();
        prop_assert_eq!(ports, wanted);
        for backend in &snapshot.backends {
            prop_assert!(backend.endpoints.is_sorted_by(|a, b| a.id < b.id));
            prop_assert!(backend.draining.min <= backend.draining.timeout);
        }
    }
}
