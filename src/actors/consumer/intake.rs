//! The way of a record into its lane's batch: judged by its offset, perhaps processed, made a row or a dead letter.
//!
//! Without a processor a record is handled while librdkafka still holds it, and nothing is copied but the row. With one it
//! is copied and processed beside the polling path (`processing.rs`); results are taken in the order of their partition.

use super::lanes::Lanes;
use super::owned::{Owned, OwnedPartition};
use super::processing::{Answered, Processed, Processing};
use crate::domain::batch::Batch;
use crate::domain::failure::Rejection;
use crate::domain::offsets::Delivered;
use crate::domain::record::{OwnedRecord, RawRecord};
use crate::domain::storm::{Storm, StormGuard};
use crate::kafka::rebalance::TopicPartition;
use crate::store::row_maker::{RowMaker, Seen};
use std::sync::Arc;

/// What became of a delivered record.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in a batch, or being processed.
    Yes,
    /// It is stored already, or its partition has no position now.
    Skipped,
    /// A jump at the first record: look again from this offset.
    LookAgain(TopicPartition, i64),
    /// It is in a batch as a dead letter, and it is one too many.
    Storm(TopicPartition, Storm),
    /// It has no place in memory, so many bytes as it has.
    TooLarge(TopicPartition, usize),
}

/// See the module.
pub struct Intake {
    rows: RowMaker,
    /// Bytes past which a record has no place in memory.
    most_bytes: usize,
    processing: Option<Processing>,
}

impl Intake {
    /// The intake of a consumer. A record of more than `record_bytes` is a dead letter; one of more than `most_bytes` is
    /// not even that.
    pub fn new(consumer_id: &str, record_bytes: usize, most_bytes: usize, processing: Option<Processing>) -> Self {
        Self { rows: RowMaker::new(consumer_id, record_bytes), most_bytes, processing }
    }

    /// Whether another record may come.
    pub fn has_room(&self) -> bool {
        self.processing.as_ref().is_none_or(Processing::has_room)
    }

    /// Whether records are being processed.
    pub fn is_processing(&self) -> bool {
        self.processing.as_ref().is_some_and(Processing::is_busy)
    }

    /// The next answer of the processor. Cancel safe. Pending for ever while there is none to come.
    pub async fn next_processed(&mut self) -> Answered {
        match &mut self.processing {
            Some(processing) => processing.next().await,
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
        let seen = Seen::of(record);
        if seen.bytes > self.most_bytes && record.offset() >= read.expected() {
            return Taken::TooLarge(partition.id.clone(), seen.bytes);
        }
        partition.taken += 1;
        partition.taken_bytes += (seen.bytes - seen.header_bytes) as u64;
        let gap_to = match read.deliver(record.offset()) {
            Delivered::Take => None,
            Delivered::AfterGap => Some(record.offset()),
            Delivered::Duplicate => {
                partition.duplicates += 1;
                return Taken::Skipped;
            }
            Delivered::Confirm => return Taken::LookAgain(partition.id.clone(), read.expected()),
        };
        if let Some(processing) = &mut self.processing {
            let original = OwnedRecord::copy_of(record);
            let (id, mapping) = (partition.id.clone(), Arc::clone(&partition.mapping));
            processing.begin(&mut partition.processing, id, mapping, original, gap_to);
            return Taken::Yes;
        }
        match self.add(partition, lanes, record, seen, gap_to) {
            Some(storm) => Taken::Storm(partition.id.clone(), storm),
            None => Taken::Yes,
        }
    }

    fn add(
        &self,
        partition: &mut OwnedPartition,
        lanes: &mut Lanes,
        record: &impl RawRecord,
        seen: Seen<'_>,
        gap_to: Option<i64>,
    ) -> Option<Storm> {
        let batch = &mut lanes.at(partition.lane).filling;
        let slot = open_slot(batch, partition, gap_to);
        let added = self.rows.add(record, seen, &partition.mapping, batch, slot);
        let storm = judge(&mut partition.taken_guard, record.offset(), &added);
        if let Err(rejection) = added {
            batch.push_dead_letter(slot, OwnedRecord::copy_of(record), rejection, 1);
        }
        partition.queued = record.offset() + 1;
        lanes.filled(partition.lane);
        storm
    }

    /// Adds what came back from the processor to its batch, with what waited for it, unless its partition went or was reset
    /// meanwhile. Gives back why the partition is to be quarantined, if it is.
    pub fn add_processed(&self, answer: Answered, owned: &mut Owned, lanes: &mut Lanes) -> Option<Storm> {
        let partition = owned.get(answer.id())?;
        partition.processing.answered(answer);
        while let Some(Processed { gap_to, original, attempts, result }) = partition.processing.next_done() {
            let offset = original.offset;
            let batch = &mut lanes.at(partition.lane).filling;
            let slot = open_slot(batch, partition, gap_to);
            let added =
                result.and_then(|record| self.rows.add(&record, Seen::of(&record), &partition.mapping, batch, slot));
            let storm = judge(&mut partition.taken_guard, offset, &added);
            // The record as Kafka delivered it, not as the processor left it, is what a dead letter keeps.
            match added {
                Ok(()) => batch.keep_original(slot, original, attempts),
                Err(rejection) => batch.push_dead_letter(slot, original, rejection, attempts),
            }
            partition.queued = offset + 1;
            lanes.filled(partition.lane);
            if storm.is_some() {
                return storm;
            }
        }
        None
    }
}

/// Shows a record to the guard.
fn judge(guard: &mut StormGuard, offset: i64, added: &Result<(), Rejection>) -> Option<Storm> {
    match added {
        Ok(()) => {
            guard.good();
            None
        }
        Err(rejection) => guard.dead(&rejection.code, offset),
    }
}

fn open_slot(batch: &mut Batch, partition: &mut OwnedPartition, gap_to: Option<i64>) -> u16 {
    let slot = batch.slot(&partition.id.topic, partition.id.partition, partition.incarnation, partition.queued);
    if let Some(next) = gap_to {
        batch.push_gap(slot, next, "jump");
    }
    slot
}
#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::super::lanes::LaneLimits;
    use super::super::owned::TopicCounters;
    use super::super::processing::InProcess;
    use super::*;
    use crate::actors::memory::MemoryBudget;
    use crate::actors::spares::SpareBatches;
    use crate::domain::event::Mapping;
    use crate::domain::offsets::ReadPosition;
    use crate::domain::storm::StormLimits;
    use crate::domain::watchdog::PositionWatch;
    use crate::metrics::Metrics;
    use std::time::Duration;

