//! The writers of the pool: each runs one batch transaction at a time on its own connection.
//!
//! The queue belongs to `WriterPool` (`writer_pool.rs`) and outlives every writer. A writer that dies drops the batch in its hand, and
//! the consumer, whose reply never comes, takes its positions from the store again. What an error means is decided by its
//! class (`domain/failure.rs`); an outage is waited out here, with the breaker open, however long it lasts.

use super::breaker::Breaker;
use super::exit::ExitError;
use super::lifecycle::{Control, Task, TaskActor};
use super::writer_pool::{WriteBatch, WriteReply, WriterPool};
use crate::domain::batch::Batch;
use crate::domain::failure::{DeadLetterCode, FailureClass, Rejection};
use crate::domain::storm::{BatchGuard, Storm};
use crate::metrics::Metrics;
use crate::store::row::key_and_value;
use crate::store::{Receipt, Resolution, Store, StoreError, StoreWriter, WriteError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Retries of one batch after which its trouble counts as the database's: a lock that is never given up, a statement that
/// never ends in time.
const RETRIES_BEFORE_OPEN: u32 = 10;

/// The actor of a writer.
pub type DbWriterActor = TaskActor<DbWriterTask>;

/// What a writer is made of.
pub struct DbWriterTask {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Where batches come from.
    pub pool: WriterPool,
    /// Opened and closed by what the store answers.
    pub breaker: Arc<Breaker>,
    /// Metrics.
    pub metrics: Metrics,
    /// First and longest delay between probes.
    pub probe: (Duration, Duration),
    /// Share of a delay that is random, 0 to 1, so that the writers of many replicas do not probe together.
    pub jitter: f64,
}

impl Task for DbWriterTask {
    async fn run(self, control: Control) -> Result<(), ExitError> {
        let mut writer = self.store.writer(control.id());
        control.set_state(crate::domain::status::ChildState::Running);
        loop {
            control.progress();
            let job = tokio::select! {
                biased;
                // First, or a writer that is taken away under load would find one more batch each time. Those that wait are
                // for the other writers, or for its successor.
                _ = control.drain_requested() => return Ok(()),
                job = control.while_idle(self.pool.next()) => job,
            };
            let WriteBatch { mut batch, mut guard, reply, _slot } = job;
            let mut culprit = Culprit::default();
            let result = self.store_batch(&mut *writer, &mut batch, &mut guard, &mut culprit, &control).await;
            let Culprit { differs, storm } = culprit;
            // A consumer that is gone takes its positions from the store; nobody waits for this answer.
            let _ = reply.send(WriteReply { batch, result, differs, storm });
        }
    }
}

impl DbWriterTask {
    async fn store_batch(
        &self,
        writer: &mut dyn StoreWriter,
        batch: &mut Batch,
        guard: &mut BatchGuard,
        culprit: &mut Culprit,
        control: &Control,
    ) -> Result<Receipt, StoreError> {
        let mut wait = Wait { delay: self.probe.0, retries: 0 };
        loop {
            control.progress();
            let started = Instant::now();
            let written = writer.write(batch).await;
            let observe = |outcome: &str| {
                self.metrics
                    .store_transaction_duration_seconds
                    .with_label_values(&[outcome])
                    .observe(started.elapsed().as_secs_f64());
            };
            match written {
                Ok(receipt) => {
                    observe("stored");
                    self.stored(batch);
                    return Ok(receipt);
                }
                Err(WriteError::Row { index, code, message }) => {
                    observe("error");
                    self.count_error(FailureClass::Split);
                    let rejection = Rejection::new(DeadLetterCode::Database(code), message);
                    culprit.storm = guard.refused(batch, index, &rejection.code);
                    if culprit.storm.is_some() {
                        self.breaker.answered();
                        return Err(StoreError {
                            class: FailureClass::Split,
                            code: None,
                            message: "the database refuses too many rows of a partition".into(),
                        });
                    }
                    batch.refuse(index, rejection, key_and_value);
                }
                Err(WriteError::Differs { slot, error }) => {
                    observe("error");
                    self.count_error(error.class);
                    self.breaker.answered();
                    culprit.differs = Some(slot);
                    return Err(error);
                }
                Err(WriteError::Store(error)) => {
                    observe(if error.class == FailureClass::Fenced { "fenced" } else { "error" });
                    self.count_error(error.class);
                    if !waits(error.class) {
                        // An answer all the same.
                        self.breaker.answered();
                        return Err(error);
                    }
                    let _waiting = Waiting::begin(&self.breaker);
                    match self.wait_for_outcome(writer, batch, error, &mut wait, control).await? {
                        Resolution::Committed => {
                            self.stored(batch);
                            return Ok(Receipt {
                                rows: batch.metas().len() as u64,
                                duplicates: 0,
                                dead_letters: batch.dead_letters().len() as u64,
                            });
                        }
                        Resolution::NotCommitted => {
                            self.metrics.message_retries.with_label_values(&[batch.consumer_id(), "store"]).inc();
                        }
                        Resolution::Moved => {
                            return Err(StoreError {
                                class: FailureClass::Fenced,
                                code: None,
                                message: "another owner moved a position while the store was away".into(),
                            });
                        }
                    }
                }
            }
        }
    }

    /// Waits until the store tells what became of the batch. Only that makes it safe to write it again.
    async fn wait_for_outcome(
        &self,
        writer: &mut dyn StoreWriter,
        batch: &Batch,
        first: StoreError,
        wait: &mut Wait,
        control: &Control,
    ) -> Result<Resolution, StoreError> {
        let mut error = first;
        loop {
            let delay = wait.delay;
            // The next failure of the same batch waits longer, also when it could be looked at in between.
            wait.delay = (delay * 2).min(self.probe.1);
            wait.retries += 1;
            if error.class != FailureClass::RetryBatch || wait.retries >= RETRIES_BEFORE_OPEN {
                self.breaker.open(&error, delay);
            }
            tracing::warn!(
                writer = control.id(), consumer_id = batch.consumer_id(), class = ?error.class,
                delay_ms = delay.as_millis() as u64, error = %error.message, "a batch waits for the store"
            );
            control.progress();
            control.while_idle(tokio::time::sleep(delay.mul_f64(1.0 - self.jitter * rand::random::<f64>()))).await;
            control.progress();
            match writer.recover(batch).await {
                Ok(resolution) => return Ok(resolution),
                Err(again) => {
                    self.count_error(again.class);
                    if !waits(again.class) {
                        return Err(again);
                    }
                    error = again;
                }
            }
        }
    }

    fn stored(&self, batch: &Batch) {
        self.breaker.close();
        self.metrics.store_batch_rows.observe(batch.len() as f64);
        self.metrics.store_batch_bytes.observe(batch.bytes() as f64);
    }

    fn count_error(&self, class: FailureClass) {
        self.metrics.store_errors.with_label_values(&[class.as_str()]).inc();
    }
}

/// The partition that keeps its batch from being stored, by its slot, where it is one.
#[derive(Default)]
struct Culprit {
    differs: Option<u16>,
    storm: Option<(u16, Storm)>,
}

/// How long a batch waits between its tries.
struct Wait {
    delay: Duration,
    retries: u32,
}

/// A writer that waits with a batch in hand, for the breaker; also when it dies meanwhile.
struct Waiting<'b>(&'b Breaker);

