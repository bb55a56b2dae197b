//! Batches that were stored, kept for the room that they have: whichever lane begins the next one fills it again.
//!
//! Bounded by [`MOST`]; one more is dropped, and its memory goes back to the system. Cannot fail.

use crate::domain::batch::Batch;
use std::sync::{Arc, Mutex, PoisonError};

/// Most batches that wait: about as many as come back from the writers of a small pool while others are being filled. More
/// would be memory that is only full after an outage.
const MOST: usize = 3;

/// See the module. Clones share it.
#[derive(Clone, Default)]
pub struct SpareBatches(Arc<Mutex<Vec<Batch>>>);

impl SpareBatches {
    /// An empty batch of a consumer.
    #[must_use]
    pub fn take(&self, consumer_id: &str) -> Batch {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.map_or_else(|| Batch::new(consumer_id), |batch| batch.of_consumer(consumer_id))
    }

    /// Empties a batch and keeps it, with buffers of at most `keep_bytes`.
    pub fn put(&self, mut batch: Batch, keep_bytes: usize) {
        batch.clear(keep_bytes);
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < MOST {
            spares.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::OwnedRecord;

    #[test]
    fn a_batch_that_was_stored_is_filled_again_by_whoever_begins_the_next_and_few_are_kept() {
        let spares = SpareBatches::default();
        let mut batch = Batch::new("consumer-1");
        let slot = batch.slot("t", 0, 1, 0);
        batch.push_row(slot, &OwnedRecord::default(), "view", |out| out.extend_from_slice(&[7; 1000]));
        let room = batch.rows().as_ptr();
        spares.put(batch, 1 << 20);
        let mut again = spares.take("consumer-2");
        assert_eq!((again.consumer_id(), again.len(), again.is_empty()), ("consumer-2", 0, true));
        let slot = again.slot("t", 0, 1, 0);
        again.push_row(slot, &OwnedRecord::default(), "view", |out| out.push(7));
        assert_eq!(again.rows().as_ptr(), room, "the same room");
        for _ in 0..=MOST {
            spares.put(Batch::new("consumer-1"), 0);
        }
        assert_eq!(spares.0.lock().map(|spares| spares.len()).ok(), Some(MOST));
    }
}
