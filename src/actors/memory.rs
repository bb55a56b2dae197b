//! The byte budget of the process (`limits.memory`): what batches may hold together.
//!
//! Lock-free and never blocks: who gets no bytes stops taking records until a batch was stored. A caller that holds nothing
//! is always given bytes, so that one record larger than what is left cannot stop its partition for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: usize,
    reserved: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, reserved: AtomicUsize::new(0) }
    }

    /// Reserves `bytes` if they fit.
    pub fn try_reserve(&self, bytes: usize) -> bool {
        self.reserved
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                now.checked_add(bytes).filter(|&after| after <= self.limit)
            })
            .is_ok()
    }

    /// Reserves `bytes` whether they fit or not.
    pub fn reserve_anyway(&self, bytes: usize) {
        self.reserved.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Largest record that has a place: while it is stored there are two copies of it, and others go on beside it.
    #[must_use]
    pub fn most_for_one(&self) -> usize {
        self.limit / 4
    }

    /// Whether the largest possible record has a place now.
    #[must_use]
    pub fn has_room_for_one(&self) -> bool {
        self.reserved() + self.most_for_one() <= self.limit
    }

    /// Gives reserved bytes back.
    pub fn release(&self, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Bytes that are reserved now.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Acquire)
    }

    /// Bytes that may be reserved.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Reservation {
    /// Reserves `bytes` whether they fit or not.
    #[must_use]
    pub fn anyway(budget: &Arc<MemoryBudget>, bytes: usize) -> Self {
        budget.reserve_anyway(bytes);
        Self { budget: Arc::clone(budget), bytes }
    }

    /// How many.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_and_what_is_given_back_can_be_had_again() {
        let budget = MemoryBudget::new(100);
        assert!(budget.try_reserve(60));
        assert!(!budget.try_reserve(41));
        assert!(budget.try_reserve(40));
        budget.reserve_anyway(500);
        assert_eq!(budget.reserved(), 600);
        budget.release(540);
        assert!(budget.try_reserve(40));
    }
}
