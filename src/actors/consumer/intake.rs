//! The way of a record into its lane's batch: judged by its offset, decoded once, perhaps processed, encoded once.
//!
//! Without a processor a record is handled while librdkafka still holds it, and nothing is copied but the row. With one it
//! is copied and processed beside the polling path, at most [`MAX_PROCESSING`] at a time and [`PROCESS_TIMEOUT`] each;
//! results are taken in the order in which the records came.

use super::lanes::Lanes;
use super::owned::{Owned, OwnedPartition};
use crate::domain::batch::Batch;
use crate::domain::decode::decode;
use crate::domain::event::{EventRow, Mapping};
use crate::domain::failure::{DeadLetterCode, Rejection};
use crate::domain::offsets::Delivered;
use crate::domain::record::{OwnedRecord, RawRecord};
use crate::kafka::rebalance::TopicPartition;
use crate::processor::{Processor, ProcessorError};
use crate::store::row;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
/// The header that says who produced a record.
pub const SOURCE_HEADER: &[u8] = b"drover_source";

/// What became of a delivered record.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in a batch, or being processed.
    Yes,
    /// It is stored already, or its partition has no position now.
    Skipped,
    /// A jump at the first record: look again from this offset.
    LookAgain(TopicPartition, i64),
}

/// A record that went through the processor.
pub struct ProcessedRecord {
    id: TopicPartition,
    epoch: u64,
    gap_to: Option<i64>,
    original: OwnedRecord,
    attempts: u32,
    result: Result<OwnedRecord, Rejection>,
}

/// See the module.
pub struct Intake {
    consumer_id: String,
    record_bytes: usize,
    processor: Option<Arc<dyn Processor>>,
    processing: FuturesOrdered<BoxFuture<'static, ProcessedRecord>>,
}

impl Intake {
    /// The intake of a consumer.
    pub fn new(consumer_id: &str, record_bytes: usize, processor: Option<Arc<dyn Processor>>) -> Self {
        Self { consumer_id: consumer_id.to_owned(), record_bytes, processor, processing: FuturesOrdered::new() }
    }

    /// Whether another record may come.
    pub fn has_room(&self) -> bool {
        self.processing.len() < MAX_PROCESSING
    }

    /// Whether records are being processed.
    pub fn is_processing(&self) -> bool {
        !self.processing.is_empty()
    }

    /// The next record that went through the processor. Cancel safe. Pending for ever while there is none.
    pub async fn next_processed(&mut self) -> ProcessedRecord {
        match futures::StreamExt::next(&mut self.processing).await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Takes a record as it was delivered.
    pub fn take(&mut self, record: &impl RawRecord, owned: &mut Owned, lanes: &mut Lanes) -> Taken {
        let Some(place) = owned.place(record.topic(), record.partition()) else {
            return Taken::Skipped;
        };
        let partition = owned.at(place);
        let Some(read) = partition.read.as_mut().filter(|_| !partition.revoking && partition.held.is_none()) else {
            return Taken::Skipped;
        };
        partition.taken += 1;
        partition.taken_bytes += (record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len)) as u64;
        let gap_to = match read.deliver(record.offset()) {
            Delivered::Take => None,
            Delivered::AfterGap => Some(record.offset()),
            Delivered::Duplicate => {
                partition.duplicates += 1;
                return Taken::Skipped;
            }
            Delivered::Confirm => return Taken::LookAgain(partition.id.clone(), read.expected()),
        };
        match &self.processor {
            None => self.add(partition, lanes, record, gap_to),
            Some(processor) => {
                let processor = Arc::clone(processor);
                self.process(processor, partition, record, gap_to);
            }
        }
        Taken::Yes
    }

    fn add(&self, partition: &mut OwnedPartition, lanes: &mut Lanes, record: &impl RawRecord, gap_to: Option<i64>) {
        let batch = &mut lanes.at(partition.lane).filling;
        let slot = open_slot(batch, partition, gap_to);
        match self.add_row(batch, slot, partition, record) {
            Ok(()) => {}
            Err(rejection) => batch.push_dead_letter(slot, OwnedRecord::copy_of(record), rejection, 1),
        }
        partition.queued = record.offset() + 1;
        lanes.filled(partition.lane);
    }