impl<'b> Waiting<'b> {
    fn begin(breaker: &'b Breaker) -> Self {
        breaker.set_waiting(true);
        Self(breaker)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set_waiting(false);
    }
}

/// Whether an error is waited out: the batch is kept and tried again once its outcome is known.
fn waits(class: FailureClass) -> bool {
    matches!(class, FailureClass::RetryBatch | FailureClass::Breaker | FailureClass::Unknown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;
    use crate::board::{Board, Identity};
    use crate::domain::storm::StormLimits;
    use crate::store::sqlite::SqliteStore;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_writer_that_is_told_to_go_leaves_the_batches_that_wait_to_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("store.db").display());
        let (pool, metrics) = (WriterPool::new(2), Metrics::new().unwrap());
        let board = Arc::new(Board::new(Identity::default(), 0));
        let writer = DbWriterTask {
            store: Arc::new(SqliteStore::open(&url).unwrap()),
            pool: pool.clone(),
            breaker: Arc::new(Breaker::new(board, metrics.clone())),
            metrics,
            probe: (Duration::from_millis(1), Duration::from_millis(1)),
            jitter: 0.0,
        };
        let limits = StormLimits { consecutive: 0, ratio: 0.0, window: 1, release_after: Duration::ZERO };
        let guard = BatchGuard::new(limits, Vec::new());
        let mut answer = pool.send(Batch::new("consumer-1"), guard, pool.slot().await);
        let (control, drain) = Control::detached("writer-1");
        drain.send_replace(Some(Instant::now() + Duration::from_secs(30)));
        writer.run(control).await.unwrap();
        assert_eq!(pool.depth(), (1, 2), "it waits for the next writer");
        assert_eq!(answer.try_recv().err(), Some(oneshot::error::TryRecvError::Empty));
    }
}
