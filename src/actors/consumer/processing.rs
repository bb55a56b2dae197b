//! The processor's work: many records at once, each partition's taken in its order.
//!
//! A record whose processor fails transiently is tried again with backoff, and those behind it in its partition wait for it;
//! other partitions go on. Bounded by [`MAX_PROCESSING`] records of the consumer, of which each partition has a share, and by
//! the byte budget. A partition that is given up or reset drops its records, which ends their work.

use crate::actors::memory::{MemoryBudget, Reservation};
use crate::domain::decode::decode_caught;
use crate::domain::event::Mapping;
use crate::domain::failure::{DeadLetterCode, Rejection};
use crate::domain::record::OwnedRecord;
use crate::kafka::rebalance::TopicPartition;
use crate::processor::{Processor, ProcessorError};
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use prometheus::IntCounter;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Records of one consumer that are processed at the same time: enough to hide the latency of a call, few enough that a
/// rebalance drains them in time.
pub const MAX_PROCESSING: usize = 256;
/// How long one try of a processor may take; past it the try counts as transient.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(30);
/// First and longest delay between two tries of a record whose processor fails transiently. There is no last try: an outage
/// of what the processor asks is not poison.
const PROCESS_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Tries after which the log says that a record waits.
const PROCESS_WARN_AFTER: u32 = 5;
/// Copies of a record that are there while it is processed: as it was delivered, as it was given, as it comes back.
const COPIES: usize = 3;

/// A record that the processor has answered for.
pub struct Processed {
    /// The jump before it, if there was one.
    pub gap_to: Option<i64>,
    /// As Kafka delivered it.
    pub original: OwnedRecord,
    /// Tries.
    pub attempts: u32,
    /// As the processor left it, or why it cannot be a row.
    pub result: Result<OwnedRecord, Rejection>,
}

/// What came back, and for whom.
pub struct Answered {
    id: TopicPartition,
    ticket: u64,
    /// `None`: it was dropped meanwhile.
    done: Option<Processed>,
}

impl Answered {
    /// The partition.
    pub fn id(&self) -> &TopicPartition {
        &self.id
    }
}

/// The records of one partition that are being processed, in their order.
#[derive(Default)]
pub struct InProcess(VecDeque<Waiting>);

struct Waiting {
    ticket: u64,
    work: AbortHandle,
    done: Option<Processed>,
    reserved: Reservation,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl InProcess {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no further record has a place, for a partition with this share.
    pub fn is_full(&self, share: Share) -> bool {
        self.len() >= share.records || self.bytes() >= share.bytes
    }

    /// Whether so much of the share is free that it is worth to go on.
    pub fn has_room_again(&self, share: Share) -> bool {
        self.len() <= share.records / 2 && self.bytes() <= share.bytes / 2
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|waiting| waiting.reserved.bytes()).sum()
    }

    /// Drops them all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes an answer. One for a record that was dropped is ignored.
    pub fn answered(&mut self, answer: Answered) {
        // Tickets ascend.
        if let Ok(at) = self.0.binary_search_by_key(&answer.ticket, |waiting| waiting.ticket) {
            self.0[at].done = answer.done;
        }
    }

    /// The next record in the partition's order, once it is done.
    pub fn next_done(&mut self) -> Option<Processed> {
        let done = self.0.front_mut()?.done.take()?;
        self.0.pop_front();
        Some(done)
    }
}

/// See the module.
pub struct Processing {
    processor: Arc<dyn Processor>,
    running: FuturesUnordered<BoxFuture<'static, Answered>>,
    tickets: u64,
    budget: Arc<MemoryBudget>,
    retries: IntCounter,
}

impl Processing {
    /// Nothing in work.
    pub fn new(processor: Arc<dyn Processor>, budget: Arc<MemoryBudget>, retries: IntCounter) -> Self {
        Self { processor, running: FuturesUnordered::new(), tickets: 0, budget, retries }
    }

