//! What is known of one kind within one scope. A listing replaces all of it at once, so a watch that was
//! lost and begins anew never shows a half, and what went away meanwhile is told as gone. Called by `view`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::ObjectName;

/// One step of a watch. An object that cannot be read comes as the reason.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change<T> {
    /// A listing begins.
    Began,
    /// One of its objects.
    Listed(ObjectName, Result<T, String>),
    /// It is complete: what was not in it is gone.
    Complete,
    /// An object is new or has changed.
    Put(ObjectName, Result<T, String>),
    /// An object is gone.
    Gone(ObjectName),
}

/// An object before and after; at least one of them is there, and they differ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference<T> {
    pub before: Option<Arc<T>>,
    pub after: Option<Arc<T>>,
}

/// What came of one step.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome<T> {
    pub differences: Vec<Difference<T>>,
    /// Whether it became known, or no longer so, that an object cannot be read.
    pub faults_changed: bool,
}

/// All objects of one kind and scope.
#[derive(Debug)]
pub(super) struct Kept<T> {
    now: BTreeMap<ObjectName, Entry<T>>,
    /// A listing that is not complete.
    arriving: BTreeMap<ObjectName, Result<T, String>>,
    listed: bool,
}

/// An object that cannot be read keeps its last good content (Law 4).
#[derive(Debug)]
struct Entry<T> {
    good: Option<Arc<T>>,
    fault: Option<String>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            now: BTreeMap::new(),
            arriving: BTreeMap::new(),
            listed: false,
        }
    }
}

impl<T: PartialEq> Kept<T> {
    /// Whether a listing was ever complete.
    pub fn listed(&self) -> bool {
        self.listed
    }

