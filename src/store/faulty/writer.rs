//! The writer and the outbox of a store that fails on demand. Bound and failures: as the wrapped ones.

use super::{Armed, BatchFault, CaughtBatch, StoreFaults};
use crate::domain::batch::Batch;
use crate::domain::failure::FailureClass;
use crate::store::{
    Outbox, PublishOutcome, Receipt, Resolution, StoreError, StoreWriter, StoredDeadLetter, WriteError,
};
use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A writer whose batches may meet a fault.
pub(super) struct FaultyWriter {
    pub(super) inner: Box<dyn StoreWriter>,
    pub(super) faults: Arc<StoreFaults>,
    pub(super) name: String,
}

impl StoreWriter for FaultyWriter {
    fn write<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Receipt, WriteError>> {
        Box::pin(async move {
            self.faults.gate().await.map_err(WriteError::Store)?;
            match self.faults.take_for(batch) {
                None => self.inner.write(batch).await,
                Some(armed) => self.write_with(armed, batch).await,
            }
        })
    }

    fn recover<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Resolution, StoreError>> {
        Box::pin(async move {
            self.faults.gate().await?;
            self.inner.recover(batch).await
        })
    }
}

impl FaultyWriter {
    async fn write_with(&mut self, armed: Armed, batch: &Batch) -> Result<Receipt, WriteError> {
        let fault = armed.fault;
        let before = matches!(fault, BatchFault::HoldBefore | BatchFault::PanicBefore | BatchFault::Freeze);
        let written = if before { None } else { Some(self.inner.write(batch).await) };
        let (release, released) = oneshot::channel();
        let caught = CaughtBatch {
            writer: self.name.clone(),
            consumer_id: batch.consumer_id().to_owned(),
            batch: batch.clone(),
            release,
        };
        // Nobody runs the drill any more: then there is no fault either.
        let watched = armed.caught.send(caught).is_ok();
        if watched {
            if matches!(fault, BatchFault::PanicBefore | BatchFault::PanicAfter) {
                panic!("a drill makes {} panic with a batch in hand", self.name);
            }
            // Ended by whoever let it be armed, or let go.
            let _ = released.await;
            if fault == BatchFault::Freeze {
                return Err(WriteError::Store(StoreError {
                    class: FailureClass::Fenced,
                    code: None,
                    message: "a drill froze this batch; its positions are taken from the store".into(),
                }));
            }
        }
        match written {
            Some(written) => written,
            None => self.inner.write(batch).await,
        }
    }
}

/// An outbox that may panic between publishing and marking.
pub(super) struct FaultyOutbox {
    pub(super) inner: Box<dyn Outbox>,
    pub(super) faults: Arc<StoreFaults>,
}

impl Outbox for FaultyOutbox {
    fn pending<'a>(
        &'a mut self,
        limit: u32,
        except: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>> {
        Box::pin(async move {
            self.faults.gate().await?;
            self.inner.pending(limit, except).await
        })
    }

    fn mark<'a>(&'a mut self, answers: &'a [(i64, PublishOutcome)]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.faults.gate().await?;
            assert!(!self.faults.takes_mark_panic(), "a drill makes the dead-letter actor panic before it marks");
            self.inner.mark(answers).await
        })
    }
}
