//! A store that fails on demand, for drills: it wraps another one, and is there only where drills are allowed.
//!
//! [`StoreFaults`] is the handle of whoever runs the drill. Bound: one fault waits for a batch at a time. Without a fault
//! every call goes straight through; a fault is what an outage, a slow disk or a dying writer looks like from outside.

mod events;
mod questions;
mod writer;

use super::{Store, StoreError};
use crate::domain::batch::Batch;
use crate::domain::failure::FailureClass;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// What happens to the next batch that a writer takes into its hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchFault {
    /// The writer waits with the batch before it writes, until it is let go or ended.
    HoldBefore,
    /// The writer commits the batch and never says so, until it is let go or ended.
    HoldAfter,
    /// The writer panics before it writes.
    PanicBefore,
    /// The writer commits the batch and panics.
    PanicAfter,
    /// The batch is copied for whoever wakes the writer later; the writer itself waits, and then gives the batch up.
    Freeze,
}

/// A batch that met a fault.
pub struct CaughtBatch {
    /// The writer that holds it.
    pub writer: String,
    /// The consumer that waits for it.
    pub consumer_id: String,
    /// The batch as the writer got it.
    pub batch: Batch,
    /// Lets the writer go on; dropping it does so too.
    pub release: oneshot::Sender<()>,
}

struct Armed {
    fault: BatchFault,
    /// Only batches of this consumer.
    consumer_id: Option<String>,
    caught: oneshot::Sender<CaughtBatch>,
}

/// The faults of a store; none at first.
#[derive(Default)]
pub struct StoreFaults {
    down: AtomicBool,
    delay_ms: AtomicU64,
    armed: Mutex<Option<Armed>>,
    panic_outbox: AtomicBool,
}

impl StoreFaults {
    /// Whether everything is refused, as by a database that is away.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Release);
    }

    /// How long every call waits before it is made.
    pub fn set_delay(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Lets the next batch (of this consumer, or of any) meet a fault. The receiver gets it; dropping the receiver does not
    /// call the fault back, [`StoreFaults::clear`] does.
    pub fn arm(&self, fault: BatchFault, consumer_id: Option<String>) -> oneshot::Receiver<CaughtBatch> {
        let (caught, catching) = oneshot::channel();
        *self.armed() = Some(Armed { fault, consumer_id, caught });
        catching
    }

    /// Lets whoever publishes dead letters panic the next time, after the broker took them and before that is written down.
    pub fn panic_at_next_mark(&self) {
        self.panic_outbox.store(true, Ordering::Release);
    }

    /// Ends every fault.
    pub fn clear(&self) {
        self.set_down(false);
        self.set_delay(Duration::ZERO);
        self.panic_outbox.store(false, Ordering::Release);
        *self.armed() = None;
    }

    fn armed(&self) -> MutexGuard<'_, Option<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that waits for this batch, taken out.
    fn take_for(&self, batch: &Batch) -> Option<Armed> {
        self.armed().take_if(|armed| armed.consumer_id.as_deref().is_none_or(|id| id == batch.consumer_id()))
    }

    fn takes_mark_panic(&self) -> bool {
        self.panic_outbox.swap(false, Ordering::AcqRel)
    }

    /// What every call waits for and may be refused by.
    async fn gate(&self) -> Result<(), StoreError> {
        let delay = self.delay_ms.load(Ordering::Acquire);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if self.down.load(Ordering::Acquire) {
            return Err(StoreError {
                class: FailureClass::Breaker,
                // connection_failure
                code: Some("08006".into()),
                message: "the store refuses everything: a drill makes it look like an outage".into(),
            });
        }
        Ok(())
    }
}

/// See the module.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Arc<StoreFaults>,
}

impl FaultyStore {
    /// `inner`, as long as `faults` has none.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, faults: Arc<StoreFaults>) -> Self {
        Self { inner, faults }
    }
}