    fn owned_at_zero(id: TopicPartition) -> Owned {
        let storm = StormLimits { consecutive: 0, ratio: 0.0, window: 1, release_after: Duration::ZERO };
        let mapping = Mapping {
            event_type: "event_type".into(),
            user_id: "user_id".into(),
            element_id: "element_id".into(),
            timestamp: "timestamp".into(),
            required: vec!["event_type".into()],
            store_tombstones: false,
        };
        let counters = TopicCounters::of(&Metrics::new().unwrap(), "consumer-1", &id.topic);
        let mut owned = Owned::default();
        owned.insert(OwnedPartition {
            incarnation: 1,
            read: Some(ReadPosition::at(0)),
            stored: 0,
            queued: 0,
            lane: 0,
            stop: None,
            held: None,
            epoch: 1,
            revoking: false,
            processing: InProcess::default(),
            waiting: false,
            taken_guard: StormGuard::new(storm),
            stored_guard: StormGuard::new(storm),
            watch: PositionWatch::default(),
            mapping: Arc::new(mapping),
            counters: Arc::new(counters),
            taken: 0,
            taken_bytes: 0,
            duplicates: 0,
            id,
        });
        owned
    }

    #[test]
    fn headers_count_for_the_place_that_a_record_has_in_memory() {
        let id = TopicPartition { topic: "user_events".into(), partition: 0 };
        let mut owned = owned_at_zero(id.clone());
        let limits = LaneLimits { rows: 10, bytes: 1 << 20, min_age: Duration::ZERO };
        let mut lanes =
            Lanes::new("consumer-1", 1, limits, Arc::new(MemoryBudget::new(1 << 20)), SpareBatches::default());
        let mut intake = Intake::new("consumer-1", 100, 1_000, None);
        let record = |offset, header_bytes: usize| {
            let mut record = OwnedRecord {
                topic: id.topic.clone(),
                offset,
                key: Some(b"key".to_vec()),
                value: Some(br#"{"event_type":"a"}"#.to_vec()),
                ..OwnedRecord::default()
            };
            record.headers.push(b"name", Some(&vec![7; header_bytes]));
            record
        };
        assert_eq!(intake.take(&record(0, 10), &mut owned, &mut lanes), Taken::Yes);
        assert_eq!(intake.take(&record(1, 200), &mut owned, &mut lanes), Taken::Yes, "a dead letter");
        let (rows, letters) = (lanes.at(0).filling.metas().len(), lanes.at(0).filling.dead_letters().len());
        assert_eq!((rows, letters), (1, 1));
        assert_eq!(intake.take(&record(2, 976), &mut owned, &mut lanes), Taken::TooLarge(id.clone(), 1_001));
        assert_eq!(intake.take(&record(2, 975), &mut owned, &mut lanes), Taken::Yes, "it has a place");
        assert_eq!(owned.get(&id).unwrap().taken_bytes, 3 * 21, "keys and values");
    }
}
