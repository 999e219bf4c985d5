//! How many client connections a LoadBalancer has, over all workers, and whether it takes one more. Counted
//! once a connection, not once a request; asked by the workers as they accept, and by the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::totals::ListenerTotals;
use crate::model::{LoadBalancer, ObjectName};

/// The client connections of one LoadBalancer.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    /// One for as long as the LoadBalancer is configured, however often its listeners change: who was
    /// counted under the old ones is given up under them too.
    open: Arc<Open>,
    listeners: Vec<(Arc<str>, Arc<ListenerCounts>)>,
}

/// Open now, over all listeners.
#[derive(Debug, Default)]
struct Open {
    served: AtomicU64,
    /// Over the limit, and told so: they take a moment to leave.
    refused: AtomicU64,
}

/// Connections of one listener.
#[derive(Debug, Default)]
struct ListenerCounts {
    served: AtomicU64,
    /// Since it was configured, those that were turned away included.
    accepted: AtomicU64,
}

/// What is to be done with a connection.
#[derive(Debug)]
pub enum Admitted {
    /// There is a place for it.
    Served(Counted),
    /// It is one too many, and is told so.
    Refused(Counted),
    /// It is one too many, and so many are being told so that it is only closed: what is turned away
    /// takes descriptors and memory too.
    Dropped,
}

/// A connection as it is counted; it is counted down when this is dropped.
#[derive(Debug)]
pub struct Counted {
    open: Arc<Open>,
    /// `None` for one that was refused: it takes nobody's place.
    served_by: Option<Arc<ListenerCounts>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(listener) = &self.served_by {
            listener.served.fetch_sub(1, Relaxed);
            self.open.served.fetch_sub(1, Relaxed);
        } else {
            self.open.refused.fetch_sub(1, Relaxed);
        }
    }
}

/// How many refusals may be under way with a limit of `limit` connections.
fn most_refused(limit: u64) -> u64 {
    limit / 8 + 64
}

/// One more, where that is not more than `most`.
fn add_one(count: &AtomicU64, most: u64) -> bool {
    count
        .fetch_update(Relaxed, Relaxed, |now| (now < most).then_some(now + 1))
        .is_ok()
}

impl ConnectionCounts {
    /// Counts for `load_balancer`; those of the same LoadBalancer and listeners in `before` go on.
    pub fn new(load_balancer: &LoadBalancer, before: Option<&Self>) -> Self {
        let known = |name: &Arc<str>| {
            let found = before.and_then(|b| b.listener(name));
            found.map(Arc::clone).unwrap_or_default()
        };
        let names = load_balancer.listeners.iter().map(|l| &l.name);
        Self {
            open: before.map(|b| Arc::clone(&b.open)).unwrap_or_default(),
            listeners: names.map(|name| (Arc::clone(name), known(name))).collect(),
        }
    }

    fn listener(&self, name: &str) -> Option<&Arc<ListenerCounts>> {
        let found = self.listeners.iter().find(|(known, _)| **known == *name);
        found.map(|(_, counts)| counts)
    }

    /// Whether these are counts of just its listeners.
    pub fn is_for(&self, load_balancer: &LoadBalancer) -> bool {
        let ours = self.listeners.iter().map(|(name, _)| name);
        ours.eq(load_balancer.listeners.iter().map(|l| &l.name))
    }

    /// Counts one that was accepted on the listener, where the LoadBalancer may have `limit` at once.
    pub fn admit(&self, listener: &str, limit: u64) -> Admitted {
        // Known wherever the counts are those of the configuration that accepts.
        let listener = self.listener(listener).map(Arc::clone).unwrap_or_default();
        listener.accepted.fetch_add(1, Relaxed);
        let open = Arc::clone(&self.open);
        if add_one(&open.served, limit) {
            listener.served.fetch_add(1, Relaxed);
            return Admitted::Served(Counted {
                open,
                served_by: Some(listener),
            });
        }
        if add_one(&open.refused, most_refused(limit)) {
            return Admitted::Refused(Counted {
                open,
                served_by: None,
            });
        }
        Admitted::Dropped
    }

    /// The numbers, for people.
    pub fn totals<'a>(
        &'a self,
        load_balancer: &'a ObjectName,
    ) -> impl Iterator<Item = ListenerTotals> + 'a {
        self.listeners
            .iter()
            .map(move |(name, counts)| ListenerTotals {
                load_balancer: load_balancer.to_string(),
                listener: name.to_string(),
                connections_open: counts.served.load(Relaxed),
                connections_total: counts.accepted.load(Relaxed),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::samples;

    fn counts(listeners: &[&str], before: Option<&ConnectionCounts>) -> ConnectionCounts {
        let listeners: Vec<_> = listeners.iter().map(|name| (*name, 80)).collect();
        ConnectionCounts::new(&samples::load_balancer(&listeners), before)
    }

    fn served(counts: &ConnectionCounts, listener: &str, limit: u64) -> Option<Counted> {
        match counts.admit(listener, limit) {
            Admitted::Served(counted) => Some(counted),
            Admitted::Refused(_) | Admitted::Dropped => None,
        }
    }

    fn numbers(counts: &ConnectionCounts) -> Vec<(u64, u64)> {
        let name = ObjectName::new("default", "lb");
        let totals = counts.totals(&name);
        totals
            .map(|one| (one.connections_open, one.connections_total))
            .collect()
    }

    #[test]
    fn a_connection_from_before_a_change_of_listeners_counts_on_and_is_given_up_after_it() {
        let before = counts(&["a"], None);
        let old = served(&before, "a", 1).unwrap();
        let after = counts(&["a", "b"], Some(&before));
        assert!(served(&after, "b", 1).is_none());
        assert_eq!(numbers(&after), [(1, 1), (0, 1)]);
        drop(old);
        assert_eq!(numbers(&after), [(0, 1), (0, 1)]);
        assert!(served(&after, "b", 1).is_some());
    }

    #[test]
    fn so_many_are_served_and_who_leaves_makes_place_for_one() {
        let counts = counts(&["a", "b"], None);
        let first = served(&counts, "a", 2).unwrap();
        let second = served(&counts, "b", 2).unwrap();
        for listener in ["a", "b"] {
            assert!(served(&counts, listener, 2).is_none());
        }
        assert_eq!(numbers(&counts), [(1, 2), (1, 2)]);
        drop(first);
        let third = served(&counts, "b", 2).unwrap();
        assert!(served(&counts, "a", 2).is_none());
        drop((second, third));
        assert_eq!(numbers(&counts), [(0, 3), (0, 3)]);
    }

    #[test]
    fn who_is_turned_away_takes_no_place_and_only_so_many_are_told() {
        let counts = counts(&["a"], None);
        let one = served(&counts, "a", 1).unwrap();
        let mut refused: Vec<_> = (0..most_refused(1)).map(|_| counts.admit("a", 1)).collect();
        assert!(
            refused
                .iter()
                .all(|one| matches!(one, Admitted::Refused(_)))
        );
        assert!(matches!(counts.admit("a", 1), Admitted::Dropped));
        assert_eq!(numbers(&counts)[0].0, 1);
        refused.pop();
        assert!(matches!(counts.admit("a", 1), Admitted::Refused(_)));
        drop(one);
        assert!(served(&counts, "a", 1).is_some());
    }
}