    /// All of it, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Arc<T>)> {
        let all = self.now.iter();
        all.filter_map(|(name, entry)| Some((name, entry.good.as_ref()?)))
    }

    /// The objects that cannot be read, and why.
    pub fn faults(&self) -> impl Iterator<Item = (&ObjectName, &str)> {
        let all = self.now.iter();
        all.filter_map(|(name, entry)| Some((name, entry.fault.as_deref()?)))
    }

    /// Takes one step of the watch in.
    pub fn take(&mut self, change: Change<T>) -> Outcome<T> {
        let mut outcome = Outcome {
            differences: Vec::new(),
            faults_changed: false,
        };
        match change {
            Change::Began => self.arriving.clear(),
            Change::Listed(name, object) => drop(self.arriving.insert(name, object)),
            Change::Put(name, object) => self.put(name, object, &mut outcome),
            Change::Gone(name) => self.remove(&name, &mut outcome),
            Change::Complete => {
                let arrived = std::mem::take(&mut self.arriving);
                let gone: Vec<ObjectName> = self
                    .now
                    .keys()
                    .filter(|name| !arrived.contains_key(name))
                    .cloned()
                    .collect();
                for name in gone {
                    self.remove(&name, &mut outcome);
                }
                for (name, object) in arrived {
                    self.put(name, object, &mut outcome);
                }
                self.listed = true;
            }
        }
        outcome
    }

    fn put(&mut self, name: ObjectName, object: Result<T, String>, outcome: &mut Outcome<T>) {
        let entry = self.now.entry(name).or_insert(Entry {
            good: None,
            fault: None,
        });
        let fault = match object {
            Ok(new) => {
                if entry.good.as_deref() != Some(&new) {
                    let after = Some(Arc::new(new));
                    let before = std::mem::replace(&mut entry.good, after.clone());
                    outcome.differences.push(Difference { before, after });
                }
                None
            }
            Err(fault) => Some(fault),
        };
        if entry.fault != fault {
            entry.fault = fault;
            outcome.faults_changed = true;
        }
    }

    fn remove(&mut self, name: &ObjectName, outcome: &mut Outcome<T>) {
        let Some(entry) = self.now.remove(name) else {
            return;
        };
        outcome.faults_changed |= entry.fault.is_some();
        if entry.good.is_some() {
            outcome.differences.push(Difference {
                before: entry.good,
                after: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ObjectName {
        ObjectName::new("default", name)
    }

    fn put(of: &str, value: u8) -> Change<u8> {
        Change::Put(name(of), Ok(value))
    }

    fn listed(of: &str, value: u8) -> Change<u8> {
        Change::Listed(name(of), Ok(value))
    }

    /// What each step changed, as `name: before > after`.
    fn run(kept: &mut Kept<u8>, steps: Vec<Change<u8>>) -> Vec<(Option<u8>, Option<u8>)> {
        steps
            .into_iter()
            .flat_map(|step| kept.take(step).differences)
            .map(|d| (d.before.as_deref().copied(), d.after.as_deref().copied()))
            .collect()
    }

    fn values(kept: &Kept<u8>) -> Vec<u8> {
        kept.iter().map(|(_, value)| **value).collect()
    }

    #[test]
    fn nothing_of_a_listing_counts_before_it_is_complete() {
        let mut kept = Kept::default();
        let begun = run(&mut kept, vec![Change::Began, listed("a", 1)]);
        assert!(begun.is_empty() && !kept.listed() && values(&kept).is_empty());
        // The watch broke in between: what came before is void.
        let steps = vec![Change::Began, listed("b", 2), Change::Complete];
        assert_eq!(run(&mut kept, steps), [(None, Some(2))]);
        assert!(kept.listed());
        assert_eq!(values(&kept), [2]);
    }

    /// Law 3.
    #[test]
    fn a_new_listing_keeps_what_is_known_until_it_is_complete_and_tells_what_went() {
        let mut kept = Kept::default();
        run(&mut kept, vec![Change::Began, Change::Complete]);
        run(&mut kept, vec![put("a", 1), put("b", 2), put("c", 3)]);
        let half = vec![Change::Began, listed("a", 1), listed("c", 4)];
        assert!(run(&mut kept, half).is_empty());
        assert_eq!(values(&kept), [1, 2, 3]);
        let done = run(&mut kept, vec![Change::Complete]);
        assert_eq!(done, [(Some(2), None), (Some(3), Some(4))]);
        assert_eq!(values(&kept), [1, 4]);
    }

    #[test]
    fn what_says_the_same_again_is_no_difference() {
        let mut kept = Kept::default();
        let steps = vec![put("a", 1), put("a", 1), Change::Gone(name("b"))];
        assert_eq!(run(&mut kept, steps), [(None, Some(1))]);
        let again = vec![Change::Began, listed("a", 1), Change::Complete];
        assert!(run(&mut kept, again).is_empty());
        let gone = run(&mut kept, vec![Change::Gone(name("a"))]);
        assert_eq!(gone, [(Some(1), None)]);
    }

    /// Law 4.
    #[test]
    fn an_object_that_cannot_be_read_keeps_its_last_good_content() {
        let mut kept = Kept::default();
        let broken = |of: &str| Change::Put(name(of), Err("no".to_owned()));
        kept.take(put("a", 1));
        for (step, faults, changed) in [
            (broken("a"), 1, true),
            (broken("a"), 1, false),
            (broken("b"), 2, true),
            (Change::Gone(name("b")), 1, true),
            (Change::Began, 1, false),
            (Change::Listed(name("a"), Err("no".to_owned())), 1, false),
            (Change::Complete, 1, false),
            (put("a", 1), 0, true),
        ] {
            let outcome = kept.take(step.clone());
            assert_eq!(outcome.faults_changed, changed, "{step:?}");
            assert!(outcome.differences.is_empty(), "{step:?}");
            assert_eq!(kept.faults().count(), faults, "{step:?}");
            assert_eq!(values(&kept), [1], "{step:?}");
        }
        kept.take(broken("a"));
        let gone = kept.take(Change::Gone(name("a")));
        assert!(gone.faults_changed && gone.differences.len() == 1);
    }
}
