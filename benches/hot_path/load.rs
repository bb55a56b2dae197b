//! The pure way of records into a batch, as the intake of a consumer goes it: judged by their offset, decoded, encoded.
//!
//! One load fills one batch after the other with the same records at ascending offsets, in runs of one partition each, as
//! Kafka delivers them.

use crate::records::mapping;
use drover::domain::batch::Batch;
use drover::domain::event::Mapping;
use drover::domain::offsets::{Delivered, ReadPosition};
use drover::domain::record::OwnedRecord;
use drover::store::row_maker::{RowMaker, Seen};

/// Records of one partition that come one after the other.
const RUN: usize = 100;
/// The limit of a record's size, as by default.
const RECORD_BYTES: usize = 1024 * 1024;

/// See the module.
pub struct Load {
    partitions: Vec<(ReadPosition, Vec<OwnedRecord>)>,
    rows: RowMaker,
    mapping: Mapping,
}

impl Load {
    /// A load of these records, one list for each partition.
    pub fn new(partitions: impl IntoIterator<Item = Vec<OwnedRecord>>) -> Self {
        let partitions = partitions.into_iter().map(|records| (ReadPosition::at(0), records)).collect();
        Self { partitions, rows: RowMaker::new("consumer-1", RECORD_BYTES), mapping: mapping() }
    }

    /// Records of one batch.
    pub fn len(&self) -> usize {
        self.partitions.iter().map(|(_, records)| records.len()).sum()
    }

    /// Adds them all to a batch.
    pub fn fill(&mut self, batch: &mut Batch) {
        let longest = self.partitions.iter().map(|(_, records)| records.len()).max().unwrap_or(0);
        for from in (0..longest).step_by(RUN) {
            for (read, records) in &mut self.partitions {
                for record in records.iter_mut().skip(from).take(RUN) {
                    record.offset = read.expected();
                    assert_eq!(read.deliver(record.offset), Delivered::Take, "the offset that was expected");
                    let slot = batch.slot(&record.topic, record.partition, 1, record.offset);
                    self.rows.add(record, Seen::of(record), &self.mapping, batch, slot).expect("the record is a row");
                }
            }
        }
    }
}