    /// Whether another record may be processed.
    pub fn has_room(&self) -> bool {
        self.running.len() < MAX_PROCESSING
            && (self.running.is_empty() || self.budget.reserved() < self.budget.limit() / 2)
    }

    /// Whether records are being processed.
    pub fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// The next answer. Cancel safe. Pending for ever while there is nothing in work.
    pub async fn next(&mut self) -> Answered {
        match self.running.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Begins with a record of a partition whose records in process are `queue`.
    pub fn begin(
        &mut self,
        queue: &mut InProcess,
        id: TopicPartition,
        mapping: Arc<Mapping>,
        original: OwnedRecord,
        gap_to: Option<i64>,
    ) {
        self.tickets += 1;
        let ticket = self.tickets;
        let (work, registration) = AbortHandle::new_pair();
        let bytes = COPIES * original.bytes();
        queue.0.push_back(Waiting { ticket, work, done: None, reserved: Reservation::anyway(&self.budget, bytes) });
        let (processor, retries) = (Arc::clone(&self.processor), self.retries.clone());
        let run = async move {
            let (result, attempts) = run_processor(&*processor, &original, &mapping, &retries).await;
            Processed { gap_to, original, attempts, result }
        };
        let run = Abortable::new(run, registration);
        self.running.push(async move { Answered { id, ticket, done: run.await.ok() } }.boxed());
    }
}

/// What one partition may have in process.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    records: usize,
    bytes: usize,
}

impl Share {
    /// When the consumer owns so many partitions.
    pub fn of(owned: usize, budget: &MemoryBudget) -> Self {
        let owned = owned.max(1);
        Self { records: (MAX_PROCESSING / owned).max(1), bytes: (budget.limit() / 4 / owned).max(1) }
    }
}

async fn run_processor(
    processor: &dyn Processor,
    original: &OwnedRecord,
    mapping: &Mapping,
    retries: &IntCounter,
) -> (Result<OwnedRecord, Rejection>, u32) {
    // What cannot be decoded is not shown to the processor: it may count on a document.
    if let Err(rejection) = decode_caught(original.value.as_deref(), original.timestamp, mapping) {
        return (Err(rejection), 1);
    }
    let mut delay = PROCESS_BACKOFF.0;
    for attempt in 1.. {
        let call = AssertUnwindSafe(async { processor.process(original.clone()).await }).catch_unwind();
        let problem = match tokio::time::timeout(PROCESS_TIMEOUT, call).await {
            Ok(Ok(Ok(mut record))) => {
                // Where a record came from is not the processor's to change.
                (record.partition, record.offset) = (original.partition, original.offset);
                record.topic.clone_from(&original.topic);
                return (Ok(record), attempt);
            }
            Ok(Ok(Err(ProcessorError::Permanent(why)))) => {
                return (Err(Rejection::new(DeadLetterCode::ProcessorRejected, why)), attempt);
            }
            Ok(Err(panic)) => {
                let why = crate::actors::panics::payload_text(&*panic);
                return (
                    Err(Rejection::new(DeadLetterCode::ProcessorPanic, format!("the processor panicked: {why}"))),
                    attempt,
                );
            }
            Ok(Ok(Err(ProcessorError::Transient(why)))) => why,
            Err(_) => format!("no answer within {PROCESS_TIMEOUT:?}"),
        };
        if attempt >= PROCESS_WARN_AFTER {
            tracing::warn!(
                topic = %original.topic, partition = original.partition, offset = original.offset, attempt,
                error = %problem, "a record waits for the processor"
            );
        }
        retries.inc();
        // Half of it is random, so that records that failed together are not tried together.
        tokio::time::sleep(delay.mul_f64(rand::random_range(0.5..1.0))).await;
        delay = (delay * 2).min(PROCESS_BACKOFF.1);
    }
    unreachable!("the loop ends by returning")
}
