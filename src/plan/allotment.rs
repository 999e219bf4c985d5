//! Which container port each listener of a LoadBalancer binds in a cluster, where two LoadBalancers may
//! both listen on 80, each at its own address. The Services' targetPorts are the one record of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::{Objects, name_of};
use crate::model::ObjectName;

/// A listener: its LoadBalancer and its own port.
pub type ListenerPort = (ObjectName, u16);

/// The container port of each listener that has one.
pub type Allotment = BTreeMap<ListenerPort, u16>;

/// Gives each listener a container port out of `range`: what is `recorded` stays; the others, in the order
/// of their names, get the lowest that are free. Those for whom none is left have none.
pub fn allot(objects: &Objects, recorded: &Allotment, range: &RangeInclusive<u16>) -> Allotment {
    let wanted: BTreeSet<ListenerPort> = objects
        .load_balancers
        .iter()
        .flat_map(|object| {
            let meta = &object.metadata;
            let name = name_of(meta.namespace.as_ref(), meta.name.as_ref());
            let listeners = object.spec.listeners.iter();
            listeners.map(move |listener| (name.clone(), listener.port))
        })
        .collect();
    let mut allotted = Allotment::new();
    let mut taken = BTreeSet::new();
    for listener in &wanted {
        if let Some(port) = recorded.get(listener)
            && range.contains(port)
            && taken.insert(*port)
        {
            allotted.insert(listener.clone(), *port);
        }
    }
    let mut free = range.clone().filter(|port| !taken.contains(port));
    for listener in wanted {
        if !allotted.contains_key(&listener)
            && let Some(port) = free.next()
        {
            allotted.insert(listener, port);
        }
    }
    allotted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::LoadBalancer;

    fn objects(names: &[(&str, &[u16])]) -> Objects {
        let load_balancer = |(name, ports): &(&str, &[u16])| -> LoadBalancer {
            let listeners: Vec<_> = ports
                .iter()
                .map(|port| serde_json::json!({"name": format!("p{port}"), "port": port, "protocol": "HTTP"}))
                .collect();
            serde_json::from_value(serde_json::json!({
                "apiVersion": "lastcall.dev/v1alpha1",
                "kind": "LoadBalancer",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"listeners": listeners},
            }))
            .unwrap()
        };
        Objects {
            load_balancers: names.iter().map(load_balancer).collect(),
            backends: Vec::new(),
        }
    }

    fn key(name: &str, port: u16) -> ListenerPort {
        (ObjectName::new("shop", name), port)
    }

    #[test]
    fn two_load_balancers_listen_on_one_port_each_at_a_port_of_its_own() {
        let allotted = allot(
            &objects(&[("b", &[80]), ("a", &[80, 443])]),
            &Allotment::new(),
            &(20_000..=20_009),
        );
        let expected = [
            (key("a", 80), 20_000),
            (key("a", 443), 20_001),
            (key("b", 80), 20_002),
        ];
        assert_eq!(allotted, expected.into_iter().collect());
    }

    #[test]
    fn what_is_recorded_stays_and_what_is_gone_is_free_again() {
        let recorded: Allotment = [
            (key("gone", 80), 20_000),
            (key("b", 80), 20_001),
            // Out of the range, and one that somebody else has: recorded by hand, or before a change.
            (key("c", 80), 30_000),
            (key("d", 80), 20_001),
        ]
        .into_iter()
        .collect();
        let wanted = objects(&[("a", &[80]), ("b", &[80]), ("c", &[80]), ("d", &[80])]);
        let allotted = allot(&wanted, &recorded, &(20_000..=20_003));
        let expected = [
            (key("a", 80), 20_000),
            (key("b", 80), 20_001),
            (key("c", 80), 20_002),
            (key("d", 80), 20_003),
        ];
        assert_eq!(allotted, expected.into_iter().collect());
    }

    #[test]
    fn where_none_is_left_a_listener_has_none() {
        let allotted = allot(
            &objects(&[("a", &[80]), ("b", &[80])]),
            &Allotment::new(),
            &(20_000..=20_000),
        );
        assert_eq!(allotted, [(key("a", 80), 20_000)].into_iter().collect());
    }
}
