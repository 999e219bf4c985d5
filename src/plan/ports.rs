//! Who gets a port that two LoadBalancers want: the older one, and of two equally old ones (files have
//! no age) the first by name. So a new object never takes a port from one that runs.

use std::collections::BTreeMap;

use super::allotment::Allotment;
use crate::api;
use crate::model::ObjectName;

/// Each port, and whose it is.
pub(super) type Taken = BTreeMap<u16, ObjectName>;

/// Which ports listeners bind.
pub(super) enum Ports<'a> {
    /// Their own, each port one LoadBalancer's.
    Own(Taken),
    /// Container ports that were allotted to them, behind Services.
    Allotted(&'a Allotment),
}

/// Gives each port that is wanted to one LoadBalancer.
pub(super) fn allot(load_balancers: &[(ObjectName, &api::LoadBalancer)]) -> Taken {
    let mut by_age: Vec<_> = load_balancers.iter().collect();
    // The sort is stable, so among equals the order by name stays. What has no age is youngest.
    by_age.sort_by_key(|(_, object)| {
        let created = object.metadata.creation_timestamp.as_ref();
        (created.is_none(), created.map(|time| time.0))
    });
    let mut taken = Taken::new();
    for (name, object) in by_age {
        for listener in &object.spec.listeners {
            taken.entry(listener.port).or_insert_with(|| name.clone());
        }
    }
    taken
}
