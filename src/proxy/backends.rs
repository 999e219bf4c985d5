//! What all workers of the process share of a Backend that has limits, a retry budget, keys or a slow start: its
//! queue's bells, what was counted, its table, and since when new endpoints serve (Law 9). Made for each
//! configuration by [`Backends::keep`], which lets go on what was there before; a Backend that has none of these has
//! nothing here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use super::balance::{Maglev, hash, slow_start};
use super::queue::Bells;
use super::retry_budget::Budget;
use super::stats::Counter;
use crate::model::totals::BackendTotals;
use crate::model::{
    Backend, EndpointId, ObjectName, Policy, RetryBudget, Route, Snapshot, WeightedBackend,
};

/// What one worker counts of one Backend.
#[derive(Debug, Default)]
pub struct WorkerCounts {
    /// Requests that waited in the queue.
    pub waited: Counter,
    /// How long they did, in microseconds.
    pub waited_micros: Counter,
    /// Requests that were answered 503, and connections that were reset, because every endpoint was full.
    pub refused: Counter,
    /// Requests that were not sent again because the budget was used up.
    pub retries_denied: Counter,
}

/// What all workers have counted of one Backend.
#[derive(Debug)]
pub struct Counts(Box<[CachePadded<WorkerCounts>]>);

impl Counts {
    /// Nothing yet.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| CachePadded::default()).collect())
    }

    /// Those of one worker.
    pub fn of(&self, worker: usize) -> &WorkerCounts {
        &self.0[worker]
    }

    fn sum(&self, which: impl Fn(&WorkerCounts) -> &Counter) -> u64 {
        self.0.iter().map(|worker| which(worker).get()).sum()
    }
}

/// What is shared of one Backend.
#[derive(Clone, Debug)]
pub struct Shared {
    pub(super) counts: Arc<Counts>,
    pub(super) bells: Arc<Bells>,
    /// One for each set of figures that a request to it may come with.
    pub(super) budgets: Vec<Arc<Budget>>,
    /// Whose a key is, with policy Hash.
    pub(super) table: Option<Arc<Maglev>>,
    /// Since when each endpoint serves that is new.
    pub(super) since: HashMap<EndpointId, Instant>,
}

/// What is shared of all Backends, as one configuration has them.
#[derive(Debug, Default)]
pub struct Backends {
    snapshot: Arc<Snapshot>,
    by_name: HashMap<ObjectName, Shared>,
}

impl Backends {
    /// What is shared of one Backend, where anything is.
    pub fn get(&self, name: &ObjectName) -> Option<&Shared> {
        self.by_name.get(name)
    }

    /// What is shared in the next configuration, from `now` on.
    #[must_use]
    pub fn keep(&self, snapshot: &Arc<Snapshot>, workers: usize, now: Instant) -> Self {
        let budgets = budgets(snapshot);
        let mut by_name = HashMap::new();
        for (at, backend) in snapshot.backends.iter().enumerate() {
            let budgets = budgets.get(&at).map_or(&[][..], Vec::as_slice);
            let is_hash = matches!(backend.policy, Policy::Hash(_));
            let plain = budgets.is_empty() && backend.limits.is_none() && !is_hash;
            if plain && backend.slow_start.is_none() {
                continue;
            }
            let shared = self.keep_one(backend, budgets, workers, now);
            by_name.insert(backend.name.clone(), shared);
        }
        Self {
            snapshot: Arc::clone(snapshot),
            by_name,
        }
    }

    fn keep_one(
        &self,
        backend: &Backend,
        budgets: &[RetryBudget],
        workers: usize,
        now: Instant,
    ) -> Shared {
        let known = self.by_name.get(&backend.name);
        let budget = |figures: &RetryBudget| {
            let mut before = known.into_iter().flat_map(|shared| &shared.budgets);
            let same = before.find(|one| one.figures() == figures);
            same.cloned()
                .unwrap_or_else(|| Arc::new(Budget::new(*figures, workers, now)))
        };
        let none = HashMap::new();
        Shared {
            counts: known.map_or_else(
                || Arc::new(Counts::new(workers)),
                |shared| Arc::clone(&shared.counts),
            ),
            bells: known.map_or_else(
                || Arc::new(Bells::new(workers)),
                |shared| Arc::clone(&shared.bells),
            ),
            budgets: budgets.iter().map(budget).collect(),
            table: table(backend, known.and_then(|shared| shared.table.as_ref())),
            since: slow_start::since(
                self.snapshot.backend(&backend.name),
                known.map_or(&none, |shared| &shared.since),
                backend,
                now,
            ),
        }
    }

