//! Readiness as a set of named guards: whoever must be there before requests can be served holds one,
//! and lastcall is ready while none is held.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The set. Cheap to clone; all clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// Names that are missing, and how many guards of that name there are.
    missing: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Readiness {
    /// An empty set: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Not ready until the guard says so. `name` says what is missing (`configuration`, `listeners`) or
    /// why (`shutting down`).
    #[must_use = "lastcall stays unready until the guard says that it is ready"]
    pub fn hold(&self, name: &'static str) -> Guard {
        *self.lock().entry(name).or_default() += 1;
        Guard {
            readiness: self.clone(),
            name,
        }
    }

    /// What is missing, sorted; empty where all is ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        // Each change is one call on the map: a panic elsewhere leaves nothing half done.
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing that is missing. Dropping it without [`Guard::ready`] leaves it missing: a part that died
/// on its way is not ready.
#[derive(Debug)]
pub struct Guard {
    readiness: Readiness,
    name: &'static str,
}

impl Guard {
    /// It is there now.
    pub fn ready(self) {
        let mut missing = self.readiness.lock();
        if let Some(count) = missing.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                missing.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_guard_has_said_so() {
        let readiness = Readiness::new();
        let (a, b) = (readiness.hold("listeners"), readiness.hold("configuration"));
        let second = readiness.hold("listeners");
        assert_eq!(readiness.missing(), ["configuration", "listeners"]);
        a.ready();
        b.ready();
        assert_eq!(readiness.missing(), ["listeners"]);
        second.ready();
        assert!(readiness.missing().is_empty());
    }

    #[test]
    fn a_part_that_died_is_not_ready() {
        let readiness = Readiness::new();
        drop(readiness.hold("workers"));
        assert_eq!(readiness.missing(), ["workers"]);
    }
}