    /// Decodes a record and adds its row. A panic of the decoder concerns this record alone.
    fn add_row(
        &self,
        batch: &mut Batch,
        slot: u16,
        partition: &OwnedPartition,
        record: &impl RawRecord,
    ) -> Result<(), Rejection> {
        let mut source = None;
        let mut header_bytes = 0;
        record.for_each_header(&mut |name, value| {
            header_bytes += name.len() + value.map_or(0, <[u8]>::len);
            if name == SOURCE_HEADER {
                source = value.and_then(clean_text);
            }
        });
        let bytes = record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len) + header_bytes;
        if bytes > self.record_bytes {
            return Err(Rejection::new(
                DeadLetterCode::RecordTooLarge,
                format!("the record has {bytes} bytes, limits.record_bytes allows {}", self.record_bytes),
            ));
        }
        let event = catch_unwind(AssertUnwindSafe(|| decode(record.value(), record.timestamp(), &partition.mapping)))
            .unwrap_or_else(|_| Err(decoder_panicked()))?;
        let row = EventRow {
            topic: Cow::Borrowed(record.topic()),
            partition: record.partition(),
            incarnation: partition.incarnation,
            offset: record.offset(),
            key: record.key().map(Cow::Borrowed),
            user_id: event.user_id,
            event_type: event.event_type,
            element_id: event.element_id,
            occurred_at_us: event.occurred_at_us,
            payload: event.payload.map(Cow::Borrowed),
            consumer_id: Cow::Borrowed(&self.consumer_id),
            source: source.map(Cow::Owned),
        };
        batch.push_row(slot, record, &row.event_type, |out| row::encode(&row, out));
        Ok(())
    }

    fn process(
        &mut self,
        processor: Arc<dyn Processor>,
        partition: &mut OwnedPartition,
        record: &impl RawRecord,
        gap_to: Option<i64>,
    ) {
        partition.processing += 1;
        let original = OwnedRecord::copy_of(record);
        let (id, epoch, mapping) = (partition.id.clone(), partition.epoch, Arc::clone(&partition.mapping));
        self.processing.push_back(
            async move {
                let (result, attempts) = run_processor(&*processor, &original, &mapping).await;
                ProcessedRecord { id, epoch, gap_to, original, attempts, result }
            }
            .boxed(),
        );
    }

    /// Adds what came back from the processor to its batch, unless its partition went or was reset meanwhile.
    pub fn add_processed(&self, done: ProcessedRecord, owned: &mut Owned, lanes: &mut Lanes) {
        let Some(partition) = owned.get(&done.id) else {
            return;
        };
        partition.processing = partition.processing.saturating_sub(1);
        if partition.epoch != done.epoch {
            return;
        }
        let ProcessedRecord { gap_to, original, attempts, result, .. } = done;
        let offset = original.offset;
        let batch = &mut lanes.at(partition.lane).filling;
        let slot = open_slot(batch, partition, gap_to);
        let added = result.and_then(|record| self.add_row(batch, slot, partition, &record));
        // The record as Kafka delivered it, not as the processor left it, is what a dead letter keeps.
        if added.is_ok() {
            batch.keep_original(slot, original, attempts);
        } else if let Err(rejection) = added {
            batch.push_dead_letter(slot, original, rejection, attempts);
        }
        partition.queued = offset + 1;
        lanes.filled(partition.lane);
    }
}

fn open_slot(batch: &mut Batch, partition: &mut OwnedPartition, gap_to: Option<i64>) -> u16 {
    let slot = batch.slot(&partition.id.topic, partition.id.partition, partition.incarnation, partition.queued);
    if let Some(next) = gap_to {
        batch.push_gap(slot, next, "jump");
    }
    slot
}

fn decoder_panicked() -> Rejection {
    Rejection::new(DeadLetterCode::ProcessorPanic, "the decoder panicked on the record")
}

/// Text that a text column takes.
fn clean_text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).map(str::to_owned)
}

async fn run_processor(
    processor: &dyn Processor,
    original: &OwnedRecord,
    mapping: &Mapping,
) -> (Result<OwnedRecord, Rejection>, u32) {
    // What cannot be decoded is not shown to the processor: it may count on a document.
    let checked =
        catch_unwind(AssertUnwindSafe(|| decode(original.value.as_deref(), original.timestamp, mapping).map(|_| ())));
    if let Err(rejection) = checked.unwrap_or_else(|_| Err(decoder_panicked())) {
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
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(PROCESS_BACKOFF.1);
    }
    unreachable!("the loop ends by returning")
}