    /// The numbers, for people, by name.
    pub fn totals(&self) -> Vec<BackendTotals> {
        let total = |(name, shared): (&ObjectName, &Shared)| BackendTotals {
            name: name.clone(),
            queued: shared.bells.waiting() as u64,
            waited: shared.counts.sum(|counts| &counts.waited),
            waited_for: Duration::from_micros(shared.counts.sum(|counts| &counts.waited_micros)),
            refused: shared.counts.sum(|counts| &counts.refused),
            retries_denied: shared.counts.sum(|counts| &counts.retries_denied),
        };
        let mut totals: Vec<_> = self.by_name.iter().map(total).collect();
        totals.sort_by(|a, b| a.name.cmp(&b.name));
        totals
    }
}

/// The table of the Backend's endpoints: that from before, where they are the same. An endpoint that takes no new
/// work for now keeps its places, and its keys come back to it.
fn table(backend: &Backend, known: Option<&Arc<Maglev>>) -> Option<Arc<Maglev>> {
    if !matches!(backend.policy, Policy::Hash(_)) {
        return None;
    }
    let members: Vec<(u64, u32)> = backend
        .endpoints
        .iter()
        .map(|spec| (hash(spec.id.member.to_string().as_bytes()), spec.weight))
        .collect();
    let same = known.filter(|table| table.is_of(&members));
    Some(
        same.cloned()
            .unwrap_or_else(|| Arc::new(Maglev::new(&members))),
    )
}

/// The figures that requests to each Backend, by its place, may come with.
fn budgets(snapshot: &Snapshot) -> HashMap<usize, Vec<RetryBudget>> {
    let mut all: HashMap<usize, Vec<RetryBudget>> = HashMap::new();
    let choices = |route: &Route| route.backends.clone();
    for load_balancer in &snapshot.load_balancers {
        let routes = load_balancer.routes.iter().flat_map(choices);
        let choices: Vec<WeightedBackend> = routes.chain(load_balancer.default_backend).collect();
        for choice in choices {
            if let Some(budget) = choice.retry.budget {
                let known = all.entry(choice.backend).or_default();
                if !known.contains(&budget) {
                    known.push(budget);
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BackendLimits, HashBy, Retry};
    use crate::proxy::samples;

    fn snapshot(change: impl FnOnce(&mut Snapshot)) -> Arc<Snapshot> {
        let (_, snapshot) = samples::serving(80, ([127, 0, 0, 1], 81).into());
        let mut snapshot = (*snapshot).clone();
        change(&mut snapshot);
        Arc::new(snapshot)
    }

    fn web() -> ObjectName {
        ObjectName::new("default", "web")
    }

    const LIMITS: BackendLimits = BackendLimits {
        max_in_flight: 1,
        queue: None,
    };
    const BUDGET: RetryBudget = RetryBudget {
        percent: 20,
        min_per_second: 1,
        interval: Duration::from_secs(10),
    };

    #[test]
    fn a_backend_that_asks_for_nothing_has_nothing() {
        let plain = Backends::default().keep(&snapshot(|_| {}), 2, Instant::now());
        assert!(plain.get(&web()).is_none());
        assert_eq!(plain.totals(), []);
    }

    #[test]
    fn what_was_there_goes_on() {
        let now = Instant::now();
        let full = snapshot(|snapshot| {
            let backend = &mut snapshot.backends[0];
            backend.limits = Some(LIMITS);
            backend.policy = Policy::Hash(HashBy::Source);
            if let Some(choice) = &mut snapshot.load_balancers[0].default_backend {
                choice.retry = Retry {
                    attempts: 1,
                    budget: Some(BUDGET),
                };
            }
        });
        let first = Backends::default().keep(&full, 2, now);
        let one = first.get(&web()).unwrap();
        one.counts.of(1).refused.add(3);
        let later = snapshot(|snapshot| {
            *snapshot = (*full).clone();
            snapshot.backends[0].slow_start = Some(Duration::from_secs(1));
        });
        let second = first.keep(&later, 2, now);
        let two = second.get(&web()).unwrap();
        assert_eq!(second.totals()[0].refused, 3);
        assert!(Arc::ptr_eq(&one.bells, &two.bells));
        assert!(Arc::ptr_eq(&one.budgets[0], &two.budgets[0]));
        let tables = [one, two].map(|shared| shared.table.clone().unwrap());
        assert!(Arc::ptr_eq(&tables[0], &tables[1]));
        // Another weight is another table, and other figures another budget.
        let other = snapshot(|snapshot| {
            *snapshot = (*later).clone();
            snapshot.backends[0].endpoints[0].weight = 2;
            if let Some(choice) = &mut snapshot.load_balancers[0].default_backend {
                choice.retry.budget = Some(RetryBudget {
                    percent: 1,
                    ..BUDGET
                });
            }
        });
        let third = second.keep(&other, 2, now);
        let three = third.get(&web()).unwrap();
        assert!(!Arc::ptr_eq(&tables[1], three.table.as_ref().unwrap()));
        assert_eq!(three.budgets.len(), 1);
        assert_eq!(three.budgets[0].figures().percent, 1);
    }
}
