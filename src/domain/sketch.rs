//! The most frequent names in a stream, in bounded memory: Space-Saving (Metwally, Agrawal and El Abbadi, 2005).
//!
//! Pure. A sketch of `capacity` names counts exactly as long as there are no more of them. Then a new name takes the place of
//! the rarest and inherits its count as its error: a count is never too low, too high by at most its error, and no error is
//! above the number of observations divided by the capacity. So every name that makes up more than that share is in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Names that are kept of each kind: those with a share above a half per mille are found for certain.
const CAPACITY: usize = 2_000;
/// Longest name that is kept, in bytes: a longer one is cut, so that hostile names cost no memory.
pub const NAME_BYTES: usize = 256;

/// A frequent name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frequent {
    /// The name.
    pub name: String,
    /// How often it was observed, at most: never less than the truth.
    pub count: u64,
    /// By how much the count may be too high.
    pub error: u64,
}

struct Counter {
    count: u64,
    error: u64,
    /// Which place its name has in the order.
    slot: usize,
}

/// See the module.
pub struct SpaceSaving {
    capacity: usize,
    observed: u64,
    by_name: HashMap<Box<str>, Counter>,
    /// Names by slot, so that the order need not hold them.
    names: Vec<Box<str>>,
    /// (count, slot), the rarest first.
    order: BTreeSet<(u64, usize)>,
}

impl SpaceSaving {
    /// An empty sketch of so many names, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            observed: 0,
            by_name: HashMap::new(),
            names: Vec::new(),
            order: BTreeSet::new(),
        }
    }

    /// Counts a name `times` times.
    pub fn observe(&mut self, name: &str, times: u64) {
        if times == 0 {
            return;
        }
        let name = cut(name);
        self.observed += times;
        if let Some(counter) = self.by_name.get_mut(name) {
            self.order.remove(&(counter.count, counter.slot));
            counter.count += times;
            self.order.insert((counter.count, counter.slot));
            return;
        }
        let (slot, error) = if self.names.len() < self.capacity {
            self.names.push(name.into());
            (self.names.len() - 1, 0)
        } else {
            let (rarest, slot) = self.order.pop_first().expect("a full sketch has a rarest name");
            let gone = std::mem::replace(&mut self.names[slot], name.into());
            self.by_name.remove(&gone);
            (slot, rarest)
        };
        self.order.insert((error + times, slot));
        self.by_name.insert(name.into(), Counter { count: error + times, error, slot });
    }

    /// How many observations it has seen.
    #[must_use]
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// The most frequent names, most frequent first.
    #[must_use]
    pub fn top(&self, names: usize) -> Vec<Frequent> {
        let frequent = |&(count, slot): &(u64, usize)| {
            let name = &self.names[slot];
            Frequent { name: name.to_string(), count, error: self.by_name[name].error }
        };
        self.order.iter().rev().take(names).map(frequent).collect()
    }
}

/// The beginning of a name, whole characters of it.
fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES)]
}

/// What is frequent among the events of a process: elements and users.
pub struct Popular {
    since_ms: i64,
    kinds: Mutex<Kinds>,
}

struct Kinds {
    elements: SpaceSaving,
    users: SpaceSaving,
}

/// What a process has seen most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MostFrequent {
    /// Elements, most frequent first.
    pub elements: Vec<Frequent>,
    /// Users, most frequent first.
    pub users: Vec<Frequent>,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: i64,
}

impl Popular {
    /// Nothing was seen since `since_ms` (milliseconds since the epoch).
    #[must_use]
    pub fn new(since_ms: i64) -> Self {
        let kinds = Kinds { elements: SpaceSaving::new(CAPACITY), users: SpaceSaving::new(CAPACITY) };
        Self { since_ms, kinds: Mutex::new(kinds) }
    }

    /// Counts stored events, by element and user, each so many times. Takes the lock once for all of them, and counts none while another has it.
    pub fn observe<'a>(&self, events: impl IntoIterator<Item = (Option<&'a str>, Option<&'a str>)>, times: u64) {
        // Consumers call this: none waits for another, or for somebody who looks. What is passed over is as likely to be any other.
        let mut kinds = match self.kinds.try_lock() {
            Ok(kinds) => kinds,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for (element_id, user_id) in events {
            if let Some(element_id) = element_id {
                kinds.elements.observe(element_id, times);
            }
            if let Some(user_id) = user_id {
                kinds.users.observe(user_id, times);
            }
        }
    }

    /// The most frequent of each kind.
    #[must_use]
    pub fn most_frequent(&self, names: usize) -> MostFrequent {
        let kinds = self.kinds();
        let (elements, users) = (kinds.elements.top(names), kinds.users.top(names));
        MostFrequent { elements, users, since_ms: self.since_ms }
    }

    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_never_too_low_and_too_high_by_no_more_than_their_error(
            names in prop::collection::vec((0_u32..60, 1_u64..4), 0..600),
            capacity in 1_usize..40,
        ) {
            let mut sketch = SpaceSaving::new(capacity);
            let mut truth: HashMap<String, u64> = HashMap::new();
            for (name, times) in names {
                // Small numbers are frequent.
                let name = (name * name / 60).to_string();
                sketch.observe(&name, times);
                *truth.entry(name).or_default() += times;
            }
            let total: u64 = truth.values().sum();
            prop_assert_eq!(sketch.observed(), total);
            let top = sketch.top(usize::MAX);
            prop_assert!(top.len() <= capacity);
            prop_assert_eq!(top.iter().map(|one| one.count).sum::<u64>(), total, "it forgets no observation");
            prop_assert!(top.windows(2).all(|pair| pair[0].count >= pair[1].count));
            for one in &top {
                let real = truth[&one.name];
                prop_assert!(one.count >= real && one.count - one.error <= real, "{:?} but {}", one, real);
                prop_assert!(one.error <= total / capacity as u64);
            }
            for (name, &count) in &truth {
                let kept = top.iter().any(|one| one.name == *name);
                prop_assert!(kept || count <= total / capacity as u64, "{} was seen {} times and is not kept", name, count);
            }
            if truth.len() <= capacity {
                prop_assert!(top.iter().all(|one| one.error == 0 && truth[&one.name] == one.count));
            }
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let mut sketch = SpaceSaving::new(2);
        sketch.observe(&"ä".repeat(1_000_000), 1);
        sketch.observe(&format!("a{}", "ä".repeat(200)), 1);
        let top = sketch.top(2);
        assert_eq!(top.iter().map(|one| one.name.len()).collect::<Vec<_>>(), [255, 256]);
    }

    #[test]
    fn a_process_counts_elements_and_users_each_for_itself() {
        let popular = Popular::new(7);
        popular.observe([(Some("button"), Some("ann")), (Some("button"), None), (None, Some("bob"))], 1);
        let most = popular.most_frequent(1);
        assert_eq!((most.elements[0].name.as_str(), most.elements[0].count), ("button", 2));
        assert_eq!((most.users.len(), most.users[0].count, most.since_ms), (1, 1, 7));
    }
}
