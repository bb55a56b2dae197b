//! The way to the writers, whichever of them live: their queue and its slots.
//!
//! A batch is sent only against a free slot, of which there are as many as writers, so the queue never holds more batches
//! than that, and a batch that waits can still grow. The number of slots follows the number of writers while running: a
//! slot that is taken away while it is in use goes when its batch has come back. Nothing here waits for that, and no batch
//! is dropped for it. Cannot fail.

use super::spares::SpareBatches;
use crate::config::MOST_WRITERS;
use crate::domain::batch::Batch;
use crate::domain::storm::{BatchGuard, Storm};
use crate::store::{Receipt, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Places in the queue: a slot each for the most writers that a process may have. Slots keep it emptier than that.
const QUEUE_BATCHES: usize = MOST_WRITERS;

/// A batch on its way to a writer.
pub struct WriteBatch {
    pub(super) batch: Batch,
    pub(super) guard: BatchGuard,
    pub(super) reply: oneshot::Sender<WriteReply>,
    pub(super) _slot: WriterSlot,
}

/// What became of a batch; the batch comes back so that its buffers are used again.
pub struct WriteReply {
    /// The batch, with rows that the database refused moved to its dead letters.
    pub batch: Batch,
    /// What became of it.
    pub result: Result<Receipt, StoreError>,
    /// Slot of the partition whose stored row differs, where that is what happened and the store told it.
    pub differs: Option<u16>,
    /// The slot of a partition of which the database refuses too many rows, and what was counted: then nothing was stored.
    pub storm: Option<(u16, Storm)>,
}

/// The right to send one batch.
pub struct WriterSlot {
    /// Taken out only by drop.
    permit: Option<OwnedSemaphorePermit>,
    owed: Arc<AtomicUsize>,
}

impl Drop for WriterSlot {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        if self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, |owed| owed.checked_sub(1)).is_ok() {
            permit.forget();
        }
    }
}

/// See the module. Clones share it.
#[derive(Clone)]
pub struct WriterPool {
    queue: async_channel::Sender<WriteBatch>,
    jobs: async_channel::Receiver<WriteBatch>,
    slots: Arc<Semaphore>,
    writers: Arc<AtomicUsize>,
    /// Slots that were taken away while they were in use: the next to come back are not given out again.
    owed: Arc<AtomicUsize>,
    spares: SpareBatches,
}

impl WriterPool {
    /// The queue of `writers` writers.
    #[must_use]
    pub fn new(writers: usize) -> Self {
        let (queue, jobs) = async_channel::bounded(QUEUE_BATCHES);
        Self {
            queue,
            jobs,
            slots: Arc::new(Semaphore::new(writers)),
            writers: Arc::new(AtomicUsize::new(writers)),
            owed: Arc::default(),
            spares: SpareBatches::default(),
        }
    }

    /// Makes as many slots as there are writers now. To be called by one task at a time.
    pub fn resize(&self, writers: usize) {
        let before = self.writers.swap(writers, Ordering::AcqRel);
        if writers >= before {
            // Those that are owed stay instead of being made anew.
            let mut more = writers - before;
            let kept =
                self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, |owed| Some(owed.saturating_sub(more)));
            more -= kept.unwrap_or_default().min(more);
            self.slots.add_permits(more);
        } else {
            let less = before - writers;
            let free = self.slots.forget_permits(less);
            self.owed.fetch_add(less - free, Ordering::AcqRel);
        }
    }

    /// Waits for a writer that is free. Cancel safe.
    pub async fn slot(&self) -> WriterSlot {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        let permit = Some(permit.expect("the semaphore is never closed"));
        WriterSlot { permit, owed: Arc::clone(&self.owed) }
    }

    /// Sends a batch. The receiver fails when the writer died with the batch in its hand: its outcome is then unknown.
    pub fn send(&self, batch: Batch, guard: BatchGuard, slot: WriterSlot) -> oneshot::Receiver<WriteReply> {
        let (reply, answer) = oneshot::channel();
        if self.queue.try_send(WriteBatch { batch, guard, reply, _slot: slot }).is_err() {
            // Never more slots than places: only a closed queue refuses, and it lives as long as the pool.
            tracing::error!("the queue of the writers refused a batch against a free slot");
        }
        answer
    }

    /// Where batches go that came back and are empty again.
    #[must_use]
    pub fn spares(&self) -> SpareBatches {
        self.spares.clone()
    }

    /// The next batch to write. Cancel safe.
    pub(super) async fn next(&self) -> WriteBatch {
        self.jobs.recv().await.expect("the pool holds the sending end too")
    }

    /// Batches that are being written or wait for a writer, and how many may.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        let writers = self.writers.load(Ordering::Acquire);
        let slots = writers + self.owed.load(Ordering::Acquire);
        (slots.saturating_sub(self.slots.available_permits()), writers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use proptest::prelude::*;

    /// Takes every slot that is free.
    fn drain(pool: &WriterPool) -> Vec<WriterSlot> {
        std::iter::from_fn(|| pool.slot().now_or_never()).collect()
    }

    #[test]
    fn a_slot_that_is_in_use_goes_when_it_comes_back() {
        let pool = WriterPool::new(3);
        let mut slots = drain(&pool);
        pool.resize(1);
        assert_eq!(pool.depth(), (3, 1), "what is being written is not forgotten");
        slots.pop();
        slots.pop();
        assert!(pool.slot().now_or_never().is_none());
        assert_eq!(pool.depth(), (1, 1));
        slots.pop();
        assert_eq!(drain(&pool).len(), 1);
    }

    proptest! {
        /// Whatever is taken, given back and resized: at rest there are as many slots as writers.
        #[test]
        fn there_are_as_many_slots_as_writers(steps in prop::collection::vec((0..3_u8, 1..=8_usize), 0..60)) {
            let pool = WriterPool::new(3);
            let mut held = Vec::new();
            let mut writers = 3;
            for (step, number) in steps {
                match step {
                    0 => {
                        pool.resize(number);
                        writers = number;
                    }
                    1 => held.extend(pool.slot().now_or_never()),
                    _ => drop(held.pop()),
                }
                prop_assert_eq!(pool.depth(), (held.len(), writers));
            }
            drop(held);
            prop_assert_eq!(drain(&pool).len(), writers);
        }
    }
}
